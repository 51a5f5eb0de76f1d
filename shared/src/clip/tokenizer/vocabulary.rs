//! Reading, checking and pruning a merges file.

use std::collections::{HashMap, HashSet};

/// The merges OpenAI's CLIP uses: the first 48,894 of `bpe_simple_vocab_16e6.txt`
/// (<https://github.com/openai/CLIP>, MIT licence, Copyright (c) 2021 OpenAI).
pub(super) const OPENAI: &str = include_str!("openai_merges.txt");

/// No more merges than these are read, as in OpenAI's own loader: the file it comes with
/// goes on for another 213,000 that its CLIP does not use.
pub(super) const MOST_MERGES: usize = 49_408 - BYTE_TOKENS - 2;

/// A token for each byte, and one for each byte that ends a word.
pub(super) const BYTE_TOKENS: usize = 512;

/// What is wrong with a merges file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// The first line is not a merges file's.
    #[error(
        "the vocabulary begins with {found:?} instead of \"#version\": this is not a merges \
         file; take CLIP's merges.txt or bpe_simple_vocab_16e6.txt (unpacked)"
    )]
    Header {
        /// The first characters of the file.
        found: String,
    },
    /// A line that does not hold two pieces.
    #[error(
        "vocabulary, line {line}: {found:?} is not two pieces with a blank between them; \
         the file is damaged, copy it again"
    )]
    Line {
        /// Counted from 1.
        line: usize,
        /// The line's first characters.
        found: String,
    },
    /// A merge of something that no line before it makes.
    #[error(
        "vocabulary, line {line}: {piece:?} is neither a byte nor made by a line before it; \
         lines are missing or out of order, copy the file again"
    )]
    Piece {
        /// Counted from 1.
        line: usize,
        /// The piece.
        piece: String,
    },
    /// The same token made twice.
    #[error("vocabulary, line {line}: makes {token:?}, which is there already; remove the line")]
    Duplicate {
        /// Counted from 1.
        line: usize,
        /// The token.
        token: String,
    },
    /// A merge across a blank, which CLIP's words never hold.
    #[error(
        "vocabulary, line {line}: the merge contains a blank (\u{120}), as GPT-2's do; \
         take the merges file of a CLIP model"
    )]
    Blank {
        /// Counted from 1.
        line: usize,
    },
    /// The tokenizer refused what passed the checks above.
    #[error("the vocabulary cannot be read: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
}

/// A merges file that passed all checks.
#[derive(Debug)]
pub(super) struct Merges<'a> {
    pub(super) pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Merges<'a> {
    /// Reads at most [`MOST_MERGES`] merges. A `#version` line comes first, then two pieces
    /// a line, where each piece is a byte's letter, one with `</w>`, or made by a line before.
    pub(super) fn parse(file: &'a str) -> Result<Self, VocabularyError> {
        let mut lines = file.trim_end().lines().zip(1..);
        let (header, _) = lines.next().unwrap_or_default();
        if !header.contains("#version") {
            return Err(VocabularyError::Header {
                found: beginning(header),
            });
        }
        let mut tokens: HashSet<String> = HashSet::new();
        for letter in byte_letters() {
            tokens.insert(format!("{letter}</w>"));
            tokens.insert(letter.into());
        }
        let mut pairs = Vec::new();
        for (text, line) in lines.take(MOST_MERGES) {
            let mut pieces = text.split_whitespace();
            let (Some(first), Some(second), None) = (pieces.next(), pieces.next(), pieces.next())
            else {
                return Err(VocabularyError::Line {
                    line,
                    found: beginning(text),
                });
            };
            if text.contains(BLANK) {
                return Err(VocabularyError::Blank { line });
            }
            if let Some(piece) = [first, second]
                .into_iter()
                .find(|&piece| !tokens.contains(piece))
            {
                return Err(VocabularyError::Piece {
                    line,
                    piece: beginning(piece),
                });
            }
            let token = [first, second].concat();
            if tokens.contains(&token) {
                return Err(VocabularyError::Duplicate {
                    line,
                    token: beginning(&token),
                });
            }
            tokens.insert(token);
            pairs.push((first, second));
        }
        Ok(Self { pairs })
    }

    /// The merges file of these pairs alone.
    pub(super) fn to_file(&self) -> String {
        let mut file = String::from("#version: 0.2\n");
        for (first, second) in &self.pairs {
            file.extend([first, " ", second, "\n"]);
        }
        file
    }

    /// Those merges that the tokens with these ids are made of, in their order.
    ///
    /// Byte pair encoding with them gives a text of these tokens the same ones again: at each
    /// step the merge of lowest rank that applies was applied, so it is among those kept, and
    /// what is left out could only have applied later or never.
    pub(super) fn used_by(self, ids: impl IntoIterator<Item = u32>) -> Self {
        let made: HashMap<String, usize> = self
            .pairs
            .iter()
            .enumerate()
            .map(|(index, (first, second))| ([*first, *second].concat(), index))
            .collect();
        let mut used = vec![false; self.pairs.len()];
        let mut open: Vec<usize> = ids
            .into_iter()
            .filter_map(|id| (id as usize).checked_sub(BYTE_TOKENS))
            .collect();
        while let Some(index) = open.pop() {
            // The two markers' ids lie behind the last merge.
            let Some(seen) = used.get_mut(index) else {
                continue;
            };
            if !std::mem::replace(seen, true) {
                let (first, second) = self.pairs[index];
                open.extend(
                    [first, second]
                        .into_iter()
                        .filter_map(|piece| made.get(piece)),
                );
            }
        }
        let mut kept = used.into_iter();
        let mut pairs = self.pairs;
        pairs.retain(|_| kept.next().unwrap_or(false));
        Self { pairs }
    }
}

/// The letter that stands for a blank, byte 0x20, in a merges file.
const BLANK: char = '\u{120}';

/// The letters that stand for the 256 bytes in a merges file: the printable ones of Latin-1
/// for themselves, the others from U+0100 on.
fn byte_letters() -> impl Iterator<Item = char> {
    let printable = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ');
    printable.chain('\u{100}'..'\u{144}')
}

fn beginning(text: &str) -> String {
    const LENGTH: usize = 40;
    text.chars().take(LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(file: &str) -> VocabularyError {
        Merges::parse(file).unwrap_err()
    }

    #[test]
    fn bytes_have_letters() {
        assert_eq!(byte_letters().collect::<HashSet<_>>().len(), 256);
    }

    #[test]
    fn openai_has_all_its_merges() {
        assert_eq!(Merges::parse(OPENAI).unwrap().pairs.len(), MOST_MERGES);
    }

    #[test]
    fn more_than_openais_merges_are_not_read() {
        let longer = format!("{OPENAI}this is not looked at\n");
        assert_eq!(Merges::parse(&longer).unwrap().pairs.len(), MOST_MERGES);
    }

    #[test]
    fn line_ends_do_not_matter() {
        let merges = Merges::parse("#version: 0.2\r\nt h\r\nth e</w>\r\n\r\n").unwrap();
        assert_eq!(merges.pairs, [("t", "h"), ("th", "e</w>")]);
        assert_eq!(merges.to_file(), "#version: 0.2\nt h\nth e</w>\n");
    }

    #[test]
    fn errors_name_the_line() {
        assert!(matches!(error(""), VocabularyError::Header { .. }));
        assert!(matches!(
            error("{\"model\": 1}"),
            VocabularyError::Header { .. }
        ));
        for (lines, expected) in [
            ("t h\nt", "line 3: \"t\""),
            ("t h\n\nt e", "line 3: \"\""),
            ("t h e", "line 2: \"t h e\""),
            ("th e", "line 2: \"th\""),
            ("t h\nt h", "line 3: makes \"th\""),
            ("t h\nh e\nth e\nt he", "line 5: makes \"the\""),
            ("Ġ t", "line 2: the merge contains a blank"),
            ("日 本", "line 2: \"日\""),
        ] {
            let message = error(&format!("#version: 0.2\n{lines}")).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
