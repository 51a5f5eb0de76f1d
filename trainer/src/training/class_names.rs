//! Class names as the text tower reads them: two that it cannot tell apart are an error, and what it
//! cannot know of a name is said.

use std::collections::HashMap;

use anyhow::{Result, bail};
use shared::clip::tokenizer::KnownWords;
use shared::prompt::suffixes;

use crate::model::ModelDirectory;

/// Names of each kind that a note spells out.
const NAMED: usize = 5;

/// Holds the names `classes` against the model's tokenizer, for prompts of `context_tokens` learned
/// vectors before the name. What a reader should know of them comes back.
///
/// # Errors
/// Naming two classes whose prompts are the same tokens, or when the vocabulary cannot be read.
pub fn check_class_names(
    model: &ModelDirectory,
    classes: &[String],
    context_tokens: usize,
) -> Result<Vec<String>> {
    let tokenizer = model.tokenizer()?;
    let length = model.config.text.context_length;
    let room = length.saturating_sub(context_tokens);
    let (whole, cut) = (
        suffixes(&tokenizer, classes, usize::MAX),
        suffixes(&tokenizer, classes, room),
    );
    let mut seen: HashMap<&[u32], usize> = HashMap::new();
    for (class, tokens) in cut.iter().enumerate() {
        let Some(other) = seen.insert(tokens, class) else {
            continue;
        };
        let names = format!("the classes `{}` and `{}`", classes[other], classes[class]);
        if whole[other] == whole[class] {
            bail!(
                "{names} are the same to the text tower, which reads names without capitals: rename one of them, or put their images together"
            );
        }
        bail!(
            "{names} are the same to the text tower: behind {context_tokens} context tokens it has room for {} of a name, and what differs comes later; give them shorter names, or lower --context-tokens",
            room.saturating_sub(2)
        );
    }
    let mut notes = Vec::new();
    let too_long = (classes.iter().zip(&whole).zip(&cut))
        .filter(|((_, whole), cut)| whole != cut)
        .map(|((class, _), _)| format!("`{class}`"));
    notes.extend(listed(too_long, |names, count| {
        format!(
            "{count} too long for the room behind {context_tokens} context tokens, and read as far as it goes: {names}. Shorter names or a lower --context-tokens help."
        )
    }));
    if let Some(words) = model.words()? {
        let known = KnownWords::parse(&words);
        let strange = classes.iter().filter_map(|class| {
            let unknown = known.unknown(class);
            (!unknown.is_empty()).then(|| format!("`{class}` ({})", unknown.join(", ")))
        });
        notes.extend(listed(strange, |names, count| {
            format!(
                "{count} made of words that the text tower has never seen, so that what it says of them is a guess: {names}."
            )
        }));
    }
    Ok(notes)
}

/// What a reader should know of the words `text`, given as `option`, that contexts of `context_tokens`
/// vectors start from: those that have no room, and those that the text tower does not know.
///
/// # Errors
/// When the vocabulary cannot be read.
pub fn check_start(
    model: &ModelDirectory,
    option: &str,
    text: &str,
    context_tokens: usize,
) -> Result<Vec<String>> {
    let tokens = model.tokenizer()?.encode(text).len();
    let mut notes = Vec::new();
    if tokens > context_tokens {
        notes.push(format!(
            "{option}: `{text}` has {tokens} tokens, and the contexts start from the last {context_tokens} of them, as many as --context-tokens."
        ));
    }
    if let Some(words) = model.words()? {
        let unknown = KnownWords::parse(&words).unknown(text);
        if !unknown.is_empty() {
            notes.push(format!(
                "{option}: the text tower has never seen {}, so that the contexts start from a guess.",
                unknown.join(", ")
            ));
        }
    }
    Ok(notes)
}

/// A note on some classes, of which the first few are named; none where there are none.
fn listed(
    names: impl Iterator<Item = String>,
    note: impl Fn(String, String) -> String,
) -> Option<String> {
    let names: Vec<String> = names.collect();
    let count = match names.len() {
        0 => return None,
        1 => "The name of 1 class is".to_owned(),
        more => format!("The names of {more} classes are"),
    };
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first = names.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    Some(note(first + &more, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded;

    fn told(classes: &[&str], context_tokens: usize) -> Result<Vec<String>, String> {
        let model = embedded::compact_model().unwrap();
        let classes: Vec<String> = classes.iter().map(|&class| class.to_owned()).collect();
        check_class_names(&model, &classes, context_tokens).map_err(|error| error.to_string())
    }

    #[test]
    fn names_that_are_one_to_the_text_tower_are_refused() {
        assert_eq!(told(&["crane", "acorn"], 16), Ok(Vec::new()));
        let error = told(&["acorn", "crane", "Crane"], 16).unwrap_err();
        assert!(
            error.contains("`crane` and `Crane`") && error.contains("without capitals"),
            "{error}"
        );
        // The compact model has room for 32 tokens.
        let long = "cup cup cup cup cup cup cup cup cup cup cup cup cup cup";
        let (first, second) = (format!("{long} chair"), format!("{long} acorn"));
        let error = told(&[&first, &second], 16).unwrap_err();
        assert!(
            error.contains("room for 14") && error.contains("--context-tokens"),
            "{error}"
        );
        assert_eq!(told(&[&first, &second], 4), Ok(Vec::new()));
    }

    #[test]
    fn what_becomes_of_a_start_is_said() {
        let model = embedded::compact_model().unwrap();
        let notes = |context_tokens, text| {
            check_start(&model, "--positive-start", text, context_tokens).unwrap()
        };
        assert!(notes(16, "a photo of a").is_empty());
        let cut = notes(2, "a photo of a");
        assert_eq!(cut.len(), 1, "{cut:?}");
        assert!(cut[0].starts_with("--positive-start: `a photo of a` has 4 tokens"));
        let unknown = notes(16, "a qwzxv of a");
        assert_eq!(unknown.len(), 1, "{unknown:?}");
        assert!(unknown[0].contains("never seen qwzxv"), "{unknown:?}");
    }

    #[test]
    fn what_the_tower_cannot_know_is_said() {
        let long = "cup cup cup cup cup cup cup cup cup cup cup cup cup cup chair";
        let notes = told(&[long, "acorn", "qwzxv gadget"], 16).unwrap();
        assert!(
            notes[0].starts_with("The name of 1 class is too long") && notes[0].contains("chair"),
            "{notes:?}"
        );
        assert!(notes[1].contains("`qwzxv gadget` (qwzxv"), "{notes:?}");
        let many: Vec<String> = (0..7).map(|n| format!("qwzxv{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let notes = told(&many, 16).unwrap();
        assert!(
            notes[0].contains("7 classes") && notes[0].contains("and 2 more"),
            "{notes:?}"
        );
    }
}
