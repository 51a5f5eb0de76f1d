//! The variables that `huggingface_hub` reads, with the same meaning.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::output;

const HUB: &str = "https://huggingface.co";
/// No token comes near to this many bytes.
const MAX_TOKEN_BYTES: u64 = 64 << 10;

/// Where the hub is, where its files are kept, and who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment {
    /// `HF_ENDPOINT`: the hub, or a mirror of it, without a slash at the end.
    pub endpoint: String,
    /// `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// `HF_TOKEN`, else what `hf auth login` stored.
    pub token: Option<String>,
    /// `HF_HUB_OFFLINE`: only the cache is used.
    pub offline: bool,
}

impl Environment {
    /// # Errors
    /// When the cache has no place, or the token cannot be sent.
    pub fn read() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
        home: Option<PathBuf>,
    ) -> Result<Self> {
        let set = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| variable(name));
            values.find(|value| !value.trim().is_empty())
        };
        let is_on = |names: &[&str]| {
            let value = set(names).unwrap_or_default().to_ascii_lowercase();
            ["1", "on", "yes", "true"].contains(&value.as_str())
        };
        let path =
            |names: &[&str]| set(names).map(|value| in_home(Path::new(&value), home.as_deref()));
        let folder = path(&["HF_HOME"])
            .or_else(|| path(&["XDG_CACHE_HOME"]).map(|cache| cache.join("huggingface")))
            .or_else(|| Some(home.as_ref()?.join(".cache/huggingface")));
        let cache = path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
            .or_else(|| folder.as_ref().map(|folder| folder.join("hub")))
            .context("there is no home folder to keep files of the hub in: set HF_HOME")?;
        let token = if is_on(&["HF_HUB_DISABLE_IMPLICIT_TOKEN"]) {
            None
        } else {
            set(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).or_else(|| {
                let file =
                    path(&["HF_TOKEN_PATH"]).or_else(|| Some(folder.as_ref()?.join("token")))?;
                let stored = output::read_at_most(&file, MAX_TOKEN_BYTES).ok()?;
                String::from_utf8(stored).ok()
            })
        };
        let token = token
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        if let Some(token) = &token
            && !token.bytes().all(|byte| byte.is_ascii_graphic())
        {
            bail!(
                "HF_TOKEN holds characters that no token has: copy it from the hub's settings anew"
            );
        }
        Ok(Self {
            endpoint: set(&["HF_ENDPOINT"])
                .unwrap_or_else(|| HUB.to_owned())
                .trim()
                .trim_end_matches('/')
                .to_owned(),
            cache,
            token,
            offline: is_on(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]),
        })
    }

    /// The endpoint for messages, which are passed on: without a user and password in it.
    pub fn shown_endpoint(&self) -> String {
        self.without_user(&self.endpoint)
    }

    /// `text` without the user and password of the endpoint.
    pub fn without_user(&self, text: &str) -> String {
        let after = self.endpoint.split_once("://").map(|(_, after)| after);
        let host = after.unwrap_or(&self.endpoint).split('/').next();
        match host.unwrap_or_default().rsplit_once('@') {
            Some((user, _)) => text.replace(&format!("{user}@"), ""),
            None => text.to_owned(),
        }
    }
}

/// A path with `~` at its beginning read as the home folder. A shell leaves it as it is in a variable
/// that is quoted, and other programs that read these variables do the same.
pub fn in_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home.to_path_buf(),
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment> {
        Environment::from_variables(
            |name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            },
            Some(PathBuf::from("/home/somebody")),
        )
    }

    #[test]
    fn variables_mean_what_they_mean_elsewhere() {
        let plain = read(&[]).unwrap();
        assert_eq!(plain.endpoint, "https://huggingface.co");
        assert_eq!(
            plain.cache,
            PathBuf::from("/home/somebody/.cache/huggingface/hub")
        );
        assert!(!plain.offline && plain.token.is_none());

        let set = read(&[
            ("HF_ENDPOINT", "https://mirror.example/ "),
            ("HF_HOME", "/data/hf"),
            ("HF_TOKEN", " hf_abc\n"),
            ("HF_HUB_OFFLINE", "True"),
        ])
        .unwrap();
        assert_eq!(set.endpoint, "https://mirror.example");
        assert_eq!(set.cache, PathBuf::from("/data/hf/hub"));
        assert_eq!(set.token.as_deref(), Some("hf_abc"));
        assert!(set.offline);

        let cache = |variables: &[(&str, &str)]| read(variables).unwrap().cache;
        assert_eq!(
            cache(&[("HF_HOME", "/data/hf"), ("HF_HUB_CACHE", "/fast")]),
            PathBuf::from("/fast")
        );
        assert_eq!(
            cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "")]),
            PathBuf::from("/x/huggingface/hub")
        );
    }

    #[test]
    fn a_tilde_is_the_home_folder() {
        let cache = |name, value| read(&[(name, value)]).unwrap().cache;
        let home = Path::new("/home/somebody");
        assert_eq!(cache("HF_HOME", "~/hf"), home.join("hf/hub"));
        assert_eq!(cache("HF_HUB_CACHE", "~"), home);
        assert_eq!(
            cache("XDG_CACHE_HOME", "~/c"),
            home.join("c/huggingface/hub")
        );
        assert_eq!(cache("HF_HUB_CACHE", "/a/~/b"), Path::new("/a/~/b"));
        assert_eq!(cache("HF_HUB_CACHE", "~other/b"), Path::new("~other/b"));
    }

    #[test]
    fn messages_show_no_password() {
        let shown = |endpoint| read(&[("HF_ENDPOINT", endpoint)]).unwrap().shown_endpoint();
        assert_eq!(shown("https://ann:secret@host:8/x"), "https://host:8/x");
        assert_eq!(shown("ann:se@cret@host"), "host");
        assert_eq!(shown("https://host/x@y"), "https://host/x@y");
    }

    /// Opening a pipe would wait for ever.
    #[cfg(unix)]
    #[test]
    fn a_token_is_read_from_a_plain_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("token");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let path = pipe.to_str().unwrap();
        assert_eq!(read(&[("HF_TOKEN_PATH", path)]).unwrap().token, None);
    }

    #[test]
    fn a_stored_token_is_found_and_a_broken_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hf_stored\n").unwrap();
        let home = folder.path().to_str().unwrap();
        let token = |variables: &[(&str, &str)]| read(variables).unwrap().token;
        let stored = Some("hf_stored".to_owned());
        assert_eq!(token(&[("HF_HOME", home)]), stored);
        // A cache elsewhere does not move the token.
        let elsewhere = [("HF_HOME", home), ("HF_HUB_CACHE", "/fast")];
        assert_eq!(token(&elsewhere), stored);
        let disabled = [("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(token(&disabled), None);
        assert!(read(&[("HF_TOKEN", "hf_\u{1}x")]).is_err());
    }
}
