//! The files of a bundle, several under way at a time, handed out one by one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::Promise;
use shared::bundle::{FileEntry, Manifest};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise, spawn_local};
use web::message::Report;
use web_sys::Blob;

use super::line;
use super::source::{self, Origin, Source};

/// Files that are fetched at a time.
const AT_A_TIME: usize = 4;
/// Bytes between two reports of progress.
const STEP: u64 = 200_000;

/// A file, the promise of its bytes, and where they come from once they are there.
type UnderWay = (FileEntry, Promise, Rc<Cell<Option<Origin>>>);

/// Files on their way. They wait outside of WASM's memory; only the one that is handed out is in it.
pub struct Arrivals {
    source: Rc<Source>,
    waiting: VecDeque<FileEntry>,
    under_way: VecDeque<UnderWay>,
    progress: Rc<Progress>,
    buffer: Vec<u8>,
    cached: bool,
}

impl Arrivals {
    /// Sends for files, which come out in this order. `report` makes a report of the bytes so far and
    /// the bytes in all.
    pub fn start(
        source: &Rc<Source>,
        files: impl IntoIterator<Item = FileEntry>,
        report: fn(u64, u64) -> Report,
    ) -> Self {
        let waiting: VecDeque<FileEntry> = files.into_iter().collect();
        let mut arrivals = Self {
            source: source.clone(),
            progress: Rc::new(Progress {
                files: RefCell::default(),
                total: waiting.iter().map(|entry| entry.bytes).sum(),
                told: Cell::new(0),
                over: Cell::new(false),
                report,
            }),
            waiting,
            under_way: VecDeque::new(),
            buffer: Vec::new(),
            cached: true,
        };
        arrivals.send();
        arrivals
    }

    /// Whether every file so far came out of the browser's cache.
    pub fn are_cached(&self) -> bool {
        self.cached
    }

    /// The next file, verified; `None` after the last. Its bytes are there until the next call.
    ///
    /// # Errors
    /// When it cannot be had or is not the one the manifest names.
    pub async fn next(&mut self) -> Result<Option<(FileEntry, &[u8])>, String> {
        let Some((entry, promise, origin)) = self.under_way.pop_front() else {
            return Ok(None);
        };
        let blob = match arrived(promise).await {
            Ok(blob) => blob,
            Err(message) => {
                self.keep_the_rest();
                return Err(message);
            }
        };
        self.send();
        let origin = origin.take().unwrap_or(Origin::Disk);
        self.cached &= origin == Origin::Kept;
        if let Err(refusal) = self.take_in(&entry, &blob).await {
            let again = match origin {
                // What an earlier visit kept may be damaged, and so may its first part of a file.
                Origin::Kept | Origin::Fetched { resumed: true } => true,
                Origin::Fetched { resumed: false } | Origin::Disk => false,
            };
            if !again {
                return Err(refusal);
            }
            self.cached = false;
            self.source.forget(&entry).await;
            let (blob, _) = self.source.file(&entry, &|_| {}).await?;
            self.take_in(&entry, &blob).await?;
            self.source.keep(&entry, &blob).await;
        } else if matches!(origin, Origin::Fetched { .. }) {
            self.source.keep(&entry, &blob).await;
        }
        Ok(Some((entry, self.buffer.as_slice())))
    }

    /// After a failure: what else is under way is kept as it comes, so that it is not fetched again.
    fn keep_the_rest(&mut self) {
        let (source, rest) = (self.source.clone(), std::mem::take(&mut self.under_way));
        spawn_local(async move {
            for (entry, promise, origin) in rest {
                if let Ok(blob) = arrived(promise).await
                    && matches!(origin.take(), Some(Origin::Fetched { .. }))
                {
                    source.keep(&entry, &blob).await;
                }
            }
        });
    }

    async fn take_in(&mut self, entry: &FileEntry, blob: &Blob) -> Result<(), String> {
        source::copy(&entry.name, blob, &mut self.buffer).await?;
        Manifest::verify(entry, &self.buffer).map_err(|error| format!("{error}."))
    }

    fn send(&mut self) {
        while self.under_way.len() < AT_A_TIME
            && let Some(entry) = self.waiting.pop_front()
        {
            let origin = Rc::new(Cell::new(None));
            let (source, progress) = (self.source.clone(), self.progress.clone());
            let (wanted, came_from) = (entry.clone(), origin.clone());
            let number = progress.add();
            let promise = future_to_promise(async move {
                // A failure travels as a text: a promise that nobody waits for must not be rejected.
                let came = source
                    .file(&wanted, &|bytes| progress.set(number, bytes))
                    .await;
                Ok(match came {
                    Ok((blob, origin)) => {
                        came_from.set(Some(origin));
                        blob.into()
                    }
                    Err(message) => JsValue::from_str(&message),
                })
            });
            self.under_way.push_back((entry, promise, origin));
        }
    }
}

async fn arrived(promise: Promise) -> Result<Blob, String> {
    let value = JsFuture::from(promise).await;
    let value = value.unwrap_or_else(|error| super::browser::said(&error).into());
    value
        .dyn_into()
        .map_err(|message: JsValue| message.as_string().unwrap_or_default())
}

/// Bytes that have come of all files together.
struct Progress {
    files: RefCell<Vec<u64>>,
    total: u64,
    told: Cell<u64>,
    /// Nobody waits for the files any more: what goes on coming is kept, and not told.
    over: Cell<bool>,
    report: fn(u64, u64) -> Report,
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.progress.over.set(true);
    }
}

impl Progress {
    fn add(&self) -> usize {
        let mut files = self.files.borrow_mut();
        files.push(0);
        files.len() - 1
    }

    fn set(&self, file: usize, bytes: u64) {
        let loaded = {
            let mut files = self.files.borrow_mut();
            if let Some(so_far) = files.get_mut(file) {
                *so_far = bytes;
            }
            files.iter().sum()
        };
        if self.over.get() {
            return;
        }
        // What has to be fetched anew is less than what was told.
        if self.told.get().abs_diff(loaded) >= STEP || loaded == self.total {
            self.told.set(loaded);
            line::send(&(self.report)(loaded, self.total));
        }
    }
}
