//! What went wrong between here and the hub, and the way out.

use anyhow::{Error, anyhow};

use super::client::Failure;
use super::{Environment, Repository};

impl Failure {
    /// Whether the hub, or the way to it, is down: asking again, or the cache, may help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status(status) => *status == 429 || *status >= 500,
            Self::Strange(_) => false,
        }
    }

    /// An error that names the repository, the cause and the way out.
    pub fn explain(&self, repository: &Repository, environment: &Environment) -> Error {
        let endpoint = environment.shown_endpoint();
        let cause = match self {
            Self::Status(401 | 403) if environment.token.is_some() => format!(
                "{endpoint} does not let this token read it: check how it is spelled, accept its terms on its page if it has any, and check that HF_TOKEN is valid"
            ),
            // The hub answers so for what does not exist as well, so as not to tell what is private.
            Self::Status(401 | 403) => format!(
                "{endpoint} has no such repository, or does not show it to everybody: check how it is spelled; if it is private or has terms to accept, set HF_TOKEN"
            ),
            Self::Status(404) => {
                format!("{endpoint} has no such repository or version: check how it is spelled")
            }
            Self::Status(429) => {
                format!("{endpoint} had too many requests: wait a while, or set HF_TOKEN")
            }
            Self::Status(status) if *status >= 500 => format!(
                "{endpoint} answers with status {status}: it is down; try again later, what has arrived is kept, or set HF_ENDPOINT to a mirror"
            ),
            Self::Status(status) => {
                format!("{endpoint} answers with status {status}: check HF_ENDPOINT")
            }
            Self::Strange(what) => {
                format!("{endpoint} does not answer as a hub does, {what}: check HF_ENDPOINT")
            }
            Self::Unreachable(cause) => format!(
                "{endpoint} cannot be reached ({cause}): check the network and its proxy (HTTPS_PROXY), set HF_ENDPOINT to a mirror, or {}",
                by_other_means(repository)
            ),
        };
        anyhow!(environment.without_user(&cause)).context(format!(
            "cannot fetch {repository}, and there is no such folder here"
        ))
    }
}

/// For a cache that does not hold what is needed.
pub fn not_cached(repository: &Repository, environment: &Environment) -> Error {
    anyhow!(
        "{} does not hold all of {repository}, and there is no such folder here: unset HF_HUB_OFFLINE where there is a network, or {}",
        environment.cache.display(),
        by_other_means(repository)
    )
}

fn by_other_means(repository: &Repository) -> String {
    format!(
        "fetch its configuration and weights elsewhere (`hf download {}`) and run `trainer import DIR --out MODEL`",
        repository.id
    )
}
