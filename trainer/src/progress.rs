//! Progress with rate and time left: a bar on a terminal, a line every few seconds elsewhere.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line is printed where there is no terminal to redraw.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows nothing for work that is over before this.
const SHOW_AFTER: Duration = Duration::from_millis(500);

/// Counts `total` steps of one kind. May be shared between threads.
pub struct Progress {
    bar: ProgressBar,
    label: String,
    unit: String,
    lines: Option<Mutex<Lines>>,
}

struct Lines {
    started: Instant,
    printed: Instant,
    /// Steps done before this run, which say nothing about its speed.
    skipped: u64,
    any: bool,
}

impl Progress {
    /// `label` says what is done ("encoding caltech101"), `unit` what is counted ("images").
    pub fn new(label: impl Into<String>, unit: impl Into<String>, total: u64) -> Self {
        let (label, unit) = (label.into(), unit.into());
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let template =
                "{prefix} {wide_bar} {human_pos}/{human_len}  {per_sec}  {msg}  {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_prefix(printable_name(&label).into_owned());
            bar
        } else {
            ProgressBar::hidden()
        };
        bar.set_length(total);
        let lines = (!terminal).then(|| {
            Mutex::new(Lines {
                started: Instant::now(),
                printed: Instant::now(),
                skipped: 0,
                any: false,
            })
        });
        Self {
            bar,
            label,
            unit,
            lines,
        }
    }

    /// Counts steps that an earlier run did: they move the bar and leave the rate alone.
    pub fn skip(&self, steps: u64) {
        self.bar.inc(steps);
        self.bar.reset_eta();
        if let Some(lines) = &self.lines
            && let Ok(mut lines) = lines.lock()
        {
            lines.skipped += steps;
        }
    }

    /// Counts `steps` more.
    pub fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        self.print_line();
    }

    /// Replaces what stands beside the rate: a loss, a learning rate.
    pub fn note(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Prints a line above the bar.
    pub fn print(&self, line: &str) {
        if self.lines.is_some() {
            say(line);
        } else {
            self.bar.suspend(|| say(line));
        }
    }

    /// Removes the bar. Called on drop as well.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        if let Some(lines) = &self.lines
            && let Ok(mut lines) = lines.lock()
            && lines.any
        {
            lines.any = false;
            let seconds = lines.started.elapsed().as_secs_f64();
            say(&format!(
                "{}: {} {} in {}",
                self.label,
                self.bar.position(),
                self.unit,
                duration_text(seconds)
            ));
        }
    }

    fn print_line(&self) {
        let Some(lines) = &self.lines else { return };
        // A line that another thread is printing is one that this thread need not print.
        let Ok(mut lines) = lines.try_lock() else {
            return;
        };
        let waited = lines.printed.elapsed();
        if waited < LINE_EVERY || lines.started.elapsed() < SHOW_AFTER {
            return;
        }
        lines.printed = Instant::now();
        lines.any = true;
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
        let here = done.saturating_sub(lines.skipped);
        let rate = here as f64 / lines.started.elapsed().as_secs_f64().max(1e-9);
        let left = total.saturating_sub(done) as f64 / rate.max(1e-9);
        let note = self.bar.message();
        say(&format!(
            "{}: {done}/{total} {}, {}, {} left{}{note}",
            self.label,
            self.unit,
            rate_text(rate, &self.unit),
            duration_text(left),
            if note.is_empty() { "" } else { ", " },
        ));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Prints a line for the person to stderr; stdout belongs to the results. A closed stderr is no
/// reason to stop.
///
/// Names of files and classes come from strangers: what would move a terminal's cursor or colour it
/// is written as an escape.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(line));
}

/// The same of a note that several parts of a run come upon: it is said once.
pub fn say_once(note: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(note.to_owned()) {
        say(&format!("note: {note}"));
    }
}

/// `text` with what would move a terminal's cursor, colour it or turn the order of its characters
/// escaped, all but line breaks and tabs.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| !moves_text(c) || matches!(c, '\n' | '\t'))
}

/// A name that stands within a line, with line breaks and tabs escaped as well.
pub fn printable_name(name: &str) -> Cow<'_, str> {
    escaped(name, |c| !moves_text(c))
}

/// Whether a character is no sign but an order to who shows the text: control characters, line ends
/// and marks of the direction of writing.
pub fn moves_text(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, harmless: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&harmless) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| match harmless(c) {
        true => c.to_string(),
        false => c.escape_default().to_string(),
    };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// `94 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration_text(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown time".to_owned();
    }
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..100 if seconds < 10.0 => format!("{seconds:.1} s"),
        0..100 => format!("{whole} s"),
        100..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

fn rate_text(per_second: f64, unit: &str) -> String {
    if per_second >= 10.0 {
        format!("{per_second:.0} {unit}/s")
    } else {
        format!("{per_second:.1} {unit}/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration_text(0.04), "0.0 s");
        assert_eq!(duration_text(42.4), "42 s");
        assert_eq!(duration_text(200.0), "3 min 20 s");
        assert_eq!(duration_text(7500.0), "2 h 05 min");
        assert_eq!(duration_text(f64::INFINITY), "unknown time");
    }

    #[test]
    fn a_name_cannot_colour_the_terminal() {
        assert_eq!(printable("größe\t1\n"), "größe\t1\n");
        assert_eq!(printable("\u{1b}[31mred\u{7}\r"), "\\u{1b}[31mred\\u{7}\\r");
        assert_eq!(printable("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(printable("a\u{202e}gpj\u{2069}"), "a\\u{202e}gpj\\u{2069}");
        assert_eq!(printable_name("a\nb"), "a\\nb");
    }

    #[test]
    fn counts_are_kept_across_threads() {
        let progress = Progress::new("test", "steps", 100);
        progress.skip(20);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20).for_each(|_| progress.advance(1)));
            }
        });
        assert_eq!(progress.bar.position(), 100);
    }
}
