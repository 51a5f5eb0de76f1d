//! What is asked of a hub, over HTTP.
//!
//! The addresses and headers are those that `huggingface_hub` uses: `/api/models/…/revision/…` lists
//! a version's files, `/…/resolve/COMMIT/FILE` describes one (`HEAD`) or sends it, often by pointing
//! to another host. The token is shown to the hub alone.

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use ureq::config::Config;
use ureq::http::uri::Scheme;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

use super::Environment;
use super::Repository;

const CONNECT: Duration = Duration::from_secs(20);
/// Silence after which a connection counts as broken.
const SILENCE: Duration = Duration::from_secs(60);
/// What a small document may take from the question to its last byte: one that comes a byte now and
/// then is never silent.
pub const DOCUMENT: Duration = Duration::from_secs(180);
/// Hosts that may point to each other.
const REDIRECTS: usize = 5;
/// A list of thousands of files.
const MAX_LIST_BYTES: u64 = 32 << 20;

/// What an exchange with the hub failed by.
#[derive(Debug)]
pub enum Failure {
    /// No connection, or one that broke off.
    Unreachable(String),
    /// An answer that is a refusal.
    Status(u16),
    /// An answer that no hub gives.
    Strange(String),
}

/// The files of a version.
#[derive(Debug, Deserialize)]
pub struct Listing {
    /// The version, as a commit's hash.
    pub sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Listing {
    /// Their paths within the repository.
    pub fn into_names(self) -> impl Iterator<Item = String> {
        self.siblings.into_iter().map(|file| file.rfilename)
    }
}

/// One file, as the hub describes it.
#[derive(Debug)]
pub struct Content {
    /// The name of the content: a hash of it, or whatever a mirror gives.
    pub etag: String,
    pub size: u64,
}

/// A connection to one hub.
pub struct Client<'a> {
    agent: Agent,
    environment: &'a Environment,
}

impl<'a> Client<'a> {
    pub fn new(environment: &'a Environment) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            // Followed by hand: the token must not follow.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("negprompt/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.into(),
            environment,
        }
    }

    /// The files of a repository's version.
    pub fn list(&self, repository: &Repository) -> Result<Listing, Failure> {
        let revision = repository.revision.replace('/', "%2F");
        let url = format!(
            "{}/api/models/{}/revision/{revision}",
            self.environment.endpoint, repository.id
        );
        let mut answer = self.follow(
            |agent, url| {
                let request = agent.get(url).config();
                request.timeout_global(Some(DOCUMENT)).build()
            },
            &url,
            false,
        )?;
        let body = answer.body_mut().with_config().limit(MAX_LIST_BYTES);
        body.read_json().map_err(failure)
    }

    /// What a file of version `commit` is.
    pub fn describe(
        &self,
        repository: &Repository,
        commit: &str,
        name: &str,
    ) -> Result<Content, Failure> {
        let url = self.resolve(repository, commit, name);
        let answer = self.follow(|agent, url| agent.head(url), &url, true)?;
        let headers = answer.headers();
        let strange = |what: &str| Failure::Strange(format!("its description of {name} {what}"));
        let of = text(headers, "x-repo-commit").ok_or_else(|| strange("names no version"))?;
        if of != commit {
            return Err(strange(&format!("is of version {of}, not of {commit}")));
        }
        let etag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
        let etag = etag.ok_or_else(|| strange("does not name its content"))?;
        let size = text(headers, "x-linked-size").or_else(|| text(headers, "content-length"));
        let size = size.and_then(|size| size.parse().ok());
        Ok(Content {
            etag: etag.trim_start_matches("W/").trim_matches('"').to_owned(),
            size: size.ok_or_else(|| strange("does not tell its length"))?,
        })
    }

    /// The bytes of a file from `from` on; the first byte of what comes, which is 0 where the server
    /// does not send parts.
    pub fn fetch(
        &self,
        repository: &Repository,
        commit: &str,
        name: &str,
        from: u64,
    ) -> Result<(u64, impl Read), Failure> {
        let url = self.resolve(repository, commit, name);
        let request = |agent: &Agent, url: &str| match from {
            0 => agent.get(url),
            from => agent.get(url).header("Range", format!("bytes={from}-")),
        };
        let answer = self.follow(request, &url, false)?;
        let start = match answer.status().as_u16() {
            206 => from,
            _ => 0,
        };
        Ok((start, answer.into_body().into_reader()))
    }

    fn resolve(&self, repository: &Repository, commit: &str, name: &str) -> String {
        format!(
            "{}/{}/resolve/{commit}/{name}",
            self.environment.endpoint, repository.id
        )
    }

    /// Asks `url`, and where that points to; with `at_hub`, no further than the hub's own host, which
    /// describes what lies elsewhere.
    fn follow(
        &self,
        request: impl Fn(&Agent, &str) -> RequestBuilder<WithoutBody>,
        url: &str,
        at_hub: bool,
    ) -> Result<Response<Body>, Failure> {
        let mut at: Uri = url
            .parse()
            .map_err(|_| Failure::Strange(format!("{url} is no address")))?;
        let home = at.clone();
        for _ in 0..=REDIRECTS {
            let mut asked = request(&self.agent, &at.to_string());
            if is_at(&home, &at)
                && let Some(token) = &self.environment.token
            {
                asked = asked.header("Authorization", format!("Bearer {token}"));
            }
            let answer = asked.call().map_err(failure)?;
            let status = answer.status();
            if !status.is_redirection() {
                return match status.as_u16() {
                    200 | 206 => Ok(answer),
                    other => Err(Failure::Status(other)),
                };
            }
            let location = text(answer.headers(), "location")
                .and_then(|location| join(&at, &location))
                .ok_or_else(|| Failure::Strange(format!("{at} points nowhere")))?;
            if at_hub && !is_at(&home, &location) {
                return Ok(answer);
            }
            at = location;
        }
        Err(Failure::Strange(format!(
            "{url} is pointed around in circles"
        )))
    }
}

fn failure(error: ureq::Error) -> Failure {
    match error {
        ureq::Error::StatusCode(status) => Failure::Status(status),
        ureq::Error::Json(error) => Failure::Strange(format!("its list of files: {error}")),
        other => Failure::Unreachable(other.to_string()),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Whether an address is of the hub's own host, and no less private than the hub's: the token goes there.
fn is_at(home: &Uri, address: &Uri) -> bool {
    let private = |uri: &Uri| uri.scheme() == Some(&Scheme::HTTPS);
    address.authority() == home.authority() && (private(address) || !private(home))
}

/// An address that may leave out scheme and host.
fn join(base: &Uri, location: &str) -> Option<Uri> {
    let to: Uri = location.parse().ok()?;
    if to.authority().is_some() {
        return Some(to);
    }
    let mut parts = base.clone().into_parts();
    parts.path_and_query = to.into_parts().path_and_query;
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stays_with_the_hub() {
        let is_at = |home: &str, address: &str| {
            super::is_at(&home.parse().unwrap(), &address.parse().unwrap())
        };
        let hub = "https://hub.example/a";
        assert!(is_at(hub, "https://hub.example/b"));
        assert!(is_at("http://hub.example/a", "http://hub.example/b"));
        assert!(is_at("http://hub.example/a", "https://hub.example/b"));
        for elsewhere in [
            "http://hub.example/b",
            "https://hub.example:8443/b",
            "https://cdn.example/b",
            "https://hub.example@cdn.example/b",
        ] {
            assert!(!is_at(hub, elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn addresses_are_joined() {
        let base: Uri = "https://hub.example/a/resolve/main/b".parse().unwrap();
        let joined = |location: &str| join(&base, location).map(|uri| uri.to_string());
        assert_eq!(
            joined("/api/cache/b?x=1").as_deref(),
            Some("https://hub.example/api/cache/b?x=1")
        );
        assert_eq!(
            joined("https://cdn.example/b").as_deref(),
            Some("https://cdn.example/b")
        );
        assert_eq!(joined("not an address"), None);
    }
}
