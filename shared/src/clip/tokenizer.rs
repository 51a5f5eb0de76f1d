//! CLIP's byte pair encoding: text to token ids.

mod clean;
mod html;
mod vocabulary;
mod words;

use std::fmt;

pub use self::vocabulary::VocabularyError;
pub use self::words::{KnownWords, words};

use self::clean::clean;
use self::vocabulary::{BYTE_TOKENS, MOST_MERGES, Merges};

/// The tokenizer of a CLIP text tower, with OpenAI's vocabulary or one pruned from it.
///
/// Ids are 256 bytes, 256 bytes that end a word, one id for each line of the vocabulary, then
/// the start and the end of a text. With OpenAI's vocabulary they are those of its
/// `SimpleTokenizer` (in open_clip too), and of `transformers`' `CLIPTokenizer` where the two
/// agree: `transformers` knows no character references, and splits words a little differently.
///
/// Before encoding, text is cleaned as OpenAI does with ftfy and `html.unescape`: character
/// references are replaced (all numeric ones, and the names of HTML 4), curly quotes
/// straightened, Latin ligatures, full-width letters and half-width katakana replaced,
/// control characters, terminal colour codes and byte order marks removed, combining marks
/// joined with their letters (NFC), then everything lower-cased.
///
/// Not done, of what OpenAI does: the repair of mojibake (`cafÃ©` stays), the further 1,900
/// names of HTML 5, half-width Hangul, and of NFC the reordering of marks that stand in an
/// unusual order and the replacement of compatibility ideographs. Such texts get other ids
/// than OpenAI's, and never an error.
///
/// The literal texts `<start_of_text>` and `<end_of_text>` become the markers, as in
/// OpenAI's tokenizer.
pub struct Tokenizer {
    pairs: instant_clip_tokenizer::Tokenizer,
}

impl Tokenizer {
    /// Reads a merges file: `bpe_simple_vocab_16e6.txt` as OpenAI ships it (unpacked),
    /// `merges.txt` of a `transformers` checkpoint, or what [`prune`](Self::prune) made of
    /// one. Of more than 48,894 merges the rest is ignored, as OpenAI does.
    ///
    /// # Errors
    /// Anything that is not such a file, with the line where that shows.
    pub fn from_vocabulary(merges: &str) -> Result<Self, VocabularyError> {
        Self::new(&Merges::parse(merges)?)
    }

    /// OpenAI's tokenizer, of 49,408 tokens. A program that does not call this does not
    /// carry its vocabulary.
    ///
    /// # Errors
    /// None with an intact build: the vocabulary is compiled in and goes through the same
    /// checks as any other.
    pub fn openai() -> Result<Self, VocabularyError> {
        Self::from_vocabulary(Self::openai_merges())
    }

    /// OpenAI's merges file, to write beside a model or to [`prune`](Self::prune).
    pub fn openai_merges() -> &'static str {
        vocabulary::OPENAI
    }

    /// The ids of `text`, without the markers.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.pairs.encode(&clean(text), &mut tokens);
        tokens
            .into_iter()
            .map(|token| token.to_u16().into())
            .collect()
    }

    /// The ids of `text` between the start and the end marker, at most `context_length`
    /// of them and not padded. What is too long is cut off, never the end marker; a
    /// `context_length` below 2 counts as 2.
    pub fn tokenize(&self, text: &str, context_length: usize) -> Vec<u32> {
        let mut ids = vec![self.start()];
        ids.extend(self.encode(text));
        ids.truncate(context_length.max(2) - 1);
        ids.push(self.end());
        ids
    }

    /// The text of `ids`, in lower case and with a blank behind each word; ids beyond the
    /// vocabulary are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let tokens = ids.iter().filter_map(|&id| {
            instant_clip_tokenizer::Token::from_u16(u16::try_from(id).ok()?, &self.pairs)
        });
        self.pairs.decode(tokens)
    }

    /// Id of the start marker, `[SOS]`.
    pub fn start(&self) -> u32 {
        self.pairs.start_of_text().to_u16().into()
    }

    /// Id of the end marker, `[EOS]`: the highest one.
    pub fn end(&self) -> u32 {
        self.pairs.end_of_text().to_u16().into()
    }

    /// Number of ids, the markers included.
    pub fn vocabulary_size(&self) -> usize {
        self.end() as usize + 1
    }

    /// The merges file that keeps only what `texts` use, for a small text tower: they are
    /// cut into the same tokens as with all of `merges`, and any other text into at most as
    /// short ones, down to bytes. Ids change, being positions in the file.
    ///
    /// # Errors
    /// Anything that is not a merges file, with the line where that shows.
    pub fn prune<'a>(
        merges: &str,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<String, VocabularyError> {
        let merges = Merges::parse(merges)?;
        let tokenizer = Self::new(&merges)?;
        let ids = texts.into_iter().flat_map(|text| tokenizer.encode(text));
        Ok(merges.used_by(ids).to_file())
    }

    fn new(merges: &Merges<'_>) -> Result<Self, VocabularyError> {
        const MOST_TOKENS: u16 = (BYTE_TOKENS + MOST_MERGES + 2) as u16;
        let file = merges.to_file();
        // Its checks are weaker than those of `Merges`, and it panics in `decode` on tokens
        // that are made twice: by now none of that is left.
        let pairs =
            instant_clip_tokenizer::Tokenizer::with_vocabulary(file.as_bytes(), MOST_TOKENS)
                .map_err(|error| VocabularyError::Refused {
                    reason: error.to_string(),
                })?;
        Ok(Self { pairs })
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("vocabulary_size", &self.vocabulary_size())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;

    fn openai() -> &'static Tokenizer {
        static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
        TOKENIZER.get_or_init(|| Tokenizer::openai().unwrap())
    }

    #[test]
    fn markers_and_size() {
        assert_eq!(openai().start(), 49_406);
        assert_eq!(openai().end(), 49_407);
        assert_eq!(openai().vocabulary_size(), 49_408);
        assert_eq!(
            openai().tokenize("Hi there", 77),
            [49_406, 1883, 997, 49_407]
        );
        assert_eq!(openai().tokenize("", 77), [49_406, 49_407]);
    }

    #[test]
    fn truncation_keeps_the_end() {
        let long = "dog ".repeat(200);
        for length in 0..90 {
            let ids = openai().tokenize(&long, length);
            assert_eq!(ids.len(), length.max(2));
            assert_eq!((ids[0], ids[ids.len() - 1]), (49_406, 49_407));
        }
    }

    #[test]
    fn decoding_skips_what_is_not_there() {
        let ids = openai().encode("a photo of a café");
        assert_eq!(openai().decode(&ids), "a photo of a café ");
        assert_eq!(openai().decode(&[320, 49_408, 65_536, u32::MAX]), "a ");
    }

    #[test]
    fn pruned_vocabulary_cuts_its_texts_the_same() {
        let texts = [
            "a photo of a Persian cat",
            "the photographer's antidisestablishmentarianism",
            "señor müller's 日本語 😀!!! 42",
        ];
        let file = Tokenizer::prune(Tokenizer::openai_merges(), texts).unwrap();
        let pruned = Tokenizer::from_vocabulary(&file).unwrap();
        assert!(
            pruned.vocabulary_size() < 700,
            "{}",
            pruned.vocabulary_size()
        );
        for text in texts {
            let pieces = |tokenizer: &Tokenizer| -> Vec<String> {
                let ids = tokenizer.encode(text);
                ids.iter().map(|&id| tokenizer.decode(&[id])).collect()
            };
            assert_eq!(pieces(openai()), pieces(&pruned));
        }
        let other = "zebras & quokkas — ελληνικά";
        assert_eq!(
            pruned.decode(&pruned.encode(other)),
            openai().decode(&openai().encode(other))
        );
        assert!(pruned.encode(other).iter().all(|&id| id < pruned.start()));
    }

    #[test]
    fn pruning_again_changes_nothing() {
        let texts = ["a photo of a dog", "a sketch of a cat"];
        let once = Tokenizer::prune(Tokenizer::openai_merges(), texts).unwrap();
        assert_eq!(Tokenizer::prune(&once, texts).unwrap(), once);
        assert_eq!(Tokenizer::prune(&once, []).unwrap(), "#version: 0.2\n");
    }

    #[test]
    fn no_merges_is_bytes() {
        let bytes = Tokenizer::from_vocabulary("#version: 0.2").unwrap();
        assert_eq!(bytes.vocabulary_size(), 514);
        assert_eq!(bytes.encode("hé").len(), 3);
        assert_eq!(bytes.decode(&bytes.encode("hé")), "hé ");
    }
}
