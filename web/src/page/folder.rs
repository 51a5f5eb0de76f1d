//! The files of dropped folders.

use js_sys::{Array, Promise, Reflect};
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

/// Where a dropped file says in which folders it lay; one that was chosen says so itself, and this
/// cannot be set.
const DROPPED_PATH: &str = "droppedPath";

/// The path of a file from the folder on that was chosen or dropped, with `/`; none without a folder.
pub fn path_of(file: &JsValue) -> Option<String> {
    ["webkitRelativePath", DROPPED_PATH]
        .iter()
        .find_map(|name| {
            let path = Reflect::get(file, &(*name).into()).ok()?.as_string()?;
            let path = path.trim_start_matches('/');
            path.contains('/').then(|| path.to_owned())
        })
}

/// What a drop of folders holds.
#[derive(Default)]
pub struct Dropped {
    pub files: Vec<File>,
    /// Whether there are more than [`MOST_FILES`].
    pub cut: bool,
    /// Files that the browser could not give: locked ones, and links that lead nowhere.
    pub unreadable: usize,
}

impl From<Vec<File>> for Dropped {
    fn from(files: Vec<File>) -> Self {
        Self {
            files,
            ..Self::default()
        }
    }
}

/// The files among and below `entries`.
///
/// # Errors
/// The browser's, when it does not list a folder.
pub async fn files(entries: Vec<JsValue>) -> Result<Dropped, JsValue> {
    let mut waiting = entries;
    let Dropped {
        mut files,
        mut cut,
        mut unreadable,
    } = Dropped::default();
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
            let path = entry.full_path();
            match file(&entry.unchecked_into()).await {
                Ok(file) => {
                    // Setting a field of an object that is one cannot fail.
                    let _ = Reflect::set(&file, &DROPPED_PATH.into(), &path.into());
                    files.push(file);
                }
                Err(_) => unreadable += 1,
            }
        }
    }
    files.sort_by_key(File::name);
    Ok(Dropped {
        files,
        cut,
        unreadable,
    })
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
