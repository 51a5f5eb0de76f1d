//! Fetching a file over the network, in pieces that stay outside of WASM's memory, and going on where
//! a connection broke off.

use js_sys::{Array, Reflect, Uint8Array};
use shared::bundle::MANIFEST_FILE;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, Headers, ReadableStreamDefaultReader, Request, RequestInit, Response};

use super::browser;

/// Times that a connection that breaks off is taken up again.
const RETRIES: u32 = 2;
/// Milliseconds before the first of them; twice as long before the next.
const PAUSE: i32 = 400;

/// Why a file did not come.
pub enum Failure {
    /// No answer, or one that broke off.
    Network(String),
    /// An answer that is none of ours.
    Status(u16),
    /// More bytes than there should be.
    Length,
}

impl Failure {
    /// For people; `own` for the page's own bundle.
    pub fn explain(&self, address: &str, own: bool) -> String {
        match self {
            Self::Network(cause) if own => format!(
                "{address} could not be fetched ({cause}). Check the network, then try again."
            ),
            Self::Network(cause) => format!(
                "{address} could not be fetched ({cause}). Either there is no answer from there, or that server does not let other pages read it (it has to send Access-Control-Allow-Origin). Open the folder from your disk instead."
            ),
            Self::Status(404) if own && !address.ends_with(MANIFEST_FILE) => format!(
                "{address} is not there any more: the page was updated meanwhile. Reload it; photos have to be chosen again."
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

/// A file under way: what has come of it, in pieces.
pub struct Download {
    address: String,
    pieces: Array,
    bytes: u64,
}

impl Download {
    /// Nothing yet of the file at `address`.
    pub fn new(address: String) -> Self {
        Self {
            address,
            pieces: Array::new(),
            bytes: 0,
        }
    }

    /// Goes on from the first bytes of it, which were kept of an earlier try.
    pub fn go_on_from(&mut self, start: &Blob) {
        self.pieces.push(start);
        self.bytes = start.size() as u64;
    }

    /// Whether anything has come.
    pub fn is_begun(&self) -> bool {
        self.bytes > 0
    }

    /// What has come so far.
    pub fn blob(&self) -> Option<Blob> {
        Blob::new_with_blob_sequence(&self.pieces).ok()
    }

    /// Fetches what is missing of `expected` bytes, taking a broken connection up again. `progress`
    /// is told the bytes so far. After a failure the pieces that came are still there.
    ///
    /// # Errors
    /// Why the file did not come.
    pub async fn run(&mut self, expected: u64, progress: &dyn Fn(u64)) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            let before = self.bytes;
            match self.fetch(Some(expected), progress).await {
                Ok(()) if self.bytes == expected => return Ok(()),
                Err(failure @ (Failure::Length | Failure::Status(_))) => return Err(failure),
                ended => {
                    if tries >= RETRIES {
                        let short = || Failure::Network("it ended too soon".to_owned());
                        return Err(ended.err().unwrap_or_else(short));
                    }
                    // As long as something comes, it is worth going on.
                    tries = if self.bytes > before { 1 } else { tries + 1 };
                    pause(PAUSE << tries.saturating_sub(1)).await;
                }
            }
        }
    }

    /// One request for what is missing; as long as it is when nobody knows the length.
    async fn fetch(
        &mut self,
        expected: Option<u64>,
        progress: &dyn Fn(u64),
    ) -> Result<(), Failure> {
        let network = |error: JsValue| Failure::Network(browser::said(&error));
        let options = RequestInit::new();
        // The manifest has no hash in its name, so it is always asked for. The other files are kept by
        // this program; the browser's own cache would keep them twice, and answer for ranges in its
        // own way.
        let mode = match expected {
            None => "no-cache",
            Some(_) => "no-store",
        };
        Reflect::set(&options, &"cache".into(), &mode.into()).map_err(network)?;
        if self.is_begun() {
            let headers = Headers::new().map_err(network)?;
            let range = format!("bytes={}-", self.bytes);
            headers.set("Range", &range).map_err(network)?;
            options.set_headers_headers(&headers);
        }
        let request = Request::new_with_str_and_init(&self.address, &options).map_err(network)?;
        let response: Response = JsFuture::from(browser::scope().fetch_with_request(&request))
            .await
            .map_err(network)?
            .unchecked_into();
        if !response.ok() {
            return Err(Failure::Status(response.status()));
        }
        if self.is_begun() && response.status() != 206 {
            // A server that knows no ranges sends everything again.
            *self = Self::new(std::mem::take(&mut self.address));
        }
        let most = expected.unwrap_or(super::source::MOST_MANIFEST_BYTES as u64);
        let Some(body) = response.body() else {
            return Ok(());
        };
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        loop {
            let part = JsFuture::from(reader.read()).await.map_err(network)?;
            if browser::field(&part, "done").is_truthy() {
                return Ok(());
            }
            let piece: Uint8Array = browser::field(&part, "value").unchecked_into();
            if self.bytes + u64::from(piece.length()) > most {
                return Err(Failure::Length);
            }
            self.bytes += u64::from(piece.length());
            self.pieces.push(&piece);
            progress(self.bytes);
        }
    }
}

/// The whole of a file whose length nobody knows.
///
/// # Errors
/// Why it did not come.
pub async fn small(address: &str) -> Result<Vec<u8>, Failure> {
    let mut download = Download::new(address.to_owned());
    download.fetch(None, &|_| {}).await?;
    let network = |error: JsValue| Failure::Network(browser::said(&error));
    let blob = Blob::new_with_blob_sequence(&download.pieces).map_err(network)?;
    let mut bytes = Vec::new();
    copy(&blob, &mut bytes).await.map_err(network)?;
    Ok(bytes)
}

/// Puts the bytes of a blob in place of what `buffer` holds.
///
/// # Errors
/// The browser's, for example when a file was changed or removed since it was chosen.
pub async fn copy(blob: &Blob, buffer: &mut Vec<u8>) -> Result<(), JsValue> {
    let bytes = Uint8Array::new(&JsFuture::from(blob.array_buffer()).await?);
    buffer.clear();
    buffer.resize(bytes.length() as usize, 0);
    bytes.copy_to(buffer);
    Ok(())
}

async fn pause(milliseconds: i32) {
    let promise = js_sys::Promise::new(&mut |done, _| {
        // Without a pause the next try comes at once.
        let _ = browser::scope()
            .set_timeout_with_callback_and_timeout_and_arguments_0(&done, milliseconds);
    });
    // It is only ever resolved.
    let _ = JsFuture::from(promise).await;
}
