//! The files of dropped folders.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    File, FileSystemDirectoryEntry, FileSystemDirectoryReader, FileSystemEntry, FileSystemFileEntry,
};

/// More files than this are not read out of a folder.
pub const MOST_FILES: usize = 5_000;

/// Whether what was dropped is a folder. Entries are taken for what they are by their fields:
/// Chromium hands out entries that are no instances of the interface `FileSystemEntry`.
pub fn is_folder(entry: &JsValue) -> bool {
    entry.unchecked_ref::<FileSystemEntry>().is_directory()
}

/// The files among and below `entries`, and whether there are more than [`MOST_FILES`].
///
/// # Errors
/// The browser's, when it does not give a file.
pub async fn files(entries: Vec<JsValue>) -> Result<(Vec<File>, bool), JsValue> {
    let mut waiting = entries;
    let mut files = Vec::new();
    let mut cut = false;
    while let Some(entry) = waiting.pop() {
        if files.len() >= MOST_FILES {
            cut = true;
            break;
        }
        let entry: FileSystemEntry = entry.unchecked_into();
        if entry.is_directory() {
            let reader = entry
                .unchecked_into::<FileSystemDirectoryEntry>()
                .create_reader();
            // A reader gives its entries in parts, and an empty part at the end.
            loop {
                let part = part(&reader).await?;
                if part.length() == 0 {
                    break;
                }
                waiting.extend(part.iter());
            }
        } else {
            files.push(file(&entry.unchecked_into()).await?);
        }
    }
    files.sort_by_key(File::name);
    Ok((files, cut))
}

async fn part(reader: &FileSystemDirectoryReader) -> Result<Array, JsValue> {
    let promise = Promise::new(&mut |resolve, reject| {
        if let Err(error) = reader.read_entries_with_callback_and_callback(&resolve, &reject) {
            // The promise then fails with this error.
            let _ = reject.call1(&JsValue::NULL, &error);
        }
    });
    JsFuture::from(promise).await?.dyn_into()
}

async fn file(entry: &FileSystemFileEntry) -> Result<File, JsValue> {
    let promise = Promise::new(&mut |resolve, reject| {
        entry.file_with_callback_and_callback(&resolve, &reject);
    });
    JsFuture::from(promise).await?.dyn_into()
}
