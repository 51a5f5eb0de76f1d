//! Measurements beside other programs.

mod child;
mod classes;
pub mod encode;
mod files;
pub mod load;
mod machine;
mod onnx;
pub mod prompts;
pub mod scale;
pub mod score;
mod visit;

pub use classes::classes;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::serve::Server;
use crate::webdriver::{Adapter, Browser, Options};
use crate::{run, tools};

pub use visit::visit;

/// The version of onnxruntime-web to compare with.
const RUNTIME: &str = "onnxruntime-web@1.30.0";
/// Photos that the page reads before the timed ones.
const WARM: u32 = 5;
/// On a software adapter a photo takes many seconds.
const SOFTWARE_RUNS: u32 = 3;

/// Where the page and another runtime can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    /// One thread of WASM.
    Cpu,
    /// WebGPU on this machine's GPU.
    Gpu,
    /// WebGPU on a GPU that the CPU acts out.
    Software,
}

impl Place {
    fn title(self) -> &'static str {
        match self {
            Self::Cpu => "WASM SIMD, one thread",
            Self::Gpu => "WebGPU, this machine's GPU",
            Self::Software => "WebGPU, software adapter",
        }
    }

    fn adapter(self) -> Adapter {
        match self {
            Self::Cpu => Adapter::None,
            Self::Gpu => Adapter::Hardware,
            Self::Software => Adapter::Software,
        }
    }
}

/// Times one photo's encoding in Chromium: this page and onnxruntime-web, with the same network, the
/// image tower of `bundle` or of the page's own, at each of `places`.
///
/// # Errors
/// When the page is not built, or something that the comparison needs is missing.
pub fn web(root: &Path, bundle: Option<&Path>, places: &[Place], runs: u32) -> Result<()> {
    let page = built_page(root)?;
    let bundle = bundle.map_or_else(|| page.join("bundle"), Path::to_path_buf);
    let runtime = runtime(root)?;
    let folder = run::other_target_folder(root, "web").join("bench");
    std::fs::create_dir_all(&folder)?;
    let size = onnx::write(&bundle, &folder.join("model.onnx"))
        .context("the bundle's image tower could not be written as ONNX")?;
    for file in ["index.html", "bench.js"] {
        std::fs::copy(root.join("xtask/bench").join(file), folder.join(file))?;
    }
    let bench = Server::start(&[("/", &folder), ("/ort/", &runtime)], 0)?;
    let page = Server::start(&[("/", &page), ("/bundle/", &bundle)], 0)?;
    println!(
        "{:<34} {:>12} {:>12}",
        "one photo, milliseconds", "this page", RUNTIME
    );
    for place in places {
        let runs = match place {
            Place::Software => runs.min(SOFTWARE_RUNS),
            Place::Cpu | Place::Gpu => runs,
        };
        let options = Options {
            adapter: place.adapter(),
            ..Options::default()
        };
        let (ours, device) = time_page(&options, &page.address(), *place, runs)?;
        let theirs = time_runtime(&options, &bench.address(), *place, size, runs)?;
        println!(
            "{:<34} {ours:>12.1} {theirs:>12.1}   {device}",
            place.title()
        );
    }
    Ok(())
}

/// The built page with its bundle, and a browser to open it in.
fn built_page(root: &Path) -> Result<PathBuf> {
    let page = root.join("dist");
    if !page.join("index.html").is_file() || !page.join("bundle/bundle.json").is_file() {
        bail!("dist/ holds no page with its bundle; build it with `cargo xtask demo`");
    }
    if !run::exists("chromedriver") {
        tools::apt(&["chromium", "chromium-driver"])?;
    }
    Ok(page)
}

/// Median of the page's own measurement of "encode", on generated photos, and what the page says of
/// its device and memory.
fn time_page(options: &Options, address: &str, place: Place, runs: u32) -> Result<(f64, String)> {
    let device = match place {
        Place::Cpu => "cpu",
        Place::Gpu | Place::Software => "gpu",
    };
    let browser = Browser::start(options);
    browser.open(address);
    let ready = format!(
        "const line = document.querySelector('#device-line'); return line.dataset.state === 'ready' && line.dataset.device === '{device}'"
    );
    browser.wait(
        "a model",
        120,
        "return document.querySelector('#device-line').dataset.state === 'ready'",
    );
    browser.run(&format!(
        "document.querySelector('input[name=device][value={device}]').click()"
    ));
    browser.wait("the device", 600, &ready);
    let photos = tempfile::tempdir()?;
    let warm = match place {
        Place::Cpu | Place::Gpu => WARM,
        Place::Software => 1,
    };
    for part in [warm, runs] {
        let files: Vec<PathBuf> = (0..part)
            .map(|index| photos.path().join(format!("{part}-{index}.ppm")))
            .collect();
        for (index, file) in files.iter().enumerate() {
            std::fs::write(file, picture(index))?;
        }
        browser.run("document.querySelector('#clear').click()");
        browser.upload("#photos", &files);
        let done = format!("return document.querySelectorAll('.card').length === {part}");
        browser.wait("the verdicts", 600, &done);
    }
    let text =
        browser.run("return document.querySelector('[data-timing=encode-median]').textContent");
    let median = text
        .as_str()
        .and_then(|text| text.parse().ok())
        .context("the page shows no timing")?;
    let said = browser.run(
        "const line = document.querySelector('#device-line'); return `${line.textContent.trim()}, ${(line.dataset.memory / 1e6).toFixed(0)} MB of WASM memory`",
    );
    Ok((median, said.as_str().unwrap_or_default().to_owned()))
}

fn time_runtime(
    options: &Options,
    address: &str,
    place: Place,
    size: u64,
    runs: u32,
) -> Result<f64> {
    let provider = match place {
        Place::Cpu => "wasm",
        Place::Gpu | Place::Software => "webgpu",
    };
    let browser = Browser::start(options);
    browser.open(address);
    browser.wait("onnxruntime-web", 60, "return window.measure !== undefined");
    browser.run_with("window.outcome = null; window.measure(...arguments).then((times) => { window.outcome = times; }, (error) => { window.outcome = String(error); })", json!([provider, size, WARM.min(runs), runs]));
    match browser.wait("its timings", 900, "return window.outcome") {
        Value::Array(times) => {
            let mut times: Vec<f64> = times.iter().filter_map(Value::as_f64).collect();
            times.sort_by(f64::total_cmp);
            times
                .get(times.len() / 2)
                .copied()
                .context("onnxruntime-web gave no timing")
        }
        error => bail!("onnxruntime-web failed: {error}"),
    }
}

/// A picture of 320 × 240 as PPM, which costs nothing to decode.
fn picture(salt: usize) -> Vec<u8> {
    let mut bytes = b"P6 320 240 255\n".to_vec();
    for index in 0..320 * 240 * 3usize {
        bytes.push(((index * 31 + salt * 7919) ^ (index >> 7)) as u8);
    }
    bytes
}

/// The folder of onnxruntime-web, fetched by npm when it is missing.
fn runtime(root: &Path) -> Result<PathBuf> {
    let home = tools::npm_folder(&run::other_target_folder(root, "web"));
    let folder = home.join("node_modules/onnxruntime-web/dist");
    if !folder.is_dir() {
        if !run::exists("npm") {
            bail!(
                "npm is missing, which fetches {RUNTIME}; install it: apt-get install -y --no-install-recommends npm"
            );
        }
        std::fs::create_dir_all(&home)?;
        run::show(
            Command::new("npm")
                .args(["install", "--no-audit", "--no-fund", "--prefix"])
                .arg(&home)
                .arg(RUNTIME),
        )?;
    }
    Ok(folder)
}
