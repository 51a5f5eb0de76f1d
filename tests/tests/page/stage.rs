//! What the page's tests stand on: a built page, a bundle, photos good and bad.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::wire::Wire;
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use xtask::serve::Server;

use xtask::webdriver::{Browser, Options};

/// Two cores carry one browser at a time, or the timings mean nothing.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A served page in a browser.
pub struct Stage {
    pub browser: Browser,
    pub address: String,
    pub files: tempfile::TempDir,
    server: Server,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    /// Serves the built page and opens it in a fresh browser.
    pub fn open(options: &Options) -> Self {
        Self::open_with(options, None)
    }

    /// The same with another bundle beside the page.
    pub fn open_with(options: &Options, bundle: Option<&Path>) -> Self {
        Self::open_at(options, &page(), bundle, tempfile::tempdir().unwrap())
    }

    /// The same behind a wire that can be cut.
    pub fn wired(options: &Options, bundle: Option<&Path>) -> (Self, Wire) {
        let files = tempfile::tempdir().unwrap();
        let mut stage = Self::set(options, &page(), bundle, files);
        let wire = Wire::to(&stage.address);
        stage.address = wire.address();
        (stage, wire)
    }

    /// The same, of a copy of the page in the folder `page` of the test's files, to be changed.
    pub fn copied(options: &Options) -> Self {
        Self::altered(options, "")
    }

    /// The same with a script that runs in the worker before the page's own.
    pub fn altered(options: &Options, script: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let altered = files.path().join("page");
        copy_page(&altered);
        let start = altered.join("worker-start.js");
        let own = std::fs::read_to_string(&start).unwrap();
        std::fs::write(&start, format!("{{{script}}}\n{own}")).unwrap();
        Self::open_at(options, &altered, None, files)
    }

    fn open_at(
        options: &Options,
        page: &Path,
        bundle: Option<&Path>,
        files: tempfile::TempDir,
    ) -> Self {
        let stage = Self::set(options, page, bundle, files);
        stage.browser.open(&stage.address);
        stage
    }

    /// Everything but the page's being open. The test's own files are served below `files/`.
    fn set(
        options: &Options,
        page: &Path,
        bundle: Option<&Path>,
        files: tempfile::TempDir,
    ) -> Self {
        let alone = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let bundle = bundle.map_or_else(|| self::page().join("bundle"), Path::to_path_buf);
        let folders = [
            ("/", page),
            ("/bundle/", &bundle),
            ("/files/", files.path()),
        ];
        let server = Server::start(&folders, 0).unwrap();
        Self {
            browser: Browser::start(options),
            address: server.address(),
            files,
            server,
            _alone: alone,
        }
    }

    /// The same, and waits until the model is ready.
    pub fn ready(options: &Options) -> Self {
        let stage = Self::open(options);
        stage.wait_ready(300);
        stage
    }

    /// Waits until the model is ready; what computes.
    pub fn wait_ready(&self, seconds: u64) -> String {
        let script = "const line = document.querySelector('#device-line'); return ['ready', 'busy'].includes(line.dataset.state) && line.dataset.device";
        self.browser
            .wait("a ready model", seconds, script)
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Gives the page photos and waits until each has its card.
    pub fn show(&self, photos: &[PathBuf], seconds: u64) {
        let before = self.count();
        self.browser.upload("#photos", photos);
        let script = format!(
            "return document.querySelectorAll('.card').length >= {}",
            before + photos.len()
        );
        self.browser.wait("a card for each photo", seconds, &script);
    }

    /// Clears everything, and says yes when asked whether.
    pub fn clear(&self) {
        for _ in 0..2 {
            self.browser.run("document.querySelector('#clear').click()");
        }
    }

    /// Number of cards.
    pub fn count(&self) -> usize {
        self.browser
            .run("return document.querySelectorAll('.card').length")
            .as_u64()
            .unwrap() as usize
    }

    /// The attributes and words of the card of a file.
    pub fn card(&self, file: &str) -> Value {
        let script = "
            const card = document.querySelector(`.card[data-file=\"${arguments[0]}\"]`);
            return card && { ...card.dataset, text: card.innerText, hidden: getComputedStyle(card).display === 'none' };";
        let card = self.browser.run_with(script, json!([file]));
        assert!(card.is_object(), "there is no card for {file}");
        card
    }

    /// The text of the element that `selector` names.
    pub fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.textContent ?? ''";
        self.browser
            .run_with(script, json!([selector]))
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The message above everything: its words, and what stands behind its disclosure.
    pub fn banner(&self) -> (String, String) {
        let script = "const banner = document.querySelector('.banner[data-topic], #banners .banner'); return banner && [banner.querySelector('p').innerText, banner.querySelector('.detail').textContent]";
        let banner = self.browser.run(script);
        let part = |index: usize| banner[index].as_str().unwrap_or_default().to_owned();
        (part(0), part(1))
    }

    /// From here on nobody answers at the page's address.
    pub fn server_stops(&self) {
        self.server.stop();
    }

    /// From here on nobody answers, and the browser knows that it has no network.
    pub fn goes_offline(&self) {
        self.server_stops();
        let conditions = json!({ "offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.browser.chromium("Network.enable", json!({}));
        self.browser
            .chromium("Network.emulateNetworkConditions", conditions);
    }

    /// Puts a file into the test's folder.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// The built page.
pub fn page() -> PathBuf {
    let page = workspace().join("dist");
    assert!(
        page.join("index.html").is_file() && page.join("bundle/bundle.json").is_file(),
        "there is no built page with its bundle in dist/; build it with `cargo xtask demo`, or run all checks with `cargo xtask test`"
    );
    page
}

/// Copies the page's files, not packed and without the bundle.
pub fn copy_page(to: &Path) {
    copy(&page(), to, &|name| {
        name != "bundle" && !name.ends_with(".br")
    });
}

/// Copies a folder with what `wanted` says of the names in it.
pub fn copy(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (from, target) = (entry.path(), to.join(entry.file_name()));
        if !wanted(&entry.file_name().to_string_lossy()) {
            continue;
        }
        match from.is_dir() {
            true => copy(&from, &target, wanted),
            false => drop(std::fs::copy(from, target).unwrap()),
        }
    }
}

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sample photo of this name.
pub fn sample(name: &str) -> PathBuf {
    workspace()
        .join("web/samples")
        .join(name)
        .canonicalize()
        .unwrap()
}

/// A copy of the page's bundle in which `change` may do damage.
pub fn other_bundle(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(page().join("bundle")).unwrap().flatten() {
        if entry
            .path()
            .extension()
            .is_none_or(|extension| extension != "br")
        {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    change(folder.path());
    folder
}

/// A picture of nothing in particular, `salt` different from all others.
pub fn noise(width: u32, height: u32, salt: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let value =
            x.wrapping_mul(73_856_093) ^ y.wrapping_mul(19_349_663) ^ salt.wrapping_mul(83_492_791);
        Rgb([
            (x * 255 / width) as u8,
            (value >> 7) as u8,
            (y * 255 / height) as u8,
        ])
    })
}

/// An image file of that picture.
pub fn encoded(image: &RgbImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A PNG of this size that holds no pixels: its head alone has to be enough to refuse it.
pub fn huge_png(width: u32, height: u32) -> Vec<u8> {
    let small = encoded(&noise(8, 8, 0), image::ImageFormat::Png);
    let mut head = b"IHDR".to_vec();
    head.extend(width.to_be_bytes());
    head.extend(height.to_be_bytes());
    head.extend(&small[24..29]);
    let mut bytes = small[..12].to_vec();
    bytes.extend(&head);
    bytes.extend(checksum(&head).to_be_bytes());
    bytes.extend(&small[33..]);
    bytes
}

/// CRC-32 as PNG takes it.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                sum >> 1 ^ 0xEDB8_8320
            } else {
                sum >> 1
            }
        })
    })
}

/// A GIF of two pictures.
pub fn animation() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    encoder
        .set_repeat(image::codecs::gif::Repeat::Infinite)
        .unwrap();
    for salt in 0..2 {
        let picture = image::DynamicImage::ImageRgb8(noise(64, 48, salt)).into_rgba8();
        encoder.encode_frame(image::Frame::new(picture)).unwrap();
    }
    drop(encoder);
    bytes
}
