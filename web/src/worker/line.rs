//! The worker's end of the line to the page.

use std::cell::RefCell;
use std::collections::VecDeque;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web::message::{Order, Report};
use web_sys::MessageEvent;

use super::browser;

/// An order with what was attached.
pub type Received = (Order, Vec<JsValue>);

thread_local! {
    static ORDERS: RefCell<VecDeque<Received>> = const { RefCell::new(VecDeque::new()) };
    static BUSY: RefCell<bool> = const { RefCell::new(false) };
}

/// Takes orders from here on, one after the other.
pub fn listen<F: Future<Output = ()> + 'static>(obey: fn(Received) -> F) {
    let closure = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        let message: Array = event.data().unchecked_into();
        let json = message.get(0).as_string().unwrap_or_default();
        match serde_json::from_str(&json) {
            Ok(order) => {
                let attachments = message.iter().skip(1).collect();
                ORDERS.with_borrow_mut(|orders| orders.push_back((order, attachments)));
                work(obey);
            }
            Err(error) => report_death(&format!("an order cannot be read ({error})")),
        }
    });
    browser::scope().set_onmessage(Some(closure.as_ref().unchecked_ref()));
    closure.forget();
    send(&Report::Started);
}

fn work<F: Future<Output = ()> + 'static>(obey: fn(Received) -> F) {
    if BUSY.replace(true) {
        return;
    }
    spawn_local(async move {
        while let Some(order) = ORDERS.with_borrow_mut(VecDeque::pop_front) {
            obey(order).await;
        }
        BUSY.set(false);
    });
}

/// Tells the page.
pub fn send(report: &Report) {
    post(report, None);
}

/// Tells the page, with bytes attached.
pub fn send_with(report: &Report, bytes: &[u8]) {
    post(report, Some(Uint8Array::from(bytes)));
}

fn post(report: &Report, bytes: Option<Uint8Array>) {
    let json = match serde_json::to_string(report) {
        Ok(json) => json,
        Err(error) => return report_death(&format!("a report cannot be written ({error})")),
    };
    let message = Array::of1(&json.into());
    let transfer = Array::new();
    if let Some(bytes) = bytes {
        transfer.push(&bytes.buffer());
        message.push(&bytes);
    }
    if let Err(error) = browser::scope().post_message_with_transfer(&message, &transfer) {
        report_death(&browser::said(&error));
    }
}

/// Tells the page that this worker is of no more use. A plain text, as `worker-start.js` sends.
pub fn report_death(cause: &str) {
    // A line that is down cannot be reported over it.
    let _ = browser::scope().post_message(&cause.into());
}
