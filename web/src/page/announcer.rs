//! What a screen reader says. Many verdicts at once become one sentence, and one is spoken before the
//! next comes.

use std::cell::{Cell, RefCell};

use web_sys::Element;

use super::dom;

/// Verdicts are collected for this long, in milliseconds.
const PAUSE: f64 = 700.0;
/// Milliseconds that a sentence takes to be spoken, more or less.
const SPOKEN: f64 = 4000.0;
/// Above this many, only the count is said.
const SAID_ONE_BY_ONE: usize = 3;

thread_local! {
    static WAITING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// When what was said last is over, in milliseconds since the page was opened.
    static OVER: Cell<f64> = const { Cell::new(0.0) };
}

/// Says a sentence soon.
pub fn say(sentence: String) {
    let first = WAITING.with_borrow_mut(|waiting| {
        waiting.push(sentence);
        waiting.len() == 1
    });
    if first {
        let pause = PAUSE.max(OVER.get() - dom::now());
        dom::later(pause as i32, || {
            let sentences = WAITING.take();
            let (text, spoken) = if sentences.len() > SAID_ONE_BY_ONE {
                let last = sentences.last().cloned().unwrap_or_default();
                let text = format!("{} more verdicts. The latest: {last}", sentences.len());
                (text, 2)
            } else {
                (sentences.join(" "), sentences.len())
            };
            OVER.set(dom::now() + spoken as f64 * SPOKEN);
            dom::by_id::<Element>("announcer").set_text_content(Some(&text));
        });
    }
}
