//! The words that a text tower has seen.

use std::collections::HashSet;

use super::clean::clean;

/// The words of a compact text tower's training texts (`words.txt` of a model directory), to
/// warn of names that it cannot know.
#[derive(Debug, Clone, Default)]
pub struct KnownWords {
    words: HashSet<String>,
}

impl KnownWords {
    /// Reads a words file: words in any order, separated by blanks or line breaks.
    pub fn parse(file: &str) -> Self {
        Self {
            words: words(file).into_iter().collect(),
        }
    }

    /// The words of `text` that are not among the known ones, each once, in its order.
    pub fn unknown(&self, text: &str) -> Vec<String> {
        let mut unknown = words(text);
        unknown.retain(|word| !self.words.contains(word));
        let mut seen = HashSet::new();
        unknown.retain(|word| seen.insert(word.clone()));
        unknown
    }

    /// How many different words are known.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether no word is known.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// The words of `text` in its order: cleaned as for the tokenizer, in lower case, without
/// punctuation and without a possessive `'s`. A words file is made of these.
pub fn words(text: &str) -> Vec<String> {
    clean(text)
        .split(|c: char| !belongs_to_a_word(c))
        .map(|word| {
            let word = word.trim_matches('\'');
            word.strip_suffix("'s").unwrap_or(word).to_owned()
        })
        .filter(|word| !word.is_empty())
        .collect()
}

/// Letters, digits and apostrophes; of other scripts' signs all but punctuation, so that
/// vowel signs stay in their words and an emoji is a word.
fn belongs_to_a_word(character: char) -> bool {
    match character {
        '\'' => true,
        _ if character.is_alphanumeric() => true,
        _ if character.is_whitespace() => false,
        '\0'..='\u{bf}' | '×' | '÷' => false,
        '\u{2000}'..='\u{206f}' | '\u{3000}'..='\u{303f}' | '\u{fe00}'..='\u{fe0f}' => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_punctuation() {
        assert_eq!(
            words("A photo of a T-shirt."),
            ["a", "photo", "of", "a", "t", "shirt"]
        );
        assert_eq!(
            words("The dog\u{2019}s 'bowl', don't!"),
            ["the", "dog", "bowl", "don't"]
        );
        assert_eq!(
            words("caf\u{e9} (2 cups) — \u{2764}\u{fe0f}"),
            ["café", "2", "cups", "❤"]
        );
        assert!(words(" ... '' \n").is_empty());
    }

    #[test]
    fn unknown_words_once_and_in_order() {
        let known = KnownWords::parse("a\nphoto of\n\ndog\n");
        assert_eq!(known.len(), 4);
        assert_eq!(
            known.unknown("A photo of a Zyzzyva, a quokka; a zyzzyva"),
            ["zyzzyva", "quokka"]
        );
        assert!(known.unknown("A PHOTO of: dog's").is_empty());
        assert!(KnownWords::default().is_empty());
    }
}
