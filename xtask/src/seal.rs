//! The last step of the page's build, which trunk calls as a hook: makes the WASM smaller, puts
//! the bundle beside the page, packs what a server sends packed, and lists the files that the
//! service worker keeps.

use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

use crate::{bundle, run, tools};

/// Features that every current browser has and the compiler makes use of.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// Kinds of file that are worth packing.
const PACKED: [&str; 6] = ["wasm", "js", "css", "html", "svg", "json"];

/// Files that are not part of the page, or are the list itself.
const NOT_KEPT: [&str; 3] = ["service-worker.js", "SOURCES.md", ".br"];

/// Files that keep their names from version to version. The page asks for them with its version, so
/// that neither a cache nor a newer deployment gives it those of another one.
const ASKED_FOR_BY_VERSION: [&str; 4] =
    ["start.js", "worker-start.js", "worker.js", "worker_bg.wasm"];

/// Where the version goes, and where the list.
const UNSEALED: &str = "unsealed";
const FILES: &str = "const FILES = [];";

/// Finishes the page in the folder that trunk names.
///
/// # Errors
/// When it is not called by trunk, or a file cannot be read or written.
pub fn seal(root: &Path) -> Result<()> {
    let Some(staging) = std::env::var_os("TRUNK_STAGING_DIR").map(PathBuf::from) else {
        bail!(
            "`seal` is a step of trunk's build; run `cargo xtask web` or `trunk build --release`"
        );
    };
    for file in files(&staging)? {
        if has_extension(&file, &["wasm"]) {
            shrink(root, &file)?;
        }
    }
    let page: Vec<PathBuf> = files(&staging)?;
    list_for_the_service_worker(&staging, &page)?;
    copy_bundle(root, &staging)?;
    for file in files(&staging)? {
        if has_extension(&file, &PACKED) {
            pack(root, &file)?;
        }
    }
    Ok(())
}

/// Runs `wasm-opt` over a file where there is one: names of functions and the like go, and so do
/// functions that another one equals. Results are kept.
///
/// All of `-Oz` would make the file another sixth smaller, but what travels, packed with brotli, 6 %
/// larger, and take six minutes instead of a quarter of one.
pub fn shrink(root: &Path, file: &Path) -> Result<()> {
    let Some(wasm_opt) = tools::wasm_opt(&run::target_folder(root)) else {
        return Ok(());
    };
    let before = read(file)?;
    let kept = kept(
        root,
        &[&before, b"wasm-opt --duplicate-function-elimination"],
        "wasm",
    )?;
    if !kept.is_file() {
        let partial = beside(&kept)?;
        let mut command = Command::new(wasm_opt);
        command.args(FEATURES).args([
            "--duplicate-function-elimination",
            "--strip-debug",
            "--strip-producers",
            "--strip-target-features",
        ]);
        command.arg(file).arg("-o").arg(partial.path());
        if let Err(error) = run::show(&mut command) {
            println!(
                "{error:#}. The page works all the same, and stays larger by half. If this wasm-opt is too old for the code: cargo install wasm-opt."
            );
            return Ok(());
        }
        partial.persist(&kept)?;
    }
    let after = read(&kept)?;
    println!(
        "{}: {:.2} MB, {:.2} MB before wasm-opt",
        file.file_name().unwrap_or_default().to_string_lossy(),
        after.len() as f64 / 1e6,
        before.len() as f64 / 1e6
    );
    std::fs::write(file, after).with_context(|| format!("{} cannot be written", file.display()))
}

/// Writes `FILE.br` beside a file.
fn pack(root: &Path, file: &Path) -> Result<()> {
    let bytes = read(file)?;
    let kept = kept(root, &[&bytes, b"brotli 11, window 24"], "br")?;
    if !kept.is_file() {
        let mut partial = beside(&kept)?;
        let mut writer = brotli::CompressorWriter::new(Vec::new(), 1 << 16, 11, 24);
        writer.write_all(&bytes)?;
        partial.write_all(&writer.into_inner())?;
        partial.persist(&kept)?;
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".br");
    std::fs::copy(&kept, PathBuf::from(name))?;
    Ok(())
}

/// A file of this build's own that becomes `kept` once it is whole: another build may make the same.
fn beside(kept: &Path) -> Result<NamedTempFile> {
    let folder = kept.parent().unwrap_or(Path::new("."));
    NamedTempFile::new_in(folder)
        .with_context(|| format!("{} cannot be written to", folder.display()))
}

/// Where the result of a slow step is kept, by its input.
fn kept(root: &Path, input: &[&[u8]], extension: &str) -> Result<PathBuf> {
    let folder = run::target_folder(root).join("seal");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder.join(format!("{}.{extension}", hash(input))))
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = DefaultHasher::new();
    for part in parts {
        hasher.write(part);
    }
    format!("{:016x}", hasher.finish())
}

/// Puts the page's version into the staged files that hold a place for it, and into
/// `service-worker.js` the list of what it keeps.
fn list_for_the_service_worker(staging: &Path, page: &[PathBuf]) -> Result<()> {
    let mut names = vec!["./".to_owned()];
    let mut hasher = DefaultHasher::new();
    for file in page {
        let name = name_in(staging, file);
        if !NOT_KEPT.iter().any(|end| name.ends_with(end)) && !name.starts_with("bundle/") {
            hasher.write(name.as_bytes());
            hasher.write(&read(file)?);
            names.push(name);
        }
    }
    let version = format!("{:016x}", hasher.finish());
    for name in &mut names {
        if ASKED_FOR_BY_VERSION.contains(&name.as_str()) {
            name.push_str(&format!("?{version}"));
        }
    }
    let list = format!("const FILES = {};", serde_json::to_string(&names)?);
    put_in(
        staging,
        "service-worker.js",
        &[(FILES, &list), (UNSEALED, &version)],
    )?;
    put_in(staging, "worker-start.js", &[(UNSEALED, &version)])?;
    put_in(staging, "index.html", &[(UNSEALED, &version)])
}

/// Puts words into their places in a staged file.
fn put_in(staging: &Path, name: &str, words: &[(&str, &str)]) -> Result<()> {
    let file = staging.join(name);
    let mut text = std::fs::read_to_string(&file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    for (place, word) in words {
        if !text.contains(place) {
            bail!("{name} has no place for the page's version ({place}); restore its source");
        }
        text = text.replace(place, word);
    }
    std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))
}

fn copy_bundle(root: &Path, staging: &Path) -> Result<()> {
    let Some(bundle) = bundle::find(root)? else {
        println!(
            "No bundle lies in out/default/bundle, so the page has none: `cargo run --release -p trainer` makes it."
        );
        return Ok(());
    };
    let target = staging.join("bundle");
    std::fs::create_dir_all(&target)?;
    for entry in std::fs::read_dir(&bundle)?.flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), target.join(entry.file_name()))
                .with_context(|| format!("{} cannot be copied", entry.path().display()))?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// All files below a folder, in the same order every time.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("{} cannot be read", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push(path)
            }
        }
    }
    files.sort();
    Ok(files)
}

fn has_extension(file: &Path, extensions: &[&str]) -> bool {
    file.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| extensions.contains(&extension))
}

/// The path below `folder`, with slashes.
fn name_in(folder: &Path, file: &Path) -> String {
    let inner = file.strip_prefix(folder).unwrap_or(file);
    let parts: Vec<String> = inner
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_worker_gets_its_list_and_all_parts_their_version() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::create_dir_all(folder.join("samples")).unwrap();
        for (name, content) in [
            (
                "index.html",
                "<script src=\"start.js?unsealed\" data-version=\"unsealed\">",
            ),
            ("samples/cat.jpg", "x"),
            ("samples/SOURCES.md", "x"),
            (
                "service-worker.js",
                include_str!("../../web/service-worker.js"),
            ),
            ("start.js", "x"),
            ("worker-start.js", include_str!("../../web/worker-start.js")),
            ("worker_bg.wasm", "x"),
        ] {
            std::fs::write(folder.join(name), content).unwrap();
        }
        let version = |file: &str| {
            list_for_the_service_worker(folder, &files(folder).unwrap()).unwrap();
            let page = std::fs::read_to_string(folder.join("index.html")).unwrap();
            let version = page.split('"').nth(3).unwrap().to_owned();
            assert_eq!(version.len(), 16, "{page}");
            assert!(page.contains(&format!("start.js?{version}\"")), "{page}");
            let sealed = std::fs::read_to_string(folder.join(file)).unwrap();
            assert!(!sealed.contains("unsealed"), "{sealed}");
            (version, sealed)
        };
        let (first, sealed) = version("service-worker.js");
        let list = format!(
            r#"const FILES = ["./","index.html","samples/cat.jpg","start.js?{first}","worker-start.js?{first}","worker_bg.wasm?{first}"];"#
        );
        assert!(sealed.contains(&list), "{sealed}");
        // A page whose parts have no place for a version is not sealed in silence.
        assert!(list_for_the_service_worker(folder, &files(folder).unwrap()).is_err());
    }
}
