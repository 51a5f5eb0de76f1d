//! Where the files of a bundle come from: the network, the user's disk, the browser's cache.

use std::collections::HashMap;

use js_sys::{Array, Reflect, Uint8Array};
use shared::bundle::{FileEntry, MANIFEST_FILE, Manifest};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web::message::BundleSource;
use web_sys::{Blob, Cache, ReadableStreamDefaultReader, Request, RequestInit, Response, Url};

use super::browser;

/// The cache for the page's own bundle, and for those that the user typed the address of.
const CACHES: [&str; 2] = ["negprompt-bundle", "negprompt-other-bundles"];

/// Longest `bundle.json` that is read from the network, in bytes.
const MOST_MANIFEST_BYTES: usize = 16_000_000;

/// Where files come from.
pub enum Source {
    /// The network, through the cache.
    Web {
        /// Address of the folder, ending in a slash.
        base: String,
        /// Kept files, by their SHA-256; `None` where the browser keeps nothing.
        cache: Option<Cache>,
        /// Whether this is the page's own bundle.
        own: bool,
    },
    /// The user's disk.
    Disk(HashMap<String, Blob>),
}

impl Source {
    /// Prepares to read `source`; `files` are those attached to the order.
    ///
    /// # Errors
    /// An address that is none.
    pub async fn open(source: &BundleSource, files: Vec<JsValue>) -> Result<Self, String> {
        let (base, own) = match source {
            BundleSource::Files { names } => {
                let blobs = files.into_iter().map(JsCast::unchecked_into::<Blob>);
                return Ok(Self::Disk(names.iter().cloned().zip(blobs).collect()));
            }
            BundleSource::Page => ("bundle/".to_owned(), true),
            BundleSource::Address { url } => {
                let folder = url.split(['?', '#']).next().unwrap_or_default();
                let folder = folder.strip_suffix(MANIFEST_FILE).unwrap_or(folder);
                (format!("{}/", folder.trim_end_matches('/')), false)
            }
        };
        let here = browser::scope().location().href();
        let parsed = Url::new_with_base(&base, &here).ok().filter(|url| {
            own || (base.contains("://") && matches!(url.protocol().as_str(), "http:" | "https:"))
        });
        let Some(url) = parsed else {
            return Err(format!(
                "{base} is not a web address; it has to begin with https:// or http://."
            ));
        };
        Ok(Self::Web {
            base: url.href(),
            cache: cache(own).await,
            own,
        })
    }

    /// The bytes of `bundle.json`.
    ///
    /// # Errors
    /// When it cannot be had, with the way out.
    pub async fn manifest(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Disk(files) => read_disk(files, MANIFEST_FILE).await,
            Self::Web { base, cache, own } => {
                let address = format!("{base}{MANIFEST_FILE}");
                let fetched = fetch(&address, None, &mut |_| {}).await;
                match (fetched, cache) {
                    (Ok(bytes), Some(cache)) => {
                        keep(cache, &address, &bytes).await;
                        Ok(bytes)
                    }
                    (Ok(bytes), None) => Ok(bytes),
                    (Err(failure), cache) => {
                        // Without the network, what was kept of the last visit serves.
                        let kept = match cache {
                            Some(cache) => kept(cache, &address).await,
                            None => None,
                        };
                        kept.ok_or_else(|| failure.explain(&address, *own))
                    }
                }
            }
        }
    }

    /// A file of the bundle, verified, and whether it came out of the cache. `progress` is
    /// told the bytes so far.
    ///
    /// # Errors
    /// When it cannot be had or is not the one the manifest names.
    pub async fn file(
        &self,
        entry: &FileEntry,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Vec<u8>, bool), String> {
        let verify =
            |bytes: &[u8]| Manifest::verify(entry, bytes).map_err(|error| format!("{error}."));
        let (base, cache, own) = match self {
            Self::Disk(files) => {
                let bytes = read_disk(files, &entry.name).await?;
                verify(&bytes)?;
                return Ok((bytes, false));
            }
            Self::Web { base, cache, own } => (base, cache, *own),
        };
        let key = format!(
            "{}negprompt-file/{}",
            browser::scope().location().origin() + "/",
            entry.sha256
        );
        if let Some(cache) = cache
            && let Some(bytes) = kept(cache, &key).await
        {
            if verify(&bytes).is_ok() {
                progress(entry.bytes);
                return Ok((bytes, true));
            }
            // A damaged copy is fetched again; if it cannot be deleted, it is overwritten.
            let _ = JsFuture::from(cache.delete_with_str(&key)).await;
        }
        let address = format!("{base}{}", entry.name);
        let bytes = fetch(&address, Some(entry.bytes), progress)
            .await
            .map_err(|failure| failure.explain(&address, own))?;
        verify(&bytes)?;
        if let Some(cache) = cache {
            keep(cache, &key, &bytes).await;
        }
        Ok((bytes, false))
    }

    /// Drops files of earlier versions of the page's own bundle from the cache.
    pub async fn forget_others(&self, manifest: &Manifest) {
        let Self::Web {
            cache: Some(cache),
            own: true,
            ..
        } = self
        else {
            return;
        };
        let Ok(keys) = JsFuture::from(cache.keys()).await else {
            return;
        };
        for key in keys.unchecked_into::<Array>().iter() {
            let request: Request = key.unchecked_into();
            let url = request.url();
            let old = url.contains("/negprompt-file/")
                && !manifest
                    .files
                    .iter()
                    .any(|entry| url.ends_with(&entry.sha256));
            if old {
                // What cannot be deleted only takes room.
                let _ = JsFuture::from(cache.delete_with_request(&request)).await;
            }
        }
    }
}

/// Why a file did not come.
enum Failure {
    /// No answer.
    Network(String),
    /// An answer that is none of ours.
    Status(u16),
    /// More bytes than there should be.
    Length,
}

impl Failure {
    fn explain(&self, address: &str, own: bool) -> String {
        match self {
            Self::Network(cause) if own => format!(
                "{address} could not be fetched ({cause}). Check the network, then try again."
            ),
            Self::Network(cause) => format!(
                "{address} could not be fetched ({cause}). Either there is no answer from there, or that server does not let other pages read it (it has to send Access-Control-Allow-Origin). Open the folder from your disk instead."
            ),
            Self::Status(404) if own => format!(
                "The page has no bundle: {address} is not there. Train one with `cargo run --release -p trainer`, build the page again, or open a bundle from your disk."
            ),
            Self::Status(status) => format!(
                "{address} could not be fetched: the server answered {status}. Check the address."
            ),
            Self::Length => {
                format!("{address} is longer than it should be; it is not a file of this bundle.")
            }
        }
    }
}

async fn fetch(
    address: &str,
    expected: Option<u64>,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<u8>, Failure> {
    let network = |error: JsValue| Failure::Network(browser::said(&error));
    let options = RequestInit::new();
    if expected.is_none() {
        // The manifest has no hash in its name, so it is always asked for.
        Reflect::set(&options, &"cache".into(), &"no-cache".into()).map_err(network)?;
    }
    let request = Request::new_with_str_and_init(address, &options).map_err(network)?;
    let response: Response = JsFuture::from(browser::scope().fetch_with_request(&request))
        .await
        .map_err(network)?
        .unchecked_into();
    if !response.ok() {
        return Err(Failure::Status(response.status()));
    }
    let most = expected.map_or(MOST_MANIFEST_BYTES, |bytes| {
        usize::try_from(bytes).unwrap_or(usize::MAX)
    });
    let mut bytes = Vec::with_capacity(expected.map_or(0, |_| most));
    let Some(body) = response.body() else {
        return Ok(bytes);
    };
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    loop {
        let part = JsFuture::from(reader.read()).await.map_err(network)?;
        if browser::field(&part, "done").is_truthy() {
            return Ok(bytes);
        }
        let part: Uint8Array = browser::field(&part, "value").unchecked_into();
        if bytes.len() + part.length() as usize > most {
            return Err(Failure::Length);
        }
        let start = bytes.len();
        bytes.resize(start + part.length() as usize, 0);
        part.copy_to(&mut bytes[start..]);
        progress(bytes.len() as u64);
    }
}

async fn read_disk(files: &HashMap<String, Blob>, name: &str) -> Result<Vec<u8>, String> {
    let Some(blob) = files.get(name) else {
        return Err(format!(
            "The folder has no {name}; choose the whole folder `bundle` that a training run wrote."
        ));
    };
    read_blob(blob).await.map_err(|error| {
        format!(
            "{name} could not be read ({}); choose the folder again.",
            browser::said(&error)
        )
    })
}

/// The bytes of a blob.
///
/// # Errors
/// The browser's, for example when the file was changed or removed since it was chosen.
pub async fn read_blob(blob: &Blob) -> Result<Vec<u8>, JsValue> {
    let buffer = JsFuture::from(blob.array_buffer()).await?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

/// `None` where the browser keeps nothing, as in private windows.
async fn cache(own: bool) -> Option<Cache> {
    let caches = browser::scope().caches().ok()?;
    let opened = JsFuture::from(caches.open(CACHES[usize::from(!own)]))
        .await
        .ok()?;
    Some(opened.unchecked_into())
}

async fn kept(cache: &Cache, key: &str) -> Option<Vec<u8>> {
    let found = JsFuture::from(cache.match_with_str(key)).await.ok()?;
    let response: Response = found.dyn_into().ok()?;
    let buffer = JsFuture::from(response.array_buffer().ok()?).await.ok()?;
    Some(Uint8Array::new(&buffer).to_vec())
}

/// A full disk or a private window only costs another download next time.
async fn keep(cache: &Cache, key: &str, bytes: &[u8]) {
    let body = Uint8Array::from(bytes);
    if let Ok(response) = Response::new_with_opt_buffer_source(Some(&body)) {
        let _ = JsFuture::from(cache.put_with_str(key, &response)).await;
    }
}
