//! What a screen reader says. Many verdicts at once become one sentence.

use std::cell::RefCell;

use web_sys::Element;

use super::dom;

/// Verdicts are collected for this long, in milliseconds.
const PAUSE: i32 = 700;
/// Above this many, only the count is said.
const SAID_ONE_BY_ONE: usize = 3;

thread_local! {
    static WAITING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Says a sentence soon.
pub fn say(sentence: String) {
    let first = WAITING.with_borrow_mut(|waiting| {
        waiting.push(sentence);
        waiting.len() == 1
    });
    if first {
        dom::later(PAUSE, || {
            let sentences = WAITING.take();
            let text = if sentences.len() > SAID_ONE_BY_ONE {
                let last = sentences.last().cloned().unwrap_or_default();
                format!("{} more verdicts. The latest: {last}", sentences.len())
            } else {
                sentences.join(" ")
            };
            dom::by_id::<Element>("announcer").set_text_content(Some(&text));
        });
    }
}
