//! Figures in plain words.

/// That a GPU does not take the buffers of a model, and which published models it would take.
pub fn too_large_for(gpu: &str, limit: u64, model: &str, needs: u64, fitting: &[String]) -> String {
    let instead = match fitting {
        [] => String::new(),
        [only] => format!(" {only} would fit."),
        [others @ .., last] => format!(" {} or {last} would fit.", others.join(", ")),
    };
    format!(
        "{gpu} takes at most {} in one buffer, and {model} needs {}. So the CPU computes.{instead}",
        bytes(limit),
        bytes(needs)
    )
}

/// That a tab was loaded anew while it held photos.
pub fn lost_photos(count: usize, discarded: bool) -> String {
    let what = match discarded {
        true => "The browser put this tab away to save memory, and has loaded it anew",
        false => "This page was loaded anew",
    };
    let them = match count {
        1 => "It was kept nowhere else, so choose it again",
        _ => "They were kept nowhere else, so choose them again",
    };
    format!("{what} with {} in it. {them}. {KEPT}", photos(count))
}

/// What a page says that was loaded anew without photos and goes on with what was set.
pub const KEPT: &str = "The page's own bundle is loaded; method, device and classes are as they were, and so are thresholds that were moved with it.";

/// What a p-value means. `p` is the fraction of photos known to belong that score this low
/// or lower.
pub fn rarity(p: f64) -> String {
    let in_hundred = p * 100.0;
    let of_hundred = if in_hundred < 1.0 {
        "fewer than one scores".to_owned()
    } else if in_hundred < 1.5 {
        "one scores".to_owned()
    } else {
        format!("{} score", in_hundred.round())
    };
    let first = match p {
        p if p < 0.01 => "Very unusual",
        p if p < 0.05 => "Unusual",
        p if p < 0.2 => "Not quite ordinary",
        _ => "Ordinary",
    };
    format!("{first}: of 100 photos that belong, {of_hundred} this low or lower.")
}

/// What it means that this fraction of photos known not to belong scores this high or higher.
/// `None` when there are no such photos.
pub fn among_outsiders(share: Option<f64>) -> String {
    let Some(share) = share else {
        return "How usual that is with these classes, nobody has measured.".to_owned();
    };
    let of_hundred = match share * 100.0 {
        many if many <= 0.0 => "none scores".to_owned(),
        many if many < 1.0 => "fewer than one scores".to_owned(),
        many if many < 1.5 => "one scores".to_owned(),
        many => format!("{} score", many.round()),
    };
    format!("Of 100 photos of none of the bundle's classes, {of_hundred} this high or higher.")
}

/// A fraction of one in percent, with as many digits as it deserves near 0 and 1.
pub fn percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    let from_the_edge = percent.min(100.0 - percent);
    if !percent.is_finite() {
        "–".to_owned()
    } else if from_the_edge <= 0.0 {
        format!("{} %", percent.round())
    } else if from_the_edge < 0.05 {
        if percent < 50.0 {
            "< 0.1 %".to_owned()
        } else {
            "> 99.9 %".to_owned()
        }
    } else if from_the_edge < 9.95 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// A score with four significant digits or so: with fewer, what is just below a threshold reads as if
/// it were on it.
pub fn score(score: f64) -> String {
    with_digits(score, digits(score))
}

/// A score and its threshold: with as many digits more as it takes for two numbers not to read as one.
pub fn beside(score: f64, threshold: f64) -> [String; 2] {
    let texts =
        |more: usize| [score, threshold].map(|value| with_digits(value, digits(value) + more));
    let differ = |more: &usize| {
        let [score, threshold] = texts(*more);
        score != threshold
    };
    let more = match score == threshold {
        true => 0,
        false => (0..12).find(differ).unwrap_or(0),
    };
    texts(more)
}

/// A cosine.
pub fn cosine(cosine: f32) -> String {
    with_digits(f64::from(cosine), 2)
}

/// Decimals of a score of this size.
fn digits(score: f64) -> usize {
    match score.abs() {
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        size if size >= 0.1 => 3,
        size if size >= 0.01 => 4,
        _ => 5,
    }
}

fn with_digits(score: f64, digits: usize) -> String {
    // A minus of the right width, and none before a zero.
    let text = format!("{score:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// Bytes in units people read.
pub fn bytes(count: u64) -> String {
    match count as f64 {
        count if count < 1e3 => format!("{count} bytes"),
        count if count < 1e6 => format!("{:.0} kB", count / 1e3),
        count => format!("{:.1} MB", count / 1e6),
    }
}

/// Milliseconds for a table.
pub fn milliseconds(time: f64) -> String {
    if time < 9.95 {
        format!("{time:.1}")
    } else {
        format!("{time:.0}")
    }
}

/// How long something will take.
pub fn duration(seconds: f64) -> String {
    match seconds {
        seconds if !seconds.is_finite() => "no telling how long".to_owned(),
        seconds if seconds < 1.5 => "about a second".to_owned(),
        seconds if seconds < 90.0 => format!("about {seconds:.0} seconds"),
        seconds if seconds < 5400.0 => format!("about {:.0} minutes", seconds / 60.0),
        seconds => format!("about {:.0} hours", seconds / 3600.0),
    }
}

/// `1 photo`, `2 photos`.
pub fn photos(count: usize) -> String {
    if count == 1 {
        "1 photo".to_owned()
    } else {
        format!("{count} photos")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_read_as_counts() {
        assert_eq!(
            rarity(0.46),
            "Ordinary: of 100 photos that belong, 46 score this low or lower."
        );
        assert_eq!(
            rarity(0.0004),
            "Very unusual: of 100 photos that belong, fewer than one scores this low or lower."
        );
        assert!(rarity(0.012).contains("one scores"));
        assert!(rarity(0.04).starts_with("Unusual: of 100 photos that belong, 4 score"));
    }

    #[test]
    fn what_is_below_a_threshold_never_reads_as_if_it_were_on_it() {
        assert_eq!(beside(-4.64795, -4.64791), ["−4.64795", "−4.64791"]);
        assert_eq!(beside(-4.7, -4.648), ["−4.700", "−4.648"]);
        assert_eq!(beside(0.392, 0.392), ["0.392", "0.392"]);
        let [score, threshold] = beside(0.1 + 1e-9, 0.1);
        assert_ne!(score, threshold);
    }

    #[test]
    fn outsiders_read_as_counts() {
        let said = |share| among_outsiders(Some(share));
        assert!(said(0.0).contains("none of the bundle's classes, none scores this high"));
        assert!(said(0.005).contains("fewer than one scores"));
        assert!(said(0.0125).contains(", one scores"));
        assert!(said(0.25).contains(", 25 score this"));
        assert!(among_outsiders(None).contains("nobody has measured"));
    }

    #[test]
    fn a_tab_loaded_anew_says_what_is_as_it_was() {
        let said = lost_photos(2, false);
        assert!(
            said.contains("choose them again. The page's own bundle is loaded; method, device and")
        );
        assert!(!said.contains("settings"), "{said}");
    }

    #[test]
    fn digits_where_they_matter() {
        assert_eq!(percent(0.95), "95.0 %");
        assert_eq!(percent(0.5), "50 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.0001), "< 0.1 %");
        assert_eq!(percent(0.99999), "> 99.9 %");
        assert_eq!(percent(0.034), "3.4 %");
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(score(-0.000001), "0.00000");
        assert_eq!(score(-4.6142), "−4.614");
        assert_ne!(score(-4.654), score(-4.646), "one is below the other");
        assert_eq!(score(123.4), "123.4");
        assert_eq!(bytes(9_149_000), "9.1 MB");
        assert_eq!(duration(42.4), "about 42 seconds");
        assert_eq!(milliseconds(3.44), "3.4");
        assert_eq!(photos(1), "1 photo");
    }
}
