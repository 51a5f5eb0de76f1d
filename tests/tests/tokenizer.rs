//! Token ids against OpenAI's `SimpleTokenizer` (`fixtures/make_preprocess_and_tokens.py`).

use std::path::Path;

use serde::Deserialize;
use shared::clip::tokenizer::Tokenizer;

#[derive(Deserialize)]
struct Case {
    text: String,
    /// Without the markers.
    ids: Vec<u32>,
    /// With the markers, at most 77; missing where the text holds markers itself.
    context: Option<Vec<u32>>,
    /// Whether `transformers` gives the same ids.
    transformers: bool,
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tokens/texts.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn ids_are_openais() {
    let tokenizer = Tokenizer::openai().unwrap();
    let cases = cases();
    assert!(cases.len() >= 60);
    assert!(cases.iter().filter(|case| case.transformers).count() >= 60);
    for case in &cases {
        let ids = tokenizer.encode(&case.text);
        let (found, expected) = (tokenizer.decode(&ids), tokenizer.decode(&case.ids));
        assert_eq!(
            ids, case.ids,
            "{:?}: {found:?}, not {expected:?}",
            case.text
        );
        if let Some(context) = &case.context {
            assert_eq!(
                &tokenizer.tokenize(&case.text, 77),
                context,
                "{:?}",
                case.text
            );
        }
    }
}

#[test]
fn over_long_texts_end_with_the_end() {
    let tokenizer = Tokenizer::openai().unwrap();
    let long: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.ids.len() > 75)
        .collect();
    assert!(long.len() >= 2);
    for case in long {
        let ids = tokenizer.tokenize(&case.text, 77);
        assert_eq!(ids.len(), 77);
        assert_eq!(ids[1..76], case.ids[..75]);
        assert_eq!((ids[0], ids[76]), (tokenizer.start(), tokenizer.end()));
    }
}

/// The pieces that a text is cut into.
fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode(text);
    ids.iter().map(|&id| tokenizer.decode(&[id])).collect()
}

#[test]
fn a_pruned_vocabulary_cuts_its_texts_as_the_whole_one_does() {
    let cases = cases();
    let openai = Tokenizer::openai().unwrap();
    let (given, others) = cases.split_at(cases.len() / 2);
    let texts = given.iter().map(|case| case.text.as_str());
    let file = Tokenizer::prune(Tokenizer::openai_merges(), texts).unwrap();
    let pruned = Tokenizer::from_vocabulary(&file).unwrap();
    assert!(
        pruned.vocabulary_size() < 3000,
        "{}",
        pruned.vocabulary_size()
    );
    for case in given {
        assert_eq!(
            pieces(&pruned, &case.text),
            pieces(&openai, &case.text),
            "{:?}",
            case.text
        );
    }
    for case in others {
        let ids = pruned.encode(&case.text);
        assert!(ids.iter().all(|&id| id <= pruned.end()));
        let blanks_removed = |text: String| text.replace(' ', "");
        assert_eq!(
            blanks_removed(pruned.decode(&ids)),
            blanks_removed(openai.decode(&case.ids)),
            "{:?}",
            case.text
        );
    }
}

#[test]
fn any_text_is_encoded() {
    let tokenizer = Tokenizer::openai().unwrap();
    let bytes = Tokenizer::from_vocabulary("#version: 0.2\n").unwrap();
    for code in 0..=u32::from(char::MAX) {
        // Every character of the first planes that hold text, and one in a hundred beyond.
        if code > 0x3000 && code % 101 != 0 {
            continue;
        }
        let Some(character) = char::from_u32(code) else {
            continue;
        };
        let text = format!("a{character} {character}b &#{code}; e{character}\u{301}");
        for tokenizer in [&tokenizer, &bytes] {
            let ids = tokenizer.tokenize(&text, 77);
            assert!(ids.iter().all(|&id| id <= tokenizer.end()));
            assert!(!tokenizer.decode(&ids).is_empty());
        }
    }
}
