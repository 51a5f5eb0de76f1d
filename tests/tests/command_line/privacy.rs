//! What is passed on says nothing of the photos but their names: no folder above the one that was
//! named, and nothing that a camera or a program wrote into the files.

use std::fs;
use std::path::Path;

use super::{COLOURS, Place, trainer};

/// In the metadata of every photo.
const ARTIST: &str = "Ann-Canary";
const COMMENT: &str = "taken at 48.2082 N 16.3738 E";
/// A folder that is nobody's business.
const HOME: &str = "Ann at home";

#[test]
fn what_is_passed_on_names_photos_and_nothing_else_of_them() {
    let place = Place::new();
    let known = place.path(&format!("{HOME}/pictures/known"));
    let other = place.path(&format!("{HOME}/pictures/other"));
    for (class, colour) in COLOURS {
        for number in 0..8u8 {
            photo(&format!("{known}/{class}/{number}.jpg"), colour, number);
        }
    }
    // A table names its photos by whole paths.
    let mut table = String::from("path\n");
    for number in 0..4u8 {
        let path = format!("{other}/stranger {number}.jpg");
        // Taken for a class that is known, so that the report lists it among the mistakes.
        photo(&path, COLOURS[0].1, number);
        table.push_str(&format!("{path}\n"));
    }
    let table = place.write("strangers.csv", table.as_bytes());

    let (run, exported) = (place.path("run"), place.path("exported"));
    let few = "--device cpu --shots 2 --positive-steps 2 --negative-steps 2 --label-pool 60";
    let few: Vec<&str> = few.split_whitespace().collect();
    let (folder, list) = (format!("other={other}"), format!("listed={table}"));
    let learn = ["--data", &known, "--ood", &folder, "--ood", &list];
    trainer(&[&["train", "--out", &run][..], &learn, &few].concat()).success();
    let bundle = format!("{run}/bundle");
    trainer(&["export", &bundle, "--out", &exported]).success();
    let (json, html) = (place.path("table.json"), place.path("table.html"));
    let measure = ["eval", "--bundle", &bundle, "--id", &known, "--ood", &list];
    trainer(&[&measure[..], &["--json", &json, "--html", &html]].concat()).success();
    let suite = place.path("suite");
    let bench = ["bench", "--out", &suite, "--seeds", "0"];
    trainer(&[&bench[..], &learn, &few].concat()).success();

    let mut checked = Vec::new();
    for file in ["report.json", "report.html"] {
        checked.push(format!("{run}/{file}"));
        checked.push(format!("{suite}/{file}"));
    }
    checked.extend([json, html, format!("{suite}/table.tex")]);
    let figures = [&run, &suite].map(|folder| format!("{folder}/figures"));
    for folder in [&bundle, &exported, &figures[0], &figures[1]] {
        for entry in fs::read_dir(folder).unwrap() {
            checked.push(entry.unwrap().path().to_str().unwrap().to_owned());
        }
    }
    assert!(checked.len() >= 27, "{checked:?}");
    let temporary = place.path("");
    let temporary = Path::new(&temporary).file_name().unwrap();
    for path in &checked {
        let bytes = fs::read(path).unwrap();
        for secret in [
            HOME,
            ARTIST,
            COMMENT,
            temporary.to_str().unwrap(),
            "/pictures",
        ] {
            assert!(!contains(&bytes, secret), "{path} holds `{secret}`");
        }
    }
    // The names themselves are there: the mistakes of the suite.
    let report = fs::read(format!("{suite}/report.json")).unwrap();
    assert!(contains(&report, "\"stranger ") && contains(&report, ".jpg\""));
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// A photo with the name of who took it (EXIF) and a comment.
fn photo(path: &str, colour: [u8; 3], number: u8) {
    let picture = image::RgbImage::from_fn(40, 40, |x, y| {
        image::Rgb(colour.map(|level| level.saturating_add(((x + y) as u8 ^ number) % 24)))
    });
    let mut encoded = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut encoded, image::ImageFormat::Jpeg)
        .unwrap();
    let encoded = encoded.into_inner();
    // One entry: tag 315 (artist), text, behind the table.
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x3b\x01\x02\0".to_vec();
    exif.extend((ARTIST.len() as u32 + 1).to_le_bytes());
    exif.extend(26u32.to_le_bytes());
    exif.extend(0u32.to_le_bytes());
    exif.extend(ARTIST.bytes().chain([0]));
    let mut bytes = encoded[..2].to_vec();
    for (marker, content) in [(0xe1, &exif[..]), (0xfe, COMMENT.as_bytes())] {
        bytes.extend([0xff, marker]);
        bytes.extend((content.len() as u16 + 2).to_be_bytes());
        bytes.extend_from_slice(content);
    }
    bytes.extend_from_slice(&encoded[2..]);
    assert!(contains(&bytes, ARTIST) && contains(&bytes, COMMENT));
    fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
