//! Class names as a person types them.

use std::collections::HashSet;

/// Most classes that the page takes.
pub const MOST_CLASSES: usize = 2_000;
/// Longest name, in characters.
pub const LONGEST_NAME: usize = 120;

/// Why a list cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClassListError {
    /// No name, or one only.
    #[error("write at least two names, one a line: with fewer there is nothing to tell apart")]
    TooFew,
    /// More than [`MOST_CLASSES`].
    #[error("{0} names are more than the {MOST_CLASSES} that this page takes; shorten the list")]
    TooMany(usize),
    /// Longer than [`LONGEST_NAME`].
    #[error("“{0}…” is longer than {LONGEST_NAME} characters; shorten the name")]
    TooLong(String),
}

/// The names in `text`, one a line, blanks trimmed, empty lines and repetitions left out.
///
/// # Errors
/// A list too short or too long, or a name too long.
pub fn parse(text: &str) -> Result<Vec<String>, ClassListError> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for line in text.lines() {
        let name = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if name.chars().count() > LONGEST_NAME {
            return Err(ClassListError::TooLong(name.chars().take(24).collect()));
        }
        if !name.is_empty() && seen.insert(name.to_lowercase()) {
            names.push(name);
        }
    }
    match names.len() {
        0 | 1 => Err(ClassListError::TooFew),
        count if count > MOST_CLASSES => Err(ClassListError::TooMany(count)),
        _ => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_repetitions_go() {
        assert_eq!(
            parse("  grand   piano\n\nCup\ncup \nlamp").unwrap(),
            ["grand piano", "Cup", "lamp"]
        );
        assert_eq!(parse("cup\n\n"), Err(ClassListError::TooFew));
        assert!(matches!(
            parse(&"x".repeat(200)),
            Err(ClassListError::TooLong(_))
        ));
        let many: Vec<String> = (0..3000).map(|index| format!("name {index}")).collect();
        assert_eq!(parse(&many.join("\n")), Err(ClassListError::TooMany(3000)));
    }
}
