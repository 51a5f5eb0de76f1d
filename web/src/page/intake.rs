//! How photos come in: picked, dropped, pasted.

use js_sys::Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    Blob, ClipboardEvent, ClipboardItem, DataTransfer, DragEvent, Element, Event, File, FileList,
    HtmlElement, HtmlInputElement,
};

use super::folder::{self, Dropped};
use super::{app, banner, dom};

/// Listens.
pub fn start() {
    for id in ["photos", "folder"] {
        let input: HtmlInputElement = dom::by_id(id);
        let from_folder = id == "folder";
        dom::on(&input, "change", move |_: Event| {
            let input: HtmlInputElement = dom::by_id(id);
            let files = input.files().map(|list| files(&list)).unwrap_or_default();
            // The same file again counts as a change.
            input.set_value("");
            take(files.into(), from_folder);
        });
    }
    start_dropping();
    start_pasting();
}

/// Takes files in. Of a folder, what is no image by name or type is left out, and said; and so is that
/// it holds more files, or some that could not be read.
fn take(dropped: Dropped, from_folder: bool) {
    let Dropped {
        files,
        cut,
        unreadable,
    } = dropped;
    let count = files.len();
    let photos: Vec<(String, Blob)> = files
        .into_iter()
        .filter(|file| !from_folder || looks_like_an_image(file))
        .map(|file| (file.name(), file.unchecked_into()))
        .collect();
    banner::dismiss("folder");
    let mut text = String::new();
    if cut {
        text = format!(
            "This folder holds more than {} files, and the rest was not read: use the button “Folder” for all of them. ",
            folder::MOST_FILES
        );
    }
    if unreadable > 0 {
        text.push_str(&format!(
            "{unreadable} of its files could not be read: they may be locked, or links that lead nowhere. "
        ));
    }
    if from_folder && photos.len() < count {
        let others = count - photos.len();
        text.push_str(&match (others, count) {
            (_, 1) => "The only file in this folder is no photo by name.".to_owned(),
            (1, _) => format!("One of the {count} files in this folder is no photo by name and was left out."),
            _ => format!("{others} of the {count} files in this folder are not photos by name and were left out."),
        });
    }
    if !text.is_empty() {
        banner::show("folder", "note", &text);
    }
    app::add_photos(photos);
}

fn looks_like_an_image(file: &File) -> bool {
    const EXTENSIONS: [&str; 18] = [
        "jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "pnm", "ppm", "pgm",
        "pbm", "pam", "avif", "heic", "heif", "jxl",
    ];
    let name = file.name().to_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    !name.starts_with('.')
        && (file.type_().starts_with("image/") || EXTENSIONS.contains(&extension))
}

fn files(list: &FileList) -> Vec<File> {
    (0..list.length())
        .filter_map(|index| list.get(index))
        .collect()
}

fn start_dropping() {
    let body: HtmlElement = match dom::document().body() {
        Some(body) => body,
        None => return,
    };
    let veil = |shown: bool| dom::by_id::<HtmlElement>("veil").set_hidden(!shown);
    let holds_files = |event: &DragEvent| {
        event
            .data_transfer()
            .is_some_and(|data| data.types().includes(&"Files".into(), 0))
    };
    for name in ["dragenter", "dragover"] {
        dom::on(&body, name, move |event: DragEvent| {
            if holds_files(&event) {
                event.prevent_default();
                veil(true);
            }
        });
    }
    dom::on(&body, "dragleave", move |event: DragEvent| {
        // Leaving an element for another one is not leaving the page.
        if event.related_target().is_none() {
            veil(false);
        }
    });
    dom::on(&body, "drop", move |event: DragEvent| {
        veil(false);
        if let Some(data) = event.data_transfer().filter(|_| holds_files(&event)) {
            event.prevent_default();
            drop_in(&data);
        }
    });
}

/// The entries have to be asked for before the event is over.
fn drop_in(data: &DataTransfer) {
    let items = data.items();
    let entries: Vec<JsValue> = (0..items.length())
        .filter_map(|index| items.get(index))
        .filter_map(|item| item.webkit_get_as_entry().ok().flatten())
        .map(JsValue::from)
        .collect();
    let plain = data.files().map(|list| files(&list)).unwrap_or_default();
    if !entries.iter().any(folder::is_folder) {
        take(plain.into(), false);
        return;
    }
    spawn_local(async move {
        match folder::files(entries).await {
            Ok(dropped) => take(dropped, true),
            Err(error) => {
                let text = format!(
                    "The folder could not be read ({}). Use the button “Folder”.",
                    dom::said(&error)
                );
                banner::show("folder", "trouble", &text);
            }
        }
    });
}

fn start_pasting() {
    dom::on(&dom::document(), "paste", |event: ClipboardEvent| {
        let Some(data) = event.clipboard_data() else {
            return;
        };
        // Programs put a picture of a text beside it; who pastes into a text field means the text.
        let field = event
            .target()
            .and_then(|target| target.dyn_into::<Element>().ok())
            .is_some_and(|target| target.matches("textarea, [type=url]").unwrap_or(false));
        if field
            && data
                .get_data("text/plain")
                .is_ok_and(|text| !text.is_empty())
        {
            return;
        }
        let pasted = data.files();
        let pasted = pasted.map(|list| files(&list)).unwrap_or_default();
        if !pasted.is_empty() {
            event.prevent_default();
            take(pasted.into(), false);
        }
    });
    dom::on(&dom::by_id::<HtmlElement>("paste"), "click", |_: Event| {
        spawn_local(async {
            let text = match clipboard_images().await {
                Ok(photos) if photos.is_empty() => {
                    "There is no image on the clipboard. Copy one first.".to_owned()
                }
                Ok(photos) => return app::add_photos(photos),
                Err(error) => format!(
                    "The browser does not let the page read the clipboard ({}). Press Ctrl+V or ⌘V instead.",
                    dom::said(&error)
                ),
            };
            banner::show("clipboard", "note", &text);
        });
    });
}

async fn clipboard_images() -> Result<Vec<(String, Blob)>, JsValue> {
    let clipboard = dom::window().navigator().clipboard();
    if !js_sys::Reflect::has(clipboard.as_ref(), &"read".into()).unwrap_or(false) {
        return Err(JsValue::from_str("it has no such function"));
    }
    let items: Array = JsFuture::from(clipboard.read()).await?.dyn_into()?;
    let mut photos = Vec::new();
    for item in items.iter() {
        let item: ClipboardItem = item.unchecked_into();
        let kinds: Vec<String> = item
            .types()
            .iter()
            .filter_map(|kind| kind.as_string())
            .collect();
        if let Some(kind) = kinds.iter().find(|kind| kind.starts_with("image/")) {
            let blob: Blob = JsFuture::from(item.get_type(kind)).await?.dyn_into()?;
            let extension = kind.rsplit('/').next().unwrap_or("png");
            let place = if photos.is_empty() {
                String::new()
            } else {
                format!(" {}", photos.len() + 1)
            };
            photos.push((format!("pasted{place}.{extension}"), blob));
        }
    }
    Ok(photos)
}
