//! Images with their captions.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::data::{self, Dataset};
use crate::output;

/// One line an image, as in Hugging Face's image folders.
const TABLE: &str = "metadata.jsonl";
/// Far more than a text tower reads.
const MAX_CAPTION_BYTES: u64 = 64 << 10;
/// Room for millions of captions.
const MAX_TABLE_BYTES: u64 = 1 << 30;

/// Images of one folder and what each shows.
pub struct Captioned {
    /// The images that have a caption.
    pub dataset: Dataset,
    /// By the name of the image.
    captions: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Line {
    file_name: String,
    text: String,
}

impl Captioned {
    /// Reads a folder in which every image has its caption beside it, `0001.jpg` and `0001.txt`, as
    /// img2dataset writes them, or in which `metadata.jsonl` holds them all
    /// (`{"file_name": "0001.jpg", "text": "…"}`). Images without a caption are left out.
    ///
    /// # Errors
    /// When a table cannot be read, or there are fewer than two images with a caption.
    pub fn open(folder: &Path) -> Result<Self> {
        output::require_folder(folder, "the images with captions")?;
        let mut dataset = data::open_unlabelled(folder)?;
        let table = folder.join(TABLE);
        let captions: HashMap<String, String> = if table.is_file() {
            read_table(&table)?
        } else {
            let mut captions = HashMap::new();
            for item in &dataset.items {
                let beside = item.path.with_extension("txt");
                if beside.is_file() {
                    let text = output::read_at_most(&beside, MAX_CAPTION_BYTES)?;
                    let text = String::from_utf8_lossy(&text).trim().to_owned();
                    captions.insert(item.name.clone(), text);
                }
            }
            captions
        };
        let said = |name: &str| {
            captions
                .get(name)
                .is_some_and(|text| !text.trim().is_empty())
        };
        let all = dataset.items.len();
        dataset.items.retain(|item| said(&item.name));
        let left_out = all - dataset.items.len();
        if dataset.items.len() < 2 {
            bail!(
                "{}: {} of {all} images have a caption, and at least two must: put a text file of the same name \
                 beside each (0001.jpg, 0001.txt), or {TABLE} with lines like {{\"file_name\": \"0001.jpg\", \
                 \"text\": \"a red bicycle\"}}",
                folder.display(),
                dataset.items.len()
            );
        }
        // Text files are what belongs here beside the images.
        dataset.warnings.clear();
        if left_out > 0 {
            dataset.warnings.push(format!(
                "{left_out} of {all} images have no caption and are left out"
            ));
        }
        Ok(Self { dataset, captions })
    }

    /// The caption of an image; empty for one that is not among them.
    pub fn caption(&self, name: &str) -> &str {
        self.captions.get(name).map_or("", |text| text.trim())
    }
}

fn read_table(path: &Path) -> Result<HashMap<String, String>> {
    let text = String::from_utf8(output::read_at_most(path, MAX_TABLE_BYTES)?)
        .with_context(|| format!("{} is no UTF-8 text: save it as UTF-8", path.display()))?;
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let line: Line = serde_json::from_str(line).with_context(|| {
                format!(
                    "{}, line {}: expected {{\"file_name\": …, \"text\": …}}",
                    path.display(),
                    number + 1
                )
            })?;
            Ok((data::name_text(line.file_name.as_ref()), line.text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_images::put;

    #[test]
    fn captions_are_beside_the_images_or_in_one_table() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "deep/b.png", "c.png"] {
            put(&folder.path().join(name), 1);
        }
        std::fs::write(folder.path().join("a.txt"), "a red bicycle\n").unwrap();
        let error = Captioned::open(folder.path()).err().unwrap().to_string();
        assert!(
            error.contains("1 of 3 images") && error.contains(TABLE),
            "{error}"
        );

        std::fs::write(folder.path().join("deep/b.txt"), "two dogs").unwrap();
        let pairs = Captioned::open(folder.path()).unwrap();
        assert_eq!(pairs.dataset.items.len(), 2);
        assert_eq!(pairs.caption("a.png"), "a red bicycle");
        assert_eq!(pairs.caption("deep/b.png"), "two dogs");
        assert!(pairs.dataset.warnings[0].contains("1 of 3"));

        let table = folder.path().join(TABLE);
        let lines = "{\"file_name\": \"c.png\", \"text\": \"x\"}\n{\"file_name\": \"a.png\", \"text\": \"y\"}\n";
        std::fs::write(&table, lines).unwrap();
        assert_eq!(
            Captioned::open(folder.path()).unwrap().caption("c.png"),
            "x"
        );
        std::fs::write(&table, "{\"file_name\": 1}\n").unwrap();
        let error = format!("{:#}", Captioned::open(folder.path()).err().unwrap());
        assert!(error.contains("line 1"), "{error}");
    }
}
