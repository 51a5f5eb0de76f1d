//! What building the page needs, installed when it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

const TARGET: &str = "wasm32-unknown-unknown";
/// Trunk 0.22 wants a newer Rust than this workspace does.
const TRUNK: &str = "0.21.14";
const CARGO_FUZZ: &str = "0.13.2";
const CARGO_DENY: &str = "0.20.2";
const CARGO_AUDIT: &str = "0.22.2";
/// Debian's Rust for the web and what it needs to build `std`.
const DEBIAN: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm"];
/// The toolchain's name in rustup.
const LINKED: &str = "negprompt-web";
/// The oldest compiler that the workspace takes, as in its `rust-version`.
const OLDEST: (u32, u32) = (1, 95);

/// Variables that a build for the browser needs.
pub type Environment = Vec<(String, String)>;

/// Makes sure of a compiler for the browser.
///
/// # Errors
/// When there is none and none can be installed, with what to do by hand.
pub fn wasm_target() -> Result<Environment> {
    if has_target() {
        return Ok(Environment::new());
    }
    if run::exists("rustup") {
        println!("The target {TARGET} is missing; rustup adds it.");
        let added = run::show(Command::new("rustup").args(["target", "add", TARGET]));
        if added.is_ok() && has_target() {
            return Ok(Environment::new());
        }
        println!(
            "rustup could not add it (no network to static.rust-lang.org?). Debian's compiler for the web serves as well."
        );
    }
    debian()
}

fn has_target() -> bool {
    let folder =
        run::output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]));
    folder.is_some_and(|folder| Path::new(&folder).is_dir())
}

/// Debian's `rustc-web`, which builds `std` from source.
fn debian() -> Result<Environment> {
    let source = Path::new("/usr/lib/rustlib/src/rust/library/std");
    let ready = || debian_version().is_some_and(|version| version >= OLDEST) && source.is_dir();
    if !ready() {
        apt(&DEBIAN)?;
    }
    if !ready() {
        bail!(
            "no compiler for {TARGET}: `rustup target add {TARGET}` did not work, and Debian's rustc-web here is missing or older than {}.{}",
            OLDEST.0,
            OLDEST.1
        );
    }
    let mut environment = vec![
        ("RUSTC_BOOTSTRAP".to_owned(), "1".to_owned()),
        (
            "CARGO_UNSTABLE_BUILD_STD".to_owned(),
            "std,panic_abort".to_owned(),
        ),
    ];
    let sysroot =
        run::output(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    if let Some(linker) = linker(Path::new(&sysroot)) {
        let name = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER".to_owned();
        environment.push((name, linker.to_string_lossy().into_owned()));
    }
    if run::exists("rustup") {
        run::show(Command::new("rustup").args(["toolchain", "link", LINKED, "/usr"]))?;
        environment.push(("RUSTUP_TOOLCHAIN".to_owned(), LINKED.to_owned()));
    }
    Ok(environment)
}

fn debian_version() -> Option<(u32, u32)> {
    let text = run::output(Command::new("/usr/bin/rustc").arg("--version"))?;
    let mut numbers = text
        .split_whitespace()
        .nth(1)?
        .split('.')
        .map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// The linker that every Rust toolchain brings along.
fn linker(sysroot: &Path) -> Option<PathBuf> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    hosts
        .flatten()
        .map(|host| host.path().join("bin/rust-lld"))
        .find(|path| path.is_file())
}

/// Installs Debian packages, or says how.
///
/// # Errors
/// Without the right or the means to install, with the line that does it.
pub fn apt(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let by_hand = format!("install it by hand: apt-get install -y --no-install-recommends {list}");
    if !run::exists("apt-get") {
        bail!(
            "{list} is missing, and this system has no apt-get; install what your system calls it"
        );
    }
    let root = run::output(Command::new("id").arg("-u")).is_some_and(|id| id == "0");
    if !root {
        bail!("{list} is missing; {by_hand}");
    }
    println!("{list} is missing; apt-get installs it.");
    let install = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
            .args(["install", "-y", "--no-install-recommends"])
            .args(packages);
        run::show(&mut command)
    };
    install()
        .or_else(|_| {
            run::show(Command::new("apt-get").arg("update"))?;
            install()
        })
        .with_context(|| by_hand)
}

/// Makes sure of trunk, and of wasm-bindgen at the version of `Cargo.lock`.
///
/// # Errors
/// When cargo cannot install them.
pub fn trunk(root: &Path) -> Result<()> {
    let version = |program: &str| run::output(Command::new(program).arg("--version"));
    if !version("trunk").is_some_and(|text| text.contains("0.21.")) {
        println!("trunk {TRUNK} is missing; cargo installs it (a few minutes, once).");
        install(root, &["trunk", "--version", TRUNK, "--locked"])?;
    }
    let wanted = locked(root, "wasm-bindgen")?;
    if version("wasm-bindgen").is_none_or(|text| text.split_whitespace().nth(1) != Some(&wanted)) {
        println!("wasm-bindgen {wanted} is missing; cargo installs it (a few minutes, once).");
        install(root, &["wasm-bindgen-cli", "--version", &wanted])?;
    }
    Ok(())
}

/// Makes sure of cargo-fuzz.
///
/// # Errors
/// When cargo cannot install it.
pub fn cargo_fuzz(root: &Path) -> Result<()> {
    subcommand(root, "cargo-fuzz", CARGO_FUZZ)
}

/// Makes sure of cargo-deny.
///
/// # Errors
/// When cargo cannot install it.
pub fn cargo_deny(root: &Path) -> Result<()> {
    subcommand(root, "cargo-deny", CARGO_DENY)
}

/// Makes sure of cargo-audit.
///
/// # Errors
/// When cargo cannot install it.
pub fn cargo_audit(root: &Path) -> Result<()> {
    subcommand(root, "cargo-audit", CARGO_AUDIT)
}

fn subcommand(root: &Path, name: &str, version: &str) -> Result<()> {
    if run::exists(name) {
        return Ok(());
    }
    println!("{name} {version} is missing; cargo installs it (a minute or two, once).");
    let mut command = installation(root, &[name, "--version", version, "--locked"]);
    // They run for seconds: that they are built fast counts for more than how fast they are.
    for (setting, value) in [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("OPT_LEVEL", "1")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    run::show(&mut command)
}

fn install(root: &Path, arguments: &[&str]) -> Result<()> {
    run::show(&mut installation(root, arguments))
}

fn installation(root: &Path, arguments: &[&str]) -> Command {
    let mut command = crate::run::cargo();
    command
        .env("CARGO_TARGET_DIR", run::other_target_folder(root, "tools"))
        .arg("install")
        .args(arguments);
    command
}

/// The version of a package in `Cargo.lock`.
fn locked(root: &Path, package: &str) -> Result<String> {
    let lock =
        std::fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    let mut lines = lock.lines();
    lines
        .find(|line| *line == format!("name = \"{package}\""))
        .and_then(|_| {
            lines
                .next()?
                .strip_prefix("version = \"")?
                .strip_suffix('"')
                .map(str::to_owned)
        })
        .with_context(|| format!("Cargo.lock has no {package}; run `cargo generate-lockfile`"))
}

/// The oldest `wasm-opt` that is trusted: 108, which Debian 12 has, mixes up the tables of
/// functions and of references, and the page does not start.
const OLDEST_WASM_OPT: u32 = 116;

/// The package that has a current one.
const BINARYEN: &str = "binaryen@132";

/// `wasm-opt`, which takes a third off the page; the page works without it. The variable `WASM_OPT` names
/// one that is not in the path.
pub fn wasm_opt(target: &Path) -> Option<PathBuf> {
    let named = std::env::var_os("WASM_OPT").map(PathBuf::from);
    let installed = npm_folder(target).join("node_modules/.bin/wasm-opt");
    [named, run::find("wasm-opt"), Some(installed)]
        .into_iter()
        .flatten()
        .find(|program| version_of(program).is_some_and(|version| version >= OLDEST_WASM_OPT))
}

/// Makes sure of `wasm-opt` where npm can fetch it, and says so where it cannot.
pub fn ensure_wasm_opt(target: &Path) {
    if wasm_opt(target).is_some() {
        return;
    }
    let home = npm_folder(target);
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix"])
        .arg(&home)
        .arg(BINARYEN);
    println!("wasm-opt {OLDEST_WASM_OPT} or later is missing; npm fetches it.");
    if std::fs::create_dir_all(&home).is_err() || run::show(&mut npm).is_err() {
        println!(
            "There is none then: the page will work, and be larger by half. To have it: cargo install wasm-opt."
        );
    }
}

/// Where npm puts what it fetches.
pub fn npm_folder(target: &Path) -> PathBuf {
    target.join("npm")
}

fn version_of(program: &Path) -> Option<u32> {
    let text = run::output(Command::new(program).arg("--version"))?;
    text.split_whitespace().find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let version = locked(&root, "wasm-bindgen").unwrap();
        assert_eq!(version.split('.').count(), 3, "{version}");
        assert!(locked(&root, "no-such-package").is_err());
    }
}
