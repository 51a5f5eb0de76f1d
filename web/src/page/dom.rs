//! The document, in a few words.

use js_sys::{Function, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{Document, Element, Event, EventTarget, HtmlElement, Window};

/// The window.
pub fn window() -> Window {
    web_sys::window().expect_throw("the page runs in a window")
}

/// The document.
pub fn document() -> Document {
    window().document().expect_throw("a window has a document")
}

/// The element of `index.html` with this id.
pub fn by_id<T: JsCast>(id: &str) -> T {
    let element = document().get_element_by_id(id);
    let element = element.unwrap_or_else(|| throw(&format!("index.html has no #{id}")));
    element
        .dyn_into()
        .unwrap_or_else(|_| throw(&format!("#{id} is another kind of element")))
}

/// The first element below `parent` that `selector` matches.
pub fn within<T: JsCast>(parent: &Element, selector: &str) -> T {
    let element = parent.query_selector(selector).ok().flatten();
    let element = element.unwrap_or_else(|| throw(&format!("index.html has no {selector}")));
    element
        .dyn_into()
        .unwrap_or_else(|_| throw(&format!("{selector} is another kind of element")))
}

/// All elements that `selector` matches.
pub fn all(selector: &str) -> Vec<HtmlElement> {
    let Ok(list) = document().query_selector_all(selector) else {
        return Vec::new();
    };
    (0..list.length())
        .filter_map(|index| list.get(index)?.dyn_into().ok())
        .collect()
}

/// A new element with a class and a text; either may be empty.
pub fn element(tag: &str, class: &str, text: &str) -> HtmlElement {
    let element = document().create_element(tag).unwrap_throw();
    if !class.is_empty() {
        element.set_class_name(class);
    }
    if !text.is_empty() {
        element.set_text_content(Some(text));
    }
    element.unchecked_into()
}

/// Puts `children` in place of what `parent` holds.
pub fn replace(parent: &Element, children: impl IntoIterator<Item = HtmlElement>) {
    parent.set_text_content(None);
    for child in children {
        append(parent, &child);
    }
}

/// Puts `child` behind what `parent` holds.
pub fn append(parent: &Element, child: &Element) {
    parent.append_child(child).unwrap_throw();
}

/// Puts a drawing and its caption into a figure; one without a drawing is left out.
pub fn fill_figure(id: &str, drawing: &str, caption: &str) {
    let figure: HtmlElement = by_id(id);
    figure.set_hidden(drawing.is_empty());
    within::<Element>(&figure, "figcaption p").set_text_content(Some(caption));
    within::<Element>(&figure, ".plot").set_inner_html(drawing);
}

/// Sets an attribute.
pub fn set(element: &Element, name: &str, value: &str) {
    element.set_attribute(name, value).unwrap_throw();
}

/// Sets a custom property of the style, which the Content-Security-Policy allows.
pub fn set_property(element: &HtmlElement, name: &str, value: &str) {
    element.style().set_property(name, value).unwrap_throw();
}

/// Calls `listener` on every `event` at `target`, for as long as the page lives.
pub fn on<E: JsCast + 'static>(
    target: &impl AsRef<EventTarget>,
    event: &str,
    mut listener: impl FnMut(E) + 'static,
) {
    let closure =
        Closure::<dyn FnMut(Event)>::new(move |event: Event| listener(event.unchecked_into()));
    target
        .as_ref()
        .add_event_listener_with_callback(event, closure.as_ref().unchecked_ref())
        .unwrap_throw();
    closure.forget();
}

/// Calls `task` once, after `milliseconds`.
pub fn later(milliseconds: i32, task: impl FnOnce() + 'static) {
    let closure = Closure::once_into_js(task);
    window()
        .set_timeout_with_callback_and_timeout_and_arguments_0(
            closure.unchecked_ref(),
            milliseconds,
        )
        .unwrap_throw();
}

/// Milliseconds since the page was opened.
pub fn now() -> f64 {
    window()
        .performance()
        .map_or(0.0, |performance| performance.now())
}

/// How far down the page is scrolled, in pixels.
pub fn scrolled() -> f64 {
    window().scroll_y().unwrap_or(0.0)
}

/// Scrolls the page to there.
pub fn scroll_to(pixels: f64) {
    window().scroll_to_with_x_and_y(0.0, pixels);
}

/// Scrolls `holder` sideways, if need be, so that `inner` stands in its middle.
pub fn bring_into_sight(holder: &Element, inner: &Element) {
    let (Some(outside), Some(inside)) = (extent(holder), extent(inner)) else {
        return;
    };
    if inside[0] < outside[0] || inside[1] > outside[1] {
        let by = (inside[0] + inside[1] - outside[0] - outside[1]) / 2.0;
        holder.set_scroll_left(holder.scroll_left() + by as i32);
    }
}

/// Where an element begins and ends, from left to right.
fn extent(element: &Element) -> Option<[f64; 2]> {
    let measure: Function = Reflect::get(element, &"getBoundingClientRect".into())
        .ok()?
        .dyn_into()
        .ok()?;
    let rectangle = measure.call0(element).ok()?;
    let side = |name: &str| Reflect::get(&rectangle, &name.into()).ok()?.as_f64();
    Some([side("left")?, side("right")?])
}

/// What a JavaScript error says.
pub fn said(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => error.as_string().unwrap_or_else(|| format!("{error:?}")),
    }
}

fn throw(message: &str) -> ! {
    wasm_bindgen::throw_str(message)
}
