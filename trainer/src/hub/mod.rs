//! Checkpoints from the Hugging Face hub, in the cache that other tools share.
//!
//! Files lie where `huggingface_hub` and the crate `hf-hub` put them
//! (`HF_HOME/hub/models--OWNER--NAME/{blobs,refs,snapshots}`), under the same locks, and are used only
//! if their content has the hash that names them there. The hub gives these names itself; a mirror may
//! give others, and then the length alone is checked.

mod client;
mod download;
mod environment;
mod explain;
mod hash;
mod repository;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hf_hub::{Cache, Repo, RepoType};

pub use environment::Environment;
pub use repository::Repository;

use client::Client;

use crate::checkpoint::{self, CheckpointFiles, ShardIndex, WeightFiles};
use crate::output;
use crate::progress::say;

/// No index of shards comes near to this many bytes.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// The file of a branch or tag holds a commit's hash.
const MAX_REFERENCE_BYTES: u64 = 1 << 10;

/// A checkpoint of the hub, in the cache.
#[derive(Debug)]
pub struct Snapshot {
    /// The weights, or the index of their shards; the configuration lies beside it.
    pub weights: PathBuf,
    /// The version, as a commit's hash.
    pub commit: String,
    /// Every file that belongs to the checkpoint.
    pub files: Vec<PathBuf>,
}

/// Fetches what is missing of a checkpoint and checks all of it.
///
/// Without a network, what the cache holds is used.
///
/// # Errors
/// Says which file of which repository, why, and what can be done instead.
pub fn fetch(repository: &Repository, environment: &Environment) -> Result<Snapshot> {
    let hub = Hub::new(repository, environment);
    if environment.offline {
        return hub.cached().with_context(|| {
            format!("{repository} is taken from the cache alone, as HF_HUB_OFFLINE is set")
        });
    }
    let listing = match hub.client.list(repository) {
        Ok(listing) => listing,
        Err(failure) => {
            let error = failure.explain(repository, environment);
            if !failure.may_pass() {
                return Err(error);
            }
            let Ok(snapshot) = hub.cached() else {
                return Err(error);
            };
            say(&format!("note: {error:#}; the cached version is used"));
            return Ok(snapshot);
        }
    };
    let commit = listing.sha.clone();
    if !hash::is_commit(&commit) {
        bail!(
            "{}: the answer for {repository} names no version: is HF_ENDPOINT the address of a hub?",
            environment.shown_endpoint()
        );
    }
    // Only files of the folder itself: nothing that a checkpoint needs lies deeper.
    let names: Vec<String> = listing
        .into_names()
        .filter(|name| repository::is_plain_name(name))
        .collect();
    let snapshot = hub.collect(&names, &commit, |name| hub.obtain(name, &commit))?;
    // The cache knows versions by commit; this is how others find this one by its name.
    hub.cache
        .repo(hub.repo(&repository.revision))
        .create_ref(&commit)
        .with_context(|| format!("{} cannot be written", environment.cache.display()))?;
    Ok(snapshot)
}

/// One repository, at the hub and in the cache.
struct Hub<'a> {
    repository: &'a Repository,
    environment: &'a Environment,
    client: Client<'a>,
    cache: Cache,
}

impl<'a> Hub<'a> {
    fn new(repository: &'a Repository, environment: &'a Environment) -> Self {
        Self {
            repository,
            environment,
            client: Client::new(environment),
            cache: Cache::new(environment.cache.clone()),
        }
    }

    /// The repository at a branch, tag or commit.
    fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(
            self.repository.id.clone(),
            RepoType::Model,
            revision.to_owned(),
        )
    }

    /// The folder of a version in the cache.
    fn snapshot_folder(&self, commit: &str) -> PathBuf {
        self.cache.repo(self.repo(commit)).pointer_path(commit)
    }

    /// The folder of this repository in the cache.
    fn folder(&self) -> PathBuf {
        let name = self.repo(&self.repository.revision).folder_name();
        self.environment.cache.join(name)
    }

    /// What the cache holds, without asking the hub.
    fn cached(&self) -> Result<Snapshot> {
        let revision = &self.repository.revision;
        let commit = if hash::is_commit(revision) {
            revision.clone()
        } else {
            let reference = self.folder().join("refs").join(revision);
            let commit = output::read_at_most(&reference, MAX_REFERENCE_BYTES)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .unwrap_or_default()
                .trim()
                .to_owned();
            if !hash::is_commit(&commit) {
                return Err(explain::not_cached(self.repository, self.environment));
            }
            commit
        };
        let folder = self.snapshot_folder(&commit);
        let names: Vec<String> = std::fs::read_dir(&folder)
            .map_err(|_| explain::not_cached(self.repository, self.environment))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        self.collect(&names, &commit, |name| {
            let path = folder.join(name);
            if !path.is_file() {
                return Err(explain::not_cached(self.repository, self.environment));
            }
            hash::verify(&path)?;
            Ok(path)
        })
    }

    /// Calls `obtain` for every file of the checkpoint that `names` make up; for those of weights only
    /// if the model is not refused for its configuration.
    fn collect(
        &self,
        names: &[String],
        commit: &str,
        obtain: impl Fn(&str) -> Result<PathBuf>,
    ) -> Result<Snapshot> {
        let files = CheckpointFiles::choose(names, &self.repository.to_string())?;
        let beside = [&files.configuration, &files.preprocessor];
        let mut paths = Vec::new();
        for name in beside.into_iter().flatten() {
            paths.push(obtain(name)?);
        }
        if files.are_named_as_clip() {
            checkpoint::describe(
                &self.snapshot_folder(commit),
                &files,
                self.repository.name(),
            )
            .with_context(|| format!("{} cannot be imported", self.repository))?;
        }
        let (WeightFiles::One(name) | WeightFiles::Sharded(name)) = &files.weights;
        let weights = obtain(name)?;
        paths.push(weights.clone());
        if let WeightFiles::Sharded(_) = files.weights {
            for shard in read_index(&weights)?.shards() {
                paths.push(obtain(&shard)?);
            }
        }
        Ok(Snapshot {
            weights,
            commit: commit.to_owned(),
            files: paths,
        })
    }
}

fn read_index(path: &Path) -> Result<ShardIndex> {
    let json = output::read_at_most(path, MAX_INDEX_BYTES)?;
    ShardIndex::parse(&json, &path.display().to_string())
}
