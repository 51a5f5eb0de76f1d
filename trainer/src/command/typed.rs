//! The command line as a report repeats it.

use std::path::Path;

use crate::hub::Repository;
use crate::output::last_name;

/// The command that started this run. Of a path it says the last part: a report is passed on, and
/// where somebody keeps their photos is nobody's business.
pub fn command_line() -> String {
    // Text that is not UTF-8 is shown as well as it can be.
    let typed: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    told(&typed)
}

fn told(typed: &[String]) -> String {
    let mut arguments = Vec::new();
    let mut before = "";
    for argument in typed {
        arguments.push(quoted(&match before == "--model" {
            true => model(argument),
            false => without_folders(argument),
        }));
        before = argument;
    }
    if arguments.is_empty() {
        "cargo run --release -p trainer".into()
    } else {
        format!("cargo run --release -p trainer -- {}", arguments.join(" "))
    }
}

/// `scenes=/home/ann/scenes` is `scenes=scenes`.
fn without_folders(argument: &str) -> String {
    let (before, value) = match argument.split_once('=') {
        Some(("--model", value)) => return format!("--model={}", model(value)),
        Some((name, value)) => (format!("{name}="), value),
        None => (String::new(), argument),
    };
    if !value.contains(std::path::is_separator) && !value.contains('\\') {
        return argument.to_owned();
    }
    let value = value.replace('\\', "/");
    format!("{before}{}", last_name(Path::new(&value)))
}

/// OWNER/NAME on the hub is said in full: it is public, and without its owner it names nothing.
fn model(value: &str) -> String {
    match Repository::named_by(Path::new(value)) {
        Some(_) => value.to_owned(),
        None => without_folders(value),
    }
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
        let typed = |arguments: &[&str]| {
            let typed: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
            told(&typed)
        };
        let hub = "openai/clip-vit-base-patch16";
        assert!(typed(&["train", "--model", hub]).ends_with(&format!("train --model {hub}")));
        let joined = format!("--model={hub}");
        assert!(typed(&["train", &joined]).ends_with(&joined));
        assert!(typed(&["train", "--model", "/home/ann/models/own"]).ends_with("--model own"));
        assert!(typed(&["train", "--data", hub]).ends_with("--data clip-vit-base-patch16"));
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert!(command_line().starts_with("cargo run --release -p trainer"));
    }
}
