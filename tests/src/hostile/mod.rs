//! Malformed files, made by code: what a stranger may hand to the trainer or to the page.
//!
//! Each [`Case`] is a file or a small folder with one thing wrong. The generators are pure: the same
//! cases on every machine, no file system touched, so that the command line's tests, the page's and
//! the seed corpora of the fuzz targets draw from the same source.

pub mod archive;
pub mod bundles;
pub mod checkpoints;
pub mod compress;
pub mod features;
pub mod images;
pub mod models;
pub mod pickle;
pub mod safetensors_bytes;
pub mod tables;
pub mod tiny;
pub mod tower;

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is wrong, in kebab case; unique among the cases of one generator.
    pub name: String,
    /// Relative paths with their bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// What has to come of it.
    pub outcome: Outcome,
}

/// What has to come of a [`Case`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An error that names one of these causes.
    Refused(&'static [&'static str]),
    /// Odd, and still to be used.
    Used,
    /// An error or not: damage that may hit nothing that matters. Never a fault of the program.
    Either,
}

impl Case {
    /// A case of one file.
    pub fn file(name: &str, path: &str, bytes: Vec<u8>, outcome: Outcome) -> Self {
        Self {
            name: name.to_owned(),
            files: vec![(path.to_owned(), bytes)],
            outcome,
        }
    }
}

/// SplitMix64: a small deterministic source of damage.
pub struct Damage(u64);

impl Damage {
    /// The source of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number in `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound.max(1) as u64) as usize
    }

    /// `bytes` with `count` of them replaced.
    pub fn flip(&mut self, bytes: &[u8], count: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..count {
            let at = self.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = self.bits() as u8;
            }
        }
        bytes
    }
}

/// Words of which an error's way out has at least one.
const WAYS_OUT: &[&str] = &[
    "again",
    "export",
    "fetch",
    "copy",
    "import",
    "make ",
    "save",
    "use ",
    "choose",
    "check",
    "put ",
    "raise",
    "lower",
    "run ",
    "write",
    "trainer ",
    "scale",
    "give",
    "point to",
    "correct",
    "expected",
    "take ",
    "remove",
    "must ",
    "split it",
    "leave",
    "at least two are needed",
    "what can",
];

/// Whether an error says what helps.
pub fn shows_a_way_out(text: &str) -> bool {
    WAYS_OUT.iter().any(|word| text.contains(word))
}
