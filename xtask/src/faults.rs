//! `cargo xtask faults`: kills by the hundred, where the tests do a few.

use std::path::Path;

use anyhow::Result;

use crate::run;

/// Kills `train`, `bench`, `encode`, `import` and `lit` at `kills` random moments in all, and compares
/// what they come to with undisturbed runs. `seed` decides the moments.
///
/// # Errors
/// When a result differs, or something half-written is left.
pub fn inject(root: &Path, kills: u32, seed: u64) -> Result<()> {
    let cargo = || {
        let mut command = run::cargo();
        command.current_dir(root);
        command
    };
    run::show(cargo().args(["build", "--release", "--workspace", "--bin", "trainer"]))?;
    run::show(
        cargo()
            .args(["test", "--release", "--workspace", "--test", "faults"])
            .args(["killed_runs", "--", "--nocapture"])
            .env("NEGPROMPT_KILLS", kills.to_string())
            .env("NEGPROMPT_FAULT_SEED", seed.to_string()),
    )
}
