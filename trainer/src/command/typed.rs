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

/// Options whose values are texts of the user's own: a slash in them separates nothing.
const TEXTS: [&str; 2] = ["--positive-start", "--negative-start"];

fn told(typed: &[String]) -> String {
    let mut arguments = Vec::new();
    let mut before = "";
    for argument in typed {
        let told = match argument.split_once('=') {
            Some((option, value)) if option.starts_with("--") => {
                format!("{option}={}", value_of(option, value))
            }
            _ => value_of(before, argument),
        };
        arguments.push(quoted(&told));
        before = argument;
    }
    if arguments.is_empty() {
        "cargo run --release -p trainer".into()
    } else {
        format!("cargo run --release -p trainer -- {}", arguments.join(" "))
    }
}

/// What a report says of the value of an option.
fn value_of(option: &str, value: &str) -> String {
    match option {
        // OWNER/NAME on the hub is said in full: it is public, and without its owner it names nothing.
        "--model" if matches!(Repository::named_by(Path::new(value)), Ok(Some(_))) => {
            value.to_owned()
        }
        "--ood" => match value.split_once('=') {
            Some((name, folder)) => format!("{name}={}", without_folders(folder)),
            None => without_folders(value),
        },
        text if TEXTS.contains(&text) => value.to_owned(),
        // Whatever else looks like a path may be one.
        _ => without_folders(value),
    }
}

/// `/home/ann/scenes` is `scenes`.
fn without_folders(value: &str) -> String {
    if !value.contains(std::path::is_separator) && !value.contains('\\') {
        return value.to_owned();
    }
    last_name(Path::new(&value.replace('\\', "/")))
}

/// As a shell takes it for one word, whatever it holds.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_left_out() {
        for (typed, expected) in [
            (&["--shots", "16"][..], "--shots 16"),
            (&["--data", "/home/ann/photos/known/"], "--data known"),
            (&["--data=/home/ann/my photos"], "'--data=my photos'"),
            (&["--data", "/home/ann/d=secret/known"], "--data known"),
            (&["--data=/home/ann/d=secret/known"], "--data=known"),
            (&["--ood", "scenes=../ann/scenes"], "--ood scenes=scenes"),
            (&["--ood=a&b=/home/ann/x=y/b"], "'--ood=a&b=b'"),
            (&["--data", "C:\\Users\\ann\\known"], "--data known"),
            (
                &["--positive-start", "a photo/picture of a"],
                "--positive-start 'a photo/picture of a'",
            ),
            (&["--negative-start=no/not"], "--negative-start=no/not"),
            (&["--data", "$HOME;x"], "--data '$HOME;x'"),
            (&["--ood", ""], "--ood ''"),
            (&["--data", "/home/ann/.."], "--data .."),
            (&["--out", "a;b&c<d>*#~"], "--out 'a;b&c<d>*#~'"),
        ] {
            let typed: Vec<String> = typed.iter().map(|&text| text.to_owned()).collect();
            let said = told(&typed);
            assert_eq!(
                said,
                format!("cargo run --release -p trainer -- {expected}")
            );
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
