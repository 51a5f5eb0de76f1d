//! Out-of-distribution sets as the command line names them: `NAME=DIR`.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use shared::bundle::MAX_SERIES;

/// Names that the tables and charts have for something else.
const TAKEN: &[&str] = &["average", "in-distribution"];

/// Reads `NAME=DIR`.
///
/// # Errors
/// What the command line says of another text.
pub fn parse_set(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.trim().is_empty() && !path.is_empty() => {
            Ok((name.trim().to_owned(), PathBuf::from(path)))
        }
        _ => {
            Err("write a name, an equals sign and a folder: --ood textures=photos/textures".into())
        }
    }
}

/// Checks that each set has a row, a column and a curve of its own, before any image is read.
///
/// # Errors
/// Naming the set whose name is taken, or how many sets there may be.
pub fn check_set_names(sets: &[(String, PathBuf)]) -> Result<()> {
    // The in-distribution images are a series as well.
    let most = MAX_SERIES - 1;
    ensure!(
        sets.len() <= most,
        "{} sets are given as --ood, and a chart has room for {most}: leave some out, or put several in one folder",
        sets.len()
    );
    for (place, (name, _)) in sets.iter().enumerate() {
        ensure!(
            !TAKEN.iter().any(|taken| name.eq_ignore_ascii_case(taken)),
            "no set can be called `{name}`, which the tables call something else: give this --ood another name"
        );
        ensure!(
            !sets[..place].iter().any(|(other, _)| other == name),
            "two sets are called `{name}`: give each --ood a name of its own"
        );
        if let Some((other, _)) = sets[..place]
            .iter()
            .find(|(other, _)| file_name(other) == file_name(name))
        {
            bail!(
                "the sets `{other}` and `{name}` would be kept in one file: give one --ood another name, which differs in letters or digits"
            );
        }
    }
    Ok(())
}

/// A set's name as part of a file name.
pub fn file_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_a_name_and_a_folder() {
        assert_eq!(parse_set("a=b=c"), Ok(("a".into(), "b=c".into())));
        for wrong in ["photos", "=photos", " =photos", "a="] {
            assert!(parse_set(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_set_has_a_name_of_its_own() {
        let told = |names: &[&str]| {
            let sets: Vec<_> = names
                .iter()
                .map(|name| ((*name).to_owned(), PathBuf::from("x")))
                .collect();
            check_set_names(&sets).map_err(|error| error.to_string())
        };
        told(&[]).unwrap();
        told(&["scenes", "textures"]).unwrap();
        for (names, said) in [
            (&["scenes", "scenes"][..], "two sets are called `scenes`"),
            (&["Average"], "`Average`"),
            (&["in-distribution"], "`in-distribution`"),
            (&["a b", "a_b"], "`a b` and `a_b` would be kept in one file"),
        ] {
            let error = told(names).unwrap_err();
            assert!(error.contains(said) && error.contains("--ood"), "{error}");
        }
        let many: Vec<String> = (0..64).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        told(&many[1..]).unwrap();
        assert!(told(&many).unwrap_err().contains("room for 63"));
    }
}
