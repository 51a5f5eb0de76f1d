//! Drawing once a frame, however much has changed.

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;

use super::dom;

/// Milliseconds until something that nobody sees is drawn.
const UNSEEN: i32 = 500;

/// Calls `draw` in the first frame that begins after `wait` milliseconds. A page that nobody sees
/// has no frames; it is drawn all the same, a little later.
pub fn draw_after(wait: f64, draw: fn()) {
    if wait >= 1.0 {
        dom::later(wait.ceil() as i32, move || next(draw));
    } else {
        next(draw);
    }
}

/// Calls `task` after the frame that is being made.
pub fn soon(task: impl FnOnce() + 'static) {
    dom::later(50, task);
}

fn next(draw: fn()) {
    if dom::document().hidden() {
        return dom::later(UNSEEN, draw);
    }
    // A page that is hidden or frozen meanwhile does not get the frame that it asked for.
    let drawn = Rc::new(Cell::new(false));
    let draw_once = move || {
        if !drawn.replace(true) {
            draw();
        }
    };
    let closure = Closure::once_into_js(draw_once.clone());
    // Where there are no frames there is the clock.
    let _ = dom::window().request_animation_frame(closure.unchecked_ref());
    dom::later(UNSEEN, draw_once);
}
