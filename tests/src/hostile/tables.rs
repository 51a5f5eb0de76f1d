//! Tables of images with one thing wrong, and the names of synsets.

use super::Outcome::{Either, Refused, Used};
use super::{Case, Outcome};

/// A small picture for the rows to point to.
fn with_picture(name: &str, file: &str, bytes: Vec<u8>, outcome: Outcome) -> Case {
    let picture = super::images::whole()[0].1.clone();
    Case {
        name: name.to_owned(),
        files: vec![(file.to_owned(), bytes), ("a.png".to_owned(), picture)],
        outcome,
    }
}

/// All cases; the table is the first file.
pub fn cases() -> Vec<Case> {
    let csv = |name: &str, text: &str, outcome| {
        with_picture(name, "table.csv", text.as_bytes().to_vec(), outcome)
    };
    let lines = |name: &str, text: &str, outcome| {
        with_picture(name, "table.jsonl", text.as_bytes().to_vec(), outcome)
    };
    let bytes = |name: &str, file: &str, bytes: &[u8], outcome| {
        with_picture(name, file, bytes.to_vec(), outcome)
    };
    let many: String = (0..60_000).map(|n| format!("a.png,class {n}\n")).collect();
    let row = "{\"path\":\"a.png\",\"label\":\"cat\"}";
    vec![
        csv("csv-whole", "path,label\na.png,cat\na.png,dog\n", Used),
        csv("csv-empty", "", Refused(&["no column `path`"])),
        csv("csv-header-only", "path,label\n", Refused(&["no row"])),
        csv(
            "csv-without-header",
            "a.png,cat\n",
            Refused(&["no column `path`"]),
        ),
        csv(
            "csv-without-label",
            "path\na.png\n",
            Refused(&["no classes", "no class"]),
        ),
        csv(
            "csv-with-one-class",
            "path,label\na.png,cat\n",
            Refused(&["one class only"]),
        ),
        csv(
            "csv-with-empty-path",
            "path,label\n,cat\n",
            Refused(&["the path is empty"]),
        ),
        csv(
            "csv-of-absent-images",
            "path,label\nb.png,cat\n",
            Refused(&["relative paths"]),
        ),
        csv(
            "csv-with-unknown-split",
            "path,label,split\na.png,cat,maybe\n",
            Refused(&["is no split"]),
        ),
        csv(
            "csv-with-an-open-quote",
            "path,label\n\"a.png,cat\n",
            Refused(&["relative paths", "no class"]),
        ),
        csv(
            "csv-with-a-null",
            "path,label\na\0b.png,cat\na\0b.png,dog\n",
            Refused(&["relative paths"]),
        ),
        csv(
            "csv-of-ragged-rows",
            "path,label\na.png\na.png,cat,dog,bird\na.png,cow\n",
            Either,
        ),
        csv(
            "csv-of-sixty-thousand-classes",
            &format!("path,label\n{many}"),
            Refused(&["a bundle holds"]),
        ),
        csv(
            "csv-with-a-name-of-a-megabyte",
            &format!("path,label\na.png,{}\na.png,dog\n", "x".repeat(1 << 20)),
            Refused(&["has a name of"]),
        ),
        csv(
            "csv-with-a-path-of-a-megabyte",
            &format!("path,label\n{}.png,cat\n", "x".repeat(1 << 20)),
            Refused(&["relative paths"]),
        ),
        csv(
            "csv-with-a-million-columns",
            &format!("path,label\na.png,cat{}\n", ",".repeat(1 << 20)),
            Refused(&["one class only"]),
        ),
        csv(
            "csv-that-leads-out",
            "path,label\n../../../../etc/hostname,cat\n/dev/zero,dog\n/dev/stdin,dog\n",
            Refused(&["can be read", "relative paths"]),
        ),
        csv(
            "csv-of-the-table-itself",
            "path,label\ntable.csv,cat\ntable.csv,dog\n",
            Refused(&["can be read"]),
        ),
        bytes(
            "csv-no-utf8",
            "table.csv",
            b"path,label\n\xff\xfe.png,cat\n",
            Refused(&["UTF-8"]),
        ),
        bytes(
            "csv-in-utf16",
            "table.csv",
            b"\xff\xfep\0a\0t\0h\0\n\0",
            Refused(&["UTF-8", "no column"]),
        ),
        bytes(
            "csv-of-zeros",
            "table.csv",
            &[0; 100_000],
            Refused(&["no column `path`"]),
        ),
        bytes(
            "csv-that-is-a-picture",
            "table.csv",
            &super::images::whole()[0].1,
            Refused(&["UTF-8", "no column"]),
        ),
        lines(
            "jsonl-whole",
            &format!("{row}\n{}\n", row.replace("cat", "dog")),
            Used,
        ),
        lines("jsonl-empty", "", Refused(&["no row"])),
        lines("jsonl-of-blanks", "\n\n \n", Refused(&["no row"])),
        lines("jsonl-no-json", "hello\n", Refused(&["line 1"])),
        lines(
            "jsonl-of-a-list",
            &format!("[{row}]\n"),
            Refused(&["line 1"]),
        ),
        lines(
            "jsonl-cut",
            &format!("{row}\n{}", &row[..12]),
            Refused(&["line 2"]),
        ),
        lines(
            "jsonl-without-path",
            "{\"label\":\"cat\"}\n",
            Refused(&["line 1"]),
        ),
        lines(
            "jsonl-path-is-a-number",
            "{\"path\":7}\n",
            Refused(&["line 1"]),
        ),
        lines(
            "jsonl-label-is-an-object",
            "{\"path\":\"a.png\",\"label\":{}}\n",
            Refused(&["line 1"]),
        ),
        lines(
            "jsonl-label-beyond-counting",
            "{\"path\":\"a.png\",\"label\":1e400}\n",
            Refused(&["line 1"]),
        ),
        lines(
            "jsonl-nested",
            &format!("{{\"path\":{}\n", "[".repeat(100_000)),
            Refused(&["line 1"]),
        ),
        lines(
            "jsonl-of-one-line-without-end",
            &"x".repeat(3 << 20),
            Refused(&["longer than"]),
        ),
        lines(
            "jsonl-with-a-path-twice",
            "{\"path\":\"a.png\",\"path\":\"b.png\"}\n",
            Refused(&["line 1"]),
        ),
        bytes(
            "jsonl-no-utf8",
            "table.jsonl",
            b"{\"path\":\"\xff\"}\n",
            Refused(&["UTF-8", "line 1"]),
        ),
        bytes(
            "table-of-no-known-kind",
            "table.xlsx",
            b"PK\x03\x04",
            Refused(&["no data that can be read"]),
        ),
        bytes(
            "table-without-extension",
            "table",
            b"path,label\n",
            Refused(&["no data that can be read"]),
        ),
        synsets(
            "synsets-without-names",
            None,
            Refused(&["no file that names the synsets"]),
        ),
        synsets(
            "synsets-of-no-names",
            Some(b"hello\n"),
            Refused(&["names no synset"]),
        ),
        synsets(
            "synsets-no-utf8",
            Some(b"n01440764 \xff\xfe\n"),
            Refused(&["UTF-8"]),
        ),
        synsets(
            "synsets-with-one-name",
            Some(b"n01440764 tench, Tinca tinca\n"),
            Used,
        ),
    ]
}

/// Two folders named by synset, and a file that names them.
fn synsets(name: &str, names: Option<&[u8]>, outcome: Outcome) -> Case {
    let picture = super::images::whole()[0].1.clone();
    let mut files = vec![
        ("n01440764/a.png".to_owned(), picture.clone()),
        ("n01443537/a.png".to_owned(), picture),
    ];
    if let Some(names) = names {
        files.push(("synset_words.txt".to_owned(), names.to_vec()));
    }
    Case {
        name: name.to_owned(),
        files,
        outcome,
    }
}
