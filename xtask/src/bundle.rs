//! The bundle that goes beside the page.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run;

/// Names another bundle than the default run's, for the page's build.
pub const VARIABLE: &str = "NEGPROMPT_BUNDLE";

/// The bundle to take: the one that the variable names, else the default run's, if there is one.
///
/// # Errors
/// The variable names a folder that holds no bundle.
pub fn find(root: &Path) -> Result<Option<PathBuf>> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let folder = root.join(named);
        require(&folder).with_context(|| format!("{VARIABLE} names no bundle"))?;
        return Ok(Some(folder));
    }
    let folder = root.join("out/default/bundle");
    Ok(folder.join("bundle.json").is_file().then_some(folder))
}

fn require(folder: &Path) -> Result<()> {
    if !folder.join("bundle.json").is_file() {
        bail!(
            "{} has no bundle.json; name the folder `bundle` that a training run wrote",
            folder.display()
        );
    }
    Ok(())
}

/// The bundle that the user named, or the default run's; trains it when there is none.
///
/// # Errors
/// A folder that holds no bundle, a training run that fails.
pub fn find_or_train(root: &Path, named: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(folder) = named {
        require(&folder)?;
        return Ok(std::path::absolute(folder)?);
    }
    if let Some(folder) = find(root)? {
        if let Some(age) = age(&folder) {
            println!(
                "The page gets the bundle in {}, made {age} ago; without that folder one is trained anew.",
                folder.display()
            );
        }
        return Ok(folder);
    }
    println!(
        "There is no bundle yet: the default training run makes one (about a minute after its build)."
    );
    run::show(
        run::cargo()
            .current_dir(root)
            .args(["run", "--release", "--package", "trainer"]),
    )?;
    match find(root)? {
        Some(folder) => Ok(folder),
        None => {
            bail!("the training run wrote no out/default/bundle; look at what it printed above")
        }
    }
}

/// How long ago a bundle was written: methods that came later are not in it.
fn age(folder: &Path) -> Option<String> {
    let written = folder
        .join("bundle.json")
        .metadata()
        .ok()?
        .modified()
        .ok()?;
    let minutes = written.elapsed().ok()?.as_secs() / 60;
    Some(match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    })
}
