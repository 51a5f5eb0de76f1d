//! Where the files of a bundle come from: the network, the user's disk, the browser's cache.

use std::collections::HashMap;

use shared::bundle::{FileEntry, MANIFEST_FILE, Manifest};
use wasm_bindgen::prelude::*;
use web::message::BundleSource;
use web_sys::{Blob, Url};

use super::browser;
use super::download::{self, Download, Failure};
use super::kept::{self, Kept};

/// Longest `bundle.json` that is read from the network, in bytes.
pub const MOST_MANIFEST_BYTES: usize = 16_000_000;

/// Where files come from.
pub enum Source {
    /// The network, through the cache.
    Web {
        /// Address of the folder, ending in a slash.
        base: String,
        /// What is there already.
        kept: Kept,
        /// Whether this is the page's own bundle.
        own: bool,
    },
    /// The user's disk.
    Disk(HashMap<String, Blob>),
}

/// Where a file came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    /// The cache.
    Kept,
    /// The network, part of it perhaps with an earlier try.
    Fetched {
        /// Whether an earlier try had brought its beginning.
        resumed: bool,
    },
    /// The user's disk.
    Disk,
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
            kept: Kept::open(own).await,
            own,
        })
    }

    /// The bytes of `bundle.json`.
    ///
    /// # Errors
    /// When it cannot be had, with the way out.
    pub async fn manifest(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        match self {
            Self::Disk(files) => {
                let blob = on_disk(files, MANIFEST_FILE)?;
                copy(MANIFEST_FILE, blob, &mut bytes).await?;
            }
            Self::Web { base, kept, own } => {
                let address = format!("{base}{MANIFEST_FILE}");
                match download::small(&address).await {
                    Ok(fetched) => bytes = fetched,
                    // Without the network, what was kept of the last visit serves.
                    Err(failure) => match kept.get(&address).await {
                        Some(blob) => copy(MANIFEST_FILE, &blob, &mut bytes).await?,
                        None => return Err(failure.explain(&address, *own)),
                    },
                }
            }
        }
        Ok(bytes)
    }

    /// Keeps the manifest of a bundle whose files have all come, and drops what was kept of earlier
    /// versions of the page's own bundle, or of other bundles that had an address: two stay at most.
    /// Not before: an update that breaks off leaves what was kept whole.
    pub async fn settle(&self, bytes: &[u8], manifest: &Manifest) {
        if let Self::Web { base, kept, .. } = self {
            let address = format!("{base}{MANIFEST_FILE}");
            kept.put_bytes(&address, bytes).await;
            kept.forget_others(manifest, &address).await;
        }
    }

    /// Whether the browser keeps for the next visit what it would have to.
    pub fn keeps(&self) -> bool {
        match self {
            Self::Web { kept, .. } => kept.works(),
            Self::Disk(_) => true,
        }
    }

    /// A file of the bundle, outside of WASM's memory and not verified. `progress` is told the bytes
    /// so far. What comes before a connection breaks off for good is kept for another try.
    ///
    /// # Errors
    /// When it cannot be had, with the way out.
    pub async fn file(
        &self,
        entry: &FileEntry,
        progress: &dyn Fn(u64),
    ) -> Result<(Blob, Origin), String> {
        let (base, kept, own) = match self {
            Self::Disk(files) => return Ok((on_disk(files, &entry.name)?.clone(), Origin::Disk)),
            Self::Web { base, kept, own } => (base, kept, *own),
        };
        if let Some(blob) = kept.get(&kept::key(entry)).await {
            progress(entry.bytes);
            return Ok((blob, Origin::Kept));
        }
        let address = format!("{base}{}", entry.name);
        let mut download = Download::new(address.clone());
        let part = kept::key_of_part(entry);
        let start = kept.get(&part).await;
        if let Some(start) = start.filter(|start| start.size() < entry.bytes as f64) {
            download.go_on_from(&start);
        }
        let resumed = download.is_begun();
        if let Err(failure) = download.run(entry.bytes, progress).await {
            let broke_off = matches!(failure, Failure::Network(_)) && download.is_begun();
            if let Some(blob) = download.blob().filter(|_| broke_off) {
                kept.put(&part, &blob).await;
            } else if resumed && !matches!(failure, Failure::Network(_)) {
                // The part does not fit what is there now; the next try begins anew.
                kept.forget(&part).await;
            }
            return Err(failure.explain(&address, own));
        }
        if resumed {
            kept.forget(&part).await;
        }
        let Some(blob) = download.blob() else {
            return Err(format!(
                "{address} came, and the browser has no room for it. Close other tabs, then try again."
            ));
        };
        Ok((blob, Origin::Fetched { resumed }))
    }

    /// Keeps a file that was verified; it need not come again.
    pub async fn keep(&self, entry: &FileEntry, blob: &Blob) {
        if let Self::Web { kept, .. } = self {
            kept.put(&kept::key(entry), blob).await;
        }
    }

    /// Forgets a file whose bytes turned out to be others than the manifest says.
    pub async fn forget(&self, entry: &FileEntry) {
        if let Self::Web { kept, .. } = self {
            kept.forget(&kept::key(entry)).await;
        }
    }
}

fn on_disk<'a>(files: &'a HashMap<String, Blob>, name: &str) -> Result<&'a Blob, String> {
    files.get(name).ok_or_else(|| {
        format!(
            "The folder has no {name}; choose the whole folder `bundle` that a training run wrote."
        )
    })
}

/// Puts the bytes of a bundle's file in place of what `buffer` holds.
///
/// # Errors
/// When the file was changed or removed since it was chosen.
pub async fn copy(name: &str, blob: &Blob, buffer: &mut Vec<u8>) -> Result<(), String> {
    download::copy(blob, buffer).await.map_err(|error| {
        format!(
            "{name} could not be read ({}); choose the bundle again.",
            browser::said(&error)
        )
    })
}
