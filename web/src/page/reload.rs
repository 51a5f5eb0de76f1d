//! What outlives a tab that is reloaded, or that the browser puts away: how many photos there were,
//! and the settings. Never a photo or its name.

use serde::{Deserialize, Serialize};
use web::message::DeviceChoice;
use web_sys::{Event, Storage};

use super::{app, dom};

/// Where it is kept, for this tab alone.
const KEY: &str = "negprompt-tab";

/// What is kept.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Kept {
    /// How many photos the page held.
    pub photos: usize,
    /// The chosen method.
    pub method: String,
    /// The chosen device.
    pub device: DeviceChoice,
    /// The class list, if it was edited.
    pub classes: Vec<String>,
    /// The thresholds that were moved: method, the bundle's own, by which the bundle is known again,
    /// and where it was moved to.
    #[serde(default)]
    pub thresholds: Vec<(String, f64, f64)>,
}

/// Keeps it whenever the page may be about to go.
pub fn start() {
    let keep_now = |_: Event| keep(&app::with(|app| app.kept()));
    dom::on(&dom::window(), "pagehide", keep_now);
    dom::on(&dom::document(), "visibilitychange", keep_now);
}

/// Keeps it; a browser without room for it forgets.
pub fn keep(kept: &Kept) {
    if let (Some(storage), Ok(text)) = (storage(), serde_json::to_string(kept)) {
        // Without room there is nothing to say after a reload, which is no loss worth a word.
        let _ = storage.set_item(KEY, &text);
    }
}

/// What an earlier life of this tab left, once.
pub fn take() -> Option<Kept> {
    let storage = storage()?;
    let text = storage.get_item(KEY).ok()??;
    // What cannot be deleted is overwritten.
    let _ = storage.remove_item(KEY);
    serde_json::from_str(&text).ok()
}

/// Whether the browser put the tab away to save memory.
pub fn was_discarded() -> bool {
    js_sys::Reflect::get(&dom::document(), &"wasDiscarded".into())
        .is_ok_and(|discarded| discarded.is_truthy())
}

fn storage() -> Option<Storage> {
    dom::window().session_storage().ok().flatten()
}
