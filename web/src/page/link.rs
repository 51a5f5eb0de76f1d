//! The page's end of the line to the worker.

use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web::message::{Order, Report};
use web_sys::{Element, Event, MessageEvent, Worker, WorkerOptions, WorkerType};

use super::dom;

/// The worker and whether it takes orders yet.
pub struct Link {
    worker: Worker,
    number: u32,
    ready: bool,
    /// The lock that the worker holds while it lives.
    lock: String,
    tell: fn(u32, News),
}

/// Something from the worker.
pub enum News {
    /// A report, with what was attached.
    Report(Box<Report>, Option<Uint8Array>),
    /// The worker is dead, for this reason.
    Died(String),
}

impl Link {
    /// Starts worker number `number`; `tell` gets its news under that number.
    ///
    /// # Errors
    /// The browser's, when it starts no worker.
    pub fn start(number: u32, tell: fn(u32, News)) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let lock = format!("negprompt-worker-{}-{number}", js_sys::Math::random());
        options.set_name(&lock);
        let version = dom::by_id::<Element>("start").get_attribute("data-version");
        let script = format!("worker-start.js?{}", version.unwrap_or_default());
        let worker = Worker::new_with_options(&script, &options)?;
        dom::on(&worker, "message", move |event: MessageEvent| {
            tell(number, read(&event.data()));
        });
        dom::on(&worker, "error", move |event: Event| {
            event.prevent_default();
            // Of a script that does not come, browsers send an event without any message.
            let message = Reflect::get(&event, &"message".into()).ok();
            let message = message.and_then(|message| message.as_string());
            let message = message.filter(|message| !message.is_empty());
            let message = message.unwrap_or_else(|| "its program could not be loaded".to_owned());
            tell(number, News::Died(message));
        });
        Ok(Self {
            worker,
            number,
            ready: false,
            lock,
            tell,
        })
    }

    /// The number under which this worker's news come.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether the worker takes orders.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// The worker said that it takes orders.
    pub fn set_ready(&mut self) {
        self.ready = true;
        self.watch();
    }

    /// Waits for the lock that the worker holds. The browser hands it on when the worker ends, also
    /// one that nobody could report, as where the browser takes its memory back. (A worker that
    /// was replaced is heard of under its old number, and ignored.)
    fn watch(&self) {
        let (number, tell) = (self.number, self.tell);
        let gone = Closure::once_into_js(move || {
            let cause = "it ended without a word, as when the browser runs out of memory";
            tell(number, News::Died(cause.to_owned()));
        });
        let locks = Reflect::get(&dom::window().navigator(), &"locks".into());
        let locks = locks.unwrap_or(JsValue::UNDEFINED);
        let request = Reflect::get(&locks, &"request".into()).ok();
        if let Some(request) = request.and_then(|request| request.dyn_into::<Function>().ok()) {
            // Where there are no locks, or none for this page, a worker that can speak is still
            // heard. A refusal that nobody waits for would count as the page's end.
            if let Ok(asked) = request.call2(&locks, &self.lock.as_str().into(), &gone) {
                spawn_local(async move {
                    let _ = JsFuture::from(asked.unchecked_into::<Promise>()).await;
                });
            }
        }
    }

    /// Sends an order with its attachments.
    pub fn send(&self, order: &Order, attachments: impl IntoIterator<Item = JsValue>) {
        let Ok(json) = serde_json::to_string(order) else {
            return;
        };
        let message = Array::of1(&json.into());
        for attachment in attachments {
            message.push(&attachment);
        }
        if let Err(error) = self.worker.post_message(&message) {
            web_sys::console::error_2(&"The worker did not take an order:".into(), &error);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.worker.terminate();
    }
}

/// `worker-start.js` sends a string where the worker is past sending a report.
fn read(data: &JsValue) -> News {
    let Some(message) = data.dyn_ref::<Array>() else {
        return News::Died(
            data.as_string()
                .unwrap_or_else(|| "unknown cause".to_owned()),
        );
    };
    let json = message.get(0).as_string().unwrap_or_default();
    match serde_json::from_str(&json) {
        Ok(report) => News::Report(Box::new(report), message.get(1).dyn_into().ok()),
        Err(error) => News::Died(format!(
            "its report cannot be read ({error}); reload the page"
        )),
    }
}
