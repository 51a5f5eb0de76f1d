//! Files of features and their journals.

#[path = "../../trainer/src/features/cache.rs"]
mod cache;
#[path = "../../trainer/src/features/journal.rs"]
mod journal;
#[path = "../../trainer/src/features/key.rs"]
mod key;
#[path = "../../trainer/src/features/layout.rs"]
mod layout;
#[path = "../../trainer/src/features/shard.rs"]
mod shard;
#[path = "../../trainer/src/features/shard_file.rs"]
mod shard_file;
#[path = "../../trainer/src/features/usable.rs"]
mod usable;

pub use cache::FeatureCache;
pub use journal::{Entry, Journal, JournalReader, Outcome, checksum};
pub use layout::{CacheHeader, FeaturePrecision, TextBytes};
pub use shard_file::ShardFile;
use usable::usable;
