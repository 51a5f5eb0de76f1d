//! The views, light and dark, and the settings on a narrow screen.

use js_sys::{Function, Reflect};
use wasm_bindgen::JsCast;
use web_sys::{Element, Event, HtmlElement, KeyboardEvent};

use super::dom;

const VIEWS: [&str; 3] = ["verdicts", "why", "measured"];

/// Listens.
pub fn start() {
    for (index, view) in VIEWS.into_iter().enumerate() {
        let tab: HtmlElement = dom::by_id(&format!("tab-{view}"));
        dom::on(&tab, "click", move |_: Event| super::app::open_view(view));
        dom::on(&tab, "keydown", move |event: KeyboardEvent| {
            let other = match event.key().as_str() {
                "ArrowRight" => VIEWS[(index + 1) % VIEWS.len()],
                "ArrowLeft" => VIEWS[(index + VIEWS.len() - 1) % VIEWS.len()],
                "Home" => VIEWS[0],
                "End" => VIEWS[VIEWS.len() - 1],
                _ => return,
            };
            event.prevent_default();
            super::app::open_view(other);
            // Focus on a button that is there cannot fail.
            let _ = dom::by_id::<HtmlElement>(&format!("tab-{other}")).focus();
        });
    }
    start_history();
    start_settings();
    start_theme();
}

/// The browser's way back leads from view to view, and not off the page, where the photos would be lost.
fn start_history() {
    tell_history("replaceState", VIEWS[0]);
    dom::on(&dom::window(), "popstate", |event: Event| {
        let state = Reflect::get(&event, &"state".into()).ok();
        let name = state.and_then(|state| state.as_string());
        // A jump within the page has no state, and stays in its view.
        let view = VIEWS.into_iter().find(|view| name.as_deref() == Some(view));
        if let Some(view) = view {
            super::app::go_back_to(view);
        }
    });
}

/// Has the browser find the view that is left by its way back.
pub fn remember(view: &str) {
    tell_history("pushState", view);
}

fn tell_history(method: &str, view: &str) {
    let history = Reflect::get(&dom::window(), &"history".into());
    let call = history.and_then(|history| {
        let method = Reflect::get(&history, &method.into())?;
        let method = method.dyn_into::<Function>()?;
        method.call2(&history, &view.into(), &"".into())
    });
    // A browser that keeps no history goes on without.
    drop(call);
}

/// On a narrow screen the settings are a sheet that opens and closes.
fn start_settings() {
    let toggle: HtmlElement = dom::by_id("settings-toggle");
    dom::on(&toggle, "click", |_: Event| {
        let toggle: Element = dom::by_id("settings-toggle");
        open_settings(toggle.get_attribute("aria-expanded").as_deref() != Some("true"));
    });
    let close = || {
        open_settings(false);
        // Focus on a button that is there cannot fail.
        let _ = dom::by_id::<HtmlElement>("settings-toggle").focus();
    };
    let done: HtmlElement = dom::by_id("settings-close");
    dom::on(&done, "click", move |_: Event| close());
    dom::on(&dom::document(), "keydown", move |event: KeyboardEvent| {
        let toggle: Element = dom::by_id("settings-toggle");
        let open = toggle.get_attribute("aria-expanded").as_deref() == Some("true");
        // Over it there may be the camera, which the same key closes.
        let camera: Element = dom::by_id("camera-dialog");
        if event.key() == "Escape" && open && !camera.has_attribute("open") {
            close();
        }
    });
}

fn open_settings(open: bool) {
    dom::set(
        &dom::by_id("settings-toggle"),
        "aria-expanded",
        &open.to_string(),
    );
    dom::set(&dom::by_id("settings"), "data-open", &open.to_string());
    if open {
        // The sheet stands at the end of the document: by keyboard nobody would find it.
        let _ = dom::by_id::<HtmlElement>("settings-close").focus();
    }
}

/// Shows a view.
pub fn show(view: &str) {
    for other in VIEWS {
        let chosen = other == view;
        let tab: HtmlElement = dom::by_id(&format!("tab-{other}"));
        dom::set(&tab, "aria-selected", &chosen.to_string());
        tab.set_tab_index(if chosen { 0 } else { -1 });
        dom::by_id::<HtmlElement>(&format!("view-{other}")).set_hidden(!chosen);
    }
}

fn start_theme() {
    let storage = || dom::window().local_storage().ok().flatten();
    let apply = |theme: &str| {
        if let Some(root) = dom::document().document_element() {
            dom::set(&root, "data-theme", theme);
        }
        // The browser's own frame goes along.
        let metas = dom::all("meta[name=theme-color]");
        let of_theme = metas.iter().find(|meta| {
            let media = meta.get_attribute("media").unwrap_or_default();
            media.contains(theme)
        });
        let color = of_theme.and_then(|meta| meta.get_attribute("content"));
        if let Some(color) = color {
            let known = dom::all("meta[name=theme-color]:not([media])");
            let meta = known.into_iter().next().unwrap_or_else(|| {
                let meta = dom::element("meta", "", "");
                dom::set(&meta, "name", "theme-color");
                meta
            });
            dom::set(&meta, "content", &color);
            // The first one whose media match counts.
            if let Some(head) = dom::all("head").first() {
                let _ = head.prepend_with_node_1(&meta);
            }
        }
    };
    let kept = storage().and_then(|storage| storage.get_item("theme").ok().flatten());
    if let Some(theme) = kept.filter(|theme| theme == "light" || theme == "dark") {
        apply(&theme);
    }
    dom::on(
        &dom::by_id::<HtmlElement>("theme"),
        "click",
        move |_: Event| {
            let root = dom::document().document_element();
            let chosen = root.and_then(|root| root.get_attribute("data-theme"));
            let dark = match chosen.as_deref() {
                Some(theme) => theme == "dark",
                None => dom::window()
                    .match_media("(prefers-color-scheme: dark)")
                    .ok()
                    .flatten()
                    .is_some_and(|query| query.matches()),
            };
            let theme = if dark { "light" } else { "dark" };
            apply(theme);
            if let Some(storage) = storage() {
                // Where nothing may be stored, the choice holds until the page is closed.
                let _ = storage.set_item("theme", theme);
            }
        },
    );
}
