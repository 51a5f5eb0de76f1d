//! The command line as a report repeats it.

use std::path::Path;

use crate::output::last_name;

/// The command that started this run. Of a path it says the last part: a report is passed on, and
/// where somebody keeps their photos is nobody's business.
pub fn command_line() -> String {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .map(|argument| quoted(&without_folders(&argument)))
        .collect();
    if arguments.is_empty() {
        "cargo run --release -p trainer".into()
    } else {
        format!("cargo run --release -p trainer -- {}", arguments.join(" "))
    }
}

/// `scenes=/home/ann/scenes` is `scenes=scenes`.
fn without_folders(argument: &str) -> String {
    let (before, value) = match argument.split_once('=') {
        Some((name, value)) => (format!("{name}="), value),
        None => (String::new(), argument),
    };
    if !value.contains(std::path::is_separator) && !value.contains('\\') {
        return argument.to_owned();
    }
    let value = value.replace('\\', "/");
    format!("{before}{}", last_name(Path::new(&value)))
}

fn quoted(argument: &str) -> String {
    if argument.contains(|c: char| c.is_whitespace() || c == '\'') {
        format!("'{}'", argument.replace('\'', "'\\''"))
    } else {
        argument.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_left_out() {
        for (typed, told) in [
            ("--shots", "--shots"),
            ("16", "16"),
            ("/home/ann/photos/known/", "known"),
            ("--data=/home/ann/my photos", "--data=my photos"),
            ("scenes=../ann/scenes", "scenes=scenes"),
            ("C:\\Users\\ann\\known", "known"),
        ] {
            assert_eq!(without_folders(typed), told);
        }
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert!(command_line().starts_with("cargo run --release -p trainer"));
    }
}
