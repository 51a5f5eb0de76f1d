//! The name of a repository, `OWNER/NAME` or `OWNER/NAME@REVISION`, and where its import goes.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::environment::in_home;

/// A folder for imported models instead of the one in the user's cache.
pub const MODELS_VARIABLE: &str = "NEGPROMPT_MODELS";

const MAIN: &str = "main";
/// What an address begins with as the hub's pages give it.
const HUB: &str = "https://huggingface.co/";

/// A repository of the hub, at a branch, tag or commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `OWNER/NAME`.
    pub id: String,
    /// `main` unless another was asked for.
    pub revision: String,
}

impl Repository {
    /// Reads what a person wrote where a path could stand as well; none for what is a path.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(HUB).unwrap_or(text);
        let (id, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let (owner, name) = id.split_once('/')?;
        let plain = is_plain_name(owner) && is_plain_name(name) && is_revision(revision);
        // `weights/model.safetensors` is a file that is not there.
        let file = [".safetensors", ".pt", ".pth", ".bin", ".json"]
            .iter()
            .any(|ending| name.ends_with(ending));
        (plain && !file).then(|| Self {
            id: id.to_owned(),
            revision: revision.to_owned(),
        })
    }

    /// The repository that `path` names, unless something of that name is on the disk.
    ///
    /// # Errors
    /// When nothing is, in a folder that is: the hub is not asked for a mistyped name.
    pub fn named_by(path: &Path) -> Result<Option<Self>> {
        let text = path.to_str().filter(|_| !path.exists());
        let Some((text, repository)) = text.and_then(|text| Some((text, Self::parse(text)?)))
        else {
            return Ok(None);
        };
        if !text.starts_with(HUB)
            && let Some((owner, _)) = text.split_once('/')
            && Path::new(owner).is_dir()
        {
            bail!(
                "there is nothing at {text}, in the folder {owner}: check how it is spelled, or give {HUB}{text} for the hub's"
            );
        }
        Ok(Some(repository))
    }

    /// The last part of its name.
    pub fn name(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or(&self.id)
    }

    /// The model directory that `import` makes of it where no other is asked for.
    ///
    /// # Errors
    /// When there is no home folder.
    pub fn model_directory(&self) -> Result<PathBuf> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = |value: OsString| in_home(Path::new(&value), std::env::home_dir().as_deref());
        let models = set(MODELS_VARIABLE)
            .map(path)
            .or_else(|| {
                let cache = set("XDG_CACHE_HOME")
                    .map(path)
                    .or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
                Some(cache.join("negprompt/models"))
            })
            .with_context(|| {
                format!("there is no home folder to keep models in: set {MODELS_VARIABLE}")
            })?;
        let id = match self.revision.as_str() {
            MAIN => self.id.clone(),
            other => format!("{}@{}", self.id, other.replace('/', "--")),
        };
        Ok(models.join(id))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.id)?;
        match self.revision.as_str() {
            MAIN => Ok(()),
            other => write!(formatter, "@{other}"),
        }
    }
}

/// Whether this is one name that the hub gives to owners, repositories and files, and no path.
pub fn is_plain_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=200).contains(&name.len())
        && name.chars().all(known)
        && !name.starts_with(['.', '-'])
        && !name.contains("..")
}

/// Branches may hold slashes, as in `refs/pr/3`.
fn is_revision(revision: &str) -> bool {
    revision.split('/').all(is_plain_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        let parse = |text| Repository::parse(text).map(|it| (it.id.clone(), it.revision.clone()));
        let main = |id: &str| Some((id.to_owned(), "main".to_owned()));
        let openai = "openai/clip-vit-base-patch16";
        assert_eq!(parse(openai), main(openai));
        assert_eq!(
            parse("https://huggingface.co/openai/clip-vit-base-patch16"),
            main(openai)
        );
        assert_eq!(
            parse("laion/CLIP-ViT-B-32@refs/pr/3"),
            Some(("laion/CLIP-ViT-B-32".into(), "refs/pr/3".into()))
        );
        for path in [
            "model",
            "./openai/clip",
            "../clip",
            "/openai/clip",
            "a/b/c",
            "openai/clip/",
            "weights/model.safetensors",
            "a/..",
            "a/b@../c",
            "a\\b/c",
            "a b/c",
            "",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_mistyped_name_in_a_folder_is_not_asked_for() {
        // Tests run in the folder of their package.
        let named = |text: &str| Repository::named_by(Path::new(text));
        assert_eq!(named("src/main.rs").unwrap(), None);
        let error = named("src/clip").unwrap_err().to_string();
        for said in ["nothing at src/clip", "https://huggingface.co/src/clip"] {
            assert!(error.contains(said), "{error}");
        }
        for id in ["https://huggingface.co/src/clip", "openai/clip"] {
            assert!(named(id).unwrap().is_some(), "{id}");
        }
    }

    #[test]
    fn versions_do_not_share_a_directory() {
        let directory = |text| Repository::parse(text).unwrap().model_directory().unwrap();
        assert!(directory("a/b").ends_with("a/b"));
        assert!(directory("a/b@refs/pr/3").ends_with("a/b@refs--pr--3"));
    }
}
