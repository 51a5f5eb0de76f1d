//! Which files of a folder, or of a repository on the hub, make up a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::model::{CONFIG_FILE, IMAGE_FILE, MODEL};

/// A configuration, and weight files by the names that go with it, best first. open_clip comes
/// first: its repositories often hold the same model for `transformers` or timm as well, and timm's
/// `model.safetensors` is no CLIP.
static LAYOUTS: [(&str, &[&str]); 2] = [
    (
        OPEN_CLIP_CONFIG,
        &["open_clip_model.safetensors", "open_clip_pytorch_model.bin"],
    ),
    (
        TRANSFORMERS_CONFIG,
        &["model.safetensors", "pytorch_model.bin"],
    ),
];

pub const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
pub const TRANSFORMERS_CONFIG: &str = "config.json";
/// What a `transformers` model does with images; it need not be there.
pub const PREPROCESSOR_CONFIG: &str = "preprocessor_config.json";

/// What follows a weight file's name where it was split into shards.
const INDEX: &str = ".index.json";

/// Endings of files that may hold weights.
const ENDINGS: [&str; 4] = [".safetensors", ".pt", ".pth", ".bin"];

/// The files of one checkpoint, by their bare names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFiles {
    /// None where the configuration follows from the tensors.
    pub configuration: Option<String>,
    pub preprocessor: Option<String>,
    pub weights: WeightFiles,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightFiles {
    One(String),
    /// Shards, listed in the index file of this name.
    Sharded(String),
}

impl CheckpointFiles {
    /// Chooses among `names`, those of the files in `place`; `place` is for messages only.
    ///
    /// # Errors
    /// When none of them, or more than one, could be the weights.
    pub fn choose(names: &[String], place: &str) -> Result<Self> {
        let has = |name: &str| names.iter().any(|there| there == name);
        let weights_named = |name: &str| {
            let index = format!("{name}{INDEX}");
            if has(name) {
                Some(WeightFiles::One(name.to_owned()))
            } else {
                has(&index).then_some(WeightFiles::Sharded(index))
            }
        };
        let (with_config, without): (Vec<_>, Vec<_>) =
            LAYOUTS.iter().partition(|(config, _)| has(config));
        let known = with_config
            .iter()
            .chain(&without)
            .find_map(|(_, weights)| weights.iter().find_map(|name| weights_named(name)));
        let weights = match known {
            Some(weights) => weights,
            None => WeightFiles::One(only_candidate(names, place)?),
        };
        Ok(Self::of(weights, names))
    }

    /// Whether the weights bear one of the names under which CLIP is published, so that they belong to the
    /// configuration beside them. EfficientNet-Lite has names of its own and no configuration.
    pub fn are_named_as_clip(&self) -> bool {
        let (WeightFiles::One(file) | WeightFiles::Sharded(file)) = &self.weights;
        let file = file.trim_end_matches(INDEX);
        LAYOUTS.iter().any(|(_, names)| names.contains(&file))
    }

    /// The checkpoint with these weights, and the configuration that lies beside them.
    pub fn of(weights: WeightFiles, names: &[String]) -> Self {
        let has = |name: &str| names.iter().any(|there| there == name);
        let (WeightFiles::One(file) | WeightFiles::Sharded(file)) = &weights;
        let file = file.trim_end_matches(INDEX);
        let own = LAYOUTS
            .iter()
            .find(|(config, files)| files.contains(&file) && has(config));
        let configuration = own
            .or_else(|| LAYOUTS.iter().find(|(config, _)| has(config)))
            .map(|(config, _)| (*config).to_owned());
        let preprocessor = (configuration.as_deref() == Some(TRANSFORMERS_CONFIG)
            && has(PREPROCESSOR_CONFIG))
        .then(|| PREPROCESSOR_CONFIG.to_owned());
        Self {
            configuration,
            preprocessor,
            weights,
        }
    }
}

fn only_candidate(names: &[String], place: &str) -> Result<String> {
    let has = |name: &str| names.iter().any(|there| there == name);
    let mut candidates: Vec<_> = names
        .iter()
        .filter(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)))
        .collect();
    candidates.sort();
    // As `import`, `lit` and `clipn` write them, with one tower or several.
    let all = names.iter().cloned().collect();
    let is_own = |name: &&String| (MODEL.holds)(name, &all);
    if has(CONFIG_FILE) && has(IMAGE_FILE) && candidates.iter().all(is_own) {
        bail!(
            "{place} is a model directory already, which needs no import: give the folder to --model"
        );
    }
    match candidates.as_slice() {
        [only] => Ok((*only).clone()),
        [] => bail!(
            "{place} holds no checkpoint: expected {} (as `transformers` and open_clip write them), or one .safetensors, .pt, .pth or .bin file",
            LAYOUTS.map(|(_, files)| files.join(", ")).join(", ")
        ),
        many => bail!(
            "{place} holds {} files that could be the checkpoint: give the file itself ({})",
            many.len(),
            many.iter()
                .map(|name| name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// What the index of a sharded checkpoint says: for each weight the file that holds it.
#[derive(serde::Deserialize)]
pub struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads the index; `place` names it in messages.
    ///
    /// # Errors
    /// Not an index, or one that names a file outside its folder.
    pub fn parse(json: &[u8], place: &str) -> Result<Self> {
        let index: Self = serde_json::from_slice(json)
            .with_context(|| format!("{place} does not say which file holds which weight"))?;
        ensure!(
            !index.weight_map.is_empty(),
            "{place} names no weight: fetch it again"
        );
        for name in index.weight_map.values() {
            let bare = Path::new(name).file_name();
            ensure!(
                bare.is_some_and(|bare| bare == name.as_str()),
                "{place} names the file `{name}` outside its folder"
            );
        }
        Ok(index)
    }

    /// The shards, each once, in order.
    pub fn shards(&self) -> Vec<String> {
        let mut names: Vec<_> = self.weight_map.values().cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// Fails when a weight that the index lists is in none of the shards.
    pub fn require(&self, found: impl Fn(&str) -> bool) -> Result<()> {
        match self.weight_map.iter().find(|(weight, _)| !found(weight)) {
            None => Ok(()),
            Some((weight, shard)) => {
                bail!(
                    "`{weight}` should be in {shard} and is not: the shards are of different versions, fetch them all again"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(names: &[&str]) -> Result<CheckpointFiles> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        CheckpointFiles::choose(&names, "the place")
    }

    fn chosen(names: &[&str]) -> (Option<String>, WeightFiles) {
        let files = choose(names).unwrap();
        (files.configuration, files.weights)
    }

    fn one(name: &str) -> WeightFiles {
        WeightFiles::One(name.to_owned())
    }

    #[test]
    fn repositories_on_the_hub_are_understood() {
        // openai/clip-vit-base-patch16
        let openai = [
            "config.json",
            "flax_model.msgpack",
            "preprocessor_config.json",
            "pytorch_model.bin",
            "tf_model.h5",
        ];
        let files = choose(&openai).unwrap();
        assert_eq!(files.configuration.as_deref(), Some("config.json"));
        assert_eq!(
            files.preprocessor.as_deref(),
            Some("preprocessor_config.json")
        );
        assert_eq!(files.weights, one("pytorch_model.bin"));
        // timm's: model.safetensors there is the image tower alone, under other names.
        let timm = [
            "config.json",
            "model.safetensors",
            "open_clip_config.json",
            "open_clip_model.safetensors",
            "pytorch_model.bin",
        ];
        let open_clip = (
            Some("open_clip_config.json".to_owned()),
            one("open_clip_model.safetensors"),
        );
        assert_eq!(chosen(&timm), open_clip);
        // An open_clip configuration beside weights for `transformers` alone.
        let mixed = ["config.json", "model.safetensors", "open_clip_config.json"];
        assert_eq!(
            chosen(&mixed),
            (Some("config.json".to_owned()), one("model.safetensors"))
        );
        let sharded = ["config.json", "model.safetensors.index.json"];
        let index = WeightFiles::Sharded("model.safetensors.index.json".to_owned());
        assert_eq!(chosen(&sharded).1, index);
        assert_eq!(chosen(&["README.md", "RN50.pt"]), (None, one("RN50.pt")));
        assert!(choose(&sharded).unwrap().are_named_as_clip());
        let own = choose(&["config.json", "lite0.pth"]).unwrap();
        assert!(!own.are_named_as_clip());
    }

    #[test]
    fn what_cannot_be_chosen_is_listed() {
        let error = choose(&["a.pt", "b.pt"]).unwrap_err().to_string();
        assert!(error.contains("a.pt, b.pt"), "{error}");
        let error = choose(&["README.md"]).unwrap_err().to_string();
        assert!(
            error.contains("the place holds no checkpoint") && error.contains("pytorch_model.bin"),
            "{error}"
        );
    }

    #[test]
    fn a_model_directory_is_known() {
        let image = ["config.json", "image.safetensors", "MODEL_CARD.md"];
        let text = ["text.safetensors", "vocabulary.txt"];
        let more = ["no_text.safetensors", "classifier.safetensors"];
        for names in [
            &image[..],
            &[&image[..], &text].concat(),
            &[&image[..], &text, &more].concat(),
        ] {
            let error = choose(names).unwrap_err().to_string();
            assert!(error.contains("is a model directory already"), "{error}");
        }
        assert_eq!(chosen(&image[1..]).1, one("image.safetensors"));
        let error = choose(&[&image[..], &["own.pt"]].concat()).unwrap_err();
        assert!(error.to_string().contains("give the file itself"));
    }

    #[test]
    fn an_index_names_files_of_its_own_folder() {
        let parse = |file: &str| {
            let json = format!(r#"{{"weight_map": {{"a": "{file}", "b": "{file}"}}}}"#);
            ShardIndex::parse(json.as_bytes(), "the index")
        };
        assert_eq!(
            parse("x-1.safetensors").unwrap().shards(),
            ["x-1.safetensors"]
        );
        for outside in ["../x", "/etc/passwd", "a/b", ".."] {
            assert!(parse(outside).is_err(), "{outside}");
        }
        let index = parse("x").unwrap();
        index.require(|_| true).unwrap();
        let error = index.require(|weight| weight == "a").unwrap_err();
        assert!(error.to_string().contains("`b` should be in x"), "{error}");
    }
}
