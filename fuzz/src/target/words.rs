//! Texts and vocabularies.

use std::sync::OnceLock;

use shared::clip::Tokenizer;
use shared::clip::tokenizer::{KnownWords, words};

/// A merges file, and a text through it.
pub fn vocabulary(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(tokenizer) = Tokenizer::from_vocabulary(text) {
        let ids = tokenizer.tokenize("a photo of a tench é \u{1f41f}", 77);
        assert!(
            ids.iter()
                .all(|&id| (id as usize) < tokenizer.vocabulary_size())
        );
        let _ = tokenizer.decode(&ids);
    }
    if let Ok(pruned) = Tokenizer::prune(text, ["a photo of a tench"]) {
        Tokenizer::from_vocabulary(&pruned).expect("what was pruned is a vocabulary");
    }
    let known = KnownWords::parse(text);
    let _ = known.unknown("a photo of a tench");
}

/// Any text through OpenAI's tokenizer.
pub fn tokenizer(bytes: &[u8]) {
    static OPENAI: OnceLock<Tokenizer> = OnceLock::new();
    let tokenizer = OPENAI.get_or_init(|| Tokenizer::openai().expect("compiled in"));
    let text = String::from_utf8_lossy(bytes);
    let ids = tokenizer.tokenize(&text, 77);
    assert!((2..=77).contains(&ids.len()));
    assert_eq!(
        (ids[0], ids[ids.len() - 1]),
        (tokenizer.start(), tokenizer.end())
    );
    let known = |id: &u32| (*id as usize) < tokenizer.vocabulary_size();
    assert!(ids.iter().all(known) && tokenizer.encode(&text).iter().all(known));
    let _ = tokenizer.decode(&ids);
    let _ = words(&text).len();
}
