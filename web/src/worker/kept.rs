//! What the browser keeps of bundles for the next visit.

use std::cell::Cell;

use js_sys::{Array, Uint8Array};
use shared::bundle::{FileEntry, Manifest};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, Cache, Request, Response, Url};

use super::browser;

/// What begins the names of the caches for the page's own bundle, and for one that the user typed the
/// address of. The page's address follows: another page of this origin may be the same program.
const CACHES: [&str; 2] = ["negprompt-bundle", "negprompt-other-bundle"];

/// What begins the keys of whole files, and of first parts.
const FILE: &str = "negprompt-file";
const PART: &str = "negprompt-part";

/// Kept files, by their SHA-256.
pub struct Kept {
    /// `None` where the browser keeps nothing, as in private windows.
    cache: Option<Cache>,
    /// Whether the browser had no room for a file.
    full: Cell<bool>,
}

impl Kept {
    /// What is kept of the page's own bundle, or of others.
    pub async fn open(own: bool) -> Self {
        let opened = async {
            let caches = browser::scope().caches().ok()?;
            // To a page over plain http, browsers give no caches at all.
            if caches.is_undefined() {
                return None;
            }
            let page = Url::new_with_base(".", &browser::scope().location().href()).ok()?;
            let name = format!("{} {}", CACHES[usize::from(!own)], page.href());
            let opened = JsFuture::from(caches.open(&name)).await;
            Some(opened.ok()?.unchecked_into())
        };
        Self {
            cache: opened.await,
            full: Cell::new(false),
        }
    }

    /// Whether the browser keeps for the next visit what it would have to.
    pub fn works(&self) -> bool {
        self.cache.is_some() && !self.full.get()
    }

    /// What is kept under a key.
    pub async fn get(&self, key: &str) -> Option<Blob> {
        let found = JsFuture::from(self.cache.as_ref()?.match_with_str(key)).await;
        let response: Response = found.ok()?.dyn_into().ok()?;
        JsFuture::from(response.blob().ok()?)
            .await
            .ok()?
            .dyn_into()
            .ok()
    }

    /// Keeps a blob. A full disk or a private window only costs another download next time.
    pub async fn put(&self, key: &str, blob: &Blob) {
        let Some(cache) = &self.cache else { return };
        let put = async {
            let response = Response::new_with_opt_blob(Some(blob))?;
            JsFuture::from(cache.put_with_str(key, &response)).await
        };
        if put.await.is_err() {
            self.full.set(true);
        }
    }

    /// Keeps bytes.
    pub async fn put_bytes(&self, key: &str, bytes: &[u8]) {
        let parts = Array::of1(&Uint8Array::from(bytes));
        if let Ok(blob) = Blob::new_with_u8_array_sequence(&parts) {
            self.put(key, &blob).await;
        }
    }

    /// Forgets what is kept under a key; what cannot be deleted is overwritten.
    pub async fn forget(&self, key: &str) {
        if let Some(cache) = &self.cache {
            let _ = JsFuture::from(cache.delete_with_str(key)).await;
        }
    }

    /// Forgets what is not of this bundle, whose manifest is kept under `address`.
    pub async fn forget_others(&self, manifest: &Manifest, address: &str) {
        let Some(cache) = &self.cache else { return };
        let Ok(keys) = JsFuture::from(cache.keys()).await else {
            return;
        };
        let files = &manifest.files;
        for key in keys.unchecked_into::<Array>().iter() {
            let request: Request = key.unchecked_into();
            let url = request.url();
            let own = url == address
                || files
                    .iter()
                    .any(|entry| url == self::key(entry) || url == key_of_part(entry));
            if !own {
                // What cannot be deleted only takes room.
                let _ = JsFuture::from(cache.delete_with_request(&request)).await;
            }
        }
    }
}

/// The key of a whole file.
pub fn key(entry: &FileEntry) -> String {
    key_of(FILE, &entry.sha256)
}

/// The key of the first part of a file that broke off.
pub fn key_of_part(entry: &FileEntry) -> String {
    key_of(PART, &entry.sha256)
}

fn key_of(kind: &str, sha256: &str) -> String {
    format!("{}/{kind}/{sha256}", browser::scope().location().origin())
}
