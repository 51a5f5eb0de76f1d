//! The variables that `huggingface_hub` reads, with the same meaning.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

const HUB: &str = "https://huggingface.co";

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
        let folder = set(&["HF_HOME"])
            .map(PathBuf::from)
            .or_else(|| {
                set(&["XDG_CACHE_HOME"]).map(|cache| PathBuf::from(cache).join("huggingface"))
            })
            .or_else(|| home.map(|home| home.join(".cache/huggingface")));
        let cache = set(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
            .map(PathBuf::from)
            .or_else(|| folder.as_ref().map(|folder| folder.join("hub")))
            .context("there is no home folder to keep files of the hub in: set HF_HOME")?;
        let token = if is_on(&["HF_HUB_DISABLE_IMPLICIT_TOKEN"]) {
            None
        } else {
            set(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).or_else(|| {
                let file = set(&["HF_TOKEN_PATH"])
                    .map(PathBuf::from)
                    .or_else(|| Some(folder?.join("token")))?;
                std::fs::read_to_string(file).ok()
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
