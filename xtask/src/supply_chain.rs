//! `cargo xtask supply-chain`: what the project is built from, by cargo-deny and cargo-audit.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::{run, tools};

/// Known faults of crates, as a git repository.
const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";
/// Another place to have them from: a mirror's address, or the path of a clone.
const SOURCE: &str = "NEGPROMPT_ADVISORIES";

/// Checks licences, duplicate versions and sources of all dependencies by `deny.toml`, and known
/// faults where their database can be had.
///
/// # Errors
/// When a dependency is not as `deny.toml` wants it, or has a known fault that it does not excuse.
pub fn check(root: &Path) -> Result<()> {
    tools::cargo_deny(root)?;
    run::show(deny(root).args(["licenses", "bans", "sources"]))?;
    let Some(database) = database(root) else {
        println!(
            "ADVISORIES NOT CHECKED: {ADVISORIES} cannot be reached from here. Licences, duplicates and \
             sources were checked. To check advisories too, run `cargo xtask supply-chain` where it can \
             be reached, or name a clone with {SOURCE}=PATH."
        );
        return Ok(());
    };
    let mut command = deny(root);
    // cargo-deny looks for its database by address; git is told that ours stands there.
    command
        .arg("advisories")
        .env("GIT_CONFIG_COUNT", "1")
        .env(
            "GIT_CONFIG_KEY_0",
            format!("url.{}.insteadOf", database.display()),
        )
        .env("GIT_CONFIG_VALUE_0", ADVISORIES);
    run::show(&mut command)?;
    tools::cargo_audit(root)?;
    let mut audit = run::cargo();
    audit
        .current_dir(root)
        .args(["audit", "--no-fetch", "--stale", "--db"])
        .arg(&database);
    run::show(&mut audit)
}

fn deny(root: &Path) -> Command {
    let mut command = run::cargo();
    command.current_dir(root).args([
        "deny",
        "--workspace",
        "--all-features",
        "--log-level",
        "error",
        "check",
    ]);
    command
}

/// A clone of the advisories, brought up to date; none where they cannot be fetched.
fn database(root: &Path) -> Option<PathBuf> {
    let source = std::env::var(SOURCE).unwrap_or_else(|_| ADVISORIES.to_owned());
    let clone = run::target_folder(root).join("advisories");
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_HTTP_LOW_SPEED_LIMIT", "1000")
            .env("GIT_HTTP_LOW_SPEED_TIME", "20")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        git.status().is_ok_and(|status| status.success())
    };
    let place = clone.to_str()?;
    let there = clone.join(".git").is_dir();
    let fetched = match there {
        true => git(&["-C", place, "pull", "--quiet", "--ff-only", &source, "main"]),
        false => git(&[
            "clone", "--quiet", "--depth", "1", "--branch", "main", &source, place,
        ]),
    };
    fetched.then_some(clone)
}
