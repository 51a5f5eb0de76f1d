//! Building the page.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{bundle, run, seal, tools};

/// Names the program that finishes the page, for trunk's hook.
const SELF: &str = "NEGPROMPT_XTASK";

/// The target of the browser.
const WASM: &str = "wasm32-unknown-unknown";

/// Builds the page into `dist/`, with `bundle` beside it.
///
/// # Errors
/// When something that it needs cannot be installed, or the build fails.
pub fn build(root: &Path, bundle: Option<&Path>) -> Result<()> {
    let environment = tools::wasm_target()?;
    tools::trunk(root)?;
    let target = run::other_target_folder(root, "web");
    tools::ensure_wasm_opt(&target);
    let this = std::env::current_exe().context("this program's own path is unknown")?;
    let mut trunk = Command::new("trunk");
    trunk
        .current_dir(root)
        .args(["build", "--release", "--offline"]);
    trunk.envs(environment);
    trunk.env("CARGO_TARGET_DIR", &target);
    trunk.env(SELF, this);
    // Trunk takes NO_COLOR for a flag and stops at any value but true or false.
    trunk.env_remove("NO_COLOR");
    if let Some(bundle) = bundle {
        trunk.env(bundle::VARIABLE, bundle);
    }
    println!("The page is being built (the first time takes a quarter of an hour on two cores).");
    run::show(&mut trunk)
}

/// Clippy over what only the browser compiles, which a native run never sees.
///
/// # Errors
/// When it has anything to say.
pub fn lint(root: &Path) -> Result<()> {
    let mut cargo = run::cargo();
    cargo
        .current_dir(root)
        .args(["clippy", "--offline", "--target", WASM, "--profile", "web"])
        .args(["--package", "web", "--", "-D", "warnings"])
        .envs(tools::wasm_target()?)
        .env("CARGO_TARGET_DIR", run::other_target_folder(root, "web"));
    run::show(&mut cargo)
}

/// Builds the program that `bench score --browser` times into `folder`, with the profile and the
/// `wasm-opt` of the page's worker.
///
/// # Errors
/// When something that it needs cannot be installed, or the build fails.
pub fn build_bench(root: &Path, folder: &Path) -> Result<()> {
    let environment = tools::wasm_target()?;
    tools::trunk(root)?;
    let target = run::other_target_folder(root, "web");
    tools::ensure_wasm_opt(&target);
    let mut cargo = run::cargo();
    cargo
        .current_dir(root)
        .args(["build", "--offline", "--target", WASM, "--profile", "web"])
        .args(["--package", "web", "--bin", "bench"])
        .envs(environment)
        .env("CARGO_TARGET_DIR", &target);
    run::show(&mut cargo)?;
    let mut bindgen = Command::new("wasm-bindgen");
    bindgen
        .args(["--target", "web", "--no-typescript", "--out-dir"])
        .arg(folder)
        .arg(target.join(WASM).join("web").join("bench.wasm"));
    run::show(&mut bindgen)?;
    seal::shrink(root, &folder.join("bench_bg.wasm"))
}
