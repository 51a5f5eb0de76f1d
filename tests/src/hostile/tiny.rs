//! The smallest CLIP that goes through every command, with random weights: a model directory, a
//! checkpoint and a bundle to damage.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use shared::bundle::{
    self, BundleContent, Figures, KnownAnswer, KnownInput, MethodEntry, Precision, PromptEntry,
    Provenance, Role, TensorGroup, TensorValues, Tensors, TextFile, encode_tensors,
    generated_pixels, tensor_name,
};
use shared::clip::config::VitConfig;
use shared::clip::{ClipConfig, ImageTowerConfig, Preprocessing, TextTowerConfig, Tokenizer};
use shared::score::{ClassFeatures, ImageFeatures, Probe, methods, score_all};

use super::Damage;
use crate::large::{image_feature, mean_patch};

/// Joint width.
pub const WIDTH: usize = 16;
/// The classes of [`bundle()`].
pub const CLASSES: [&str; 3] = ["blue", "green", "red"];
const NEGATIVES: usize = 2;
/// Mined labels: more than one group of NegLabel's.
const LABELS: usize = 120;
const CONTEXT: usize = 2;
const STREAM: usize = 32;

/// What the tower's vocabulary is pruned to.
const WORDS: &str = "a photo of a blue green red yellow sky grass rose sun .";

/// The merges of the tiny vocabulary.
pub fn vocabulary() -> String {
    // Every case is a copy of the same files: what is slow to make is made once.
    static MERGES: LazyLock<String> = LazyLock::new(|| {
        Tokenizer::prune(Tokenizer::openai_merges(), [WORDS]).expect("OpenAI's merges")
    });
    MERGES.clone()
}

/// The configuration.
pub fn config() -> ClipConfig {
    let tokenizer = Tokenizer::from_vocabulary(&vocabulary()).expect("a pruned vocabulary");
    ClipConfig {
        name: "tiny".to_owned(),
        embed_dim: WIDTH,
        logit_scale: 20.0,
        image: ImageTowerConfig::Vit(VitConfig {
            image_size: 32,
            patch_size: 16,
            ..VitConfig::openai(32, 16, STREAM, 1)
        })
        .with_one_head(),
        text: TextTowerConfig {
            context_length: 24,
            vocabulary_size: tokenizer.vocabulary_size(),
            layers: 1,
            heads: 1,
            ..TextTowerConfig::openai(STREAM)
        },
        preprocessing: Preprocessing::openai(32),
    }
}

trait WithOneHead {
    fn with_one_head(self) -> Self;
}

impl WithOneHead for ImageTowerConfig {
    fn with_one_head(mut self) -> Self {
        if let Self::Vit(vit) = &mut self {
            vit.heads = 1;
        }
        self
    }
}

/// Random weights of both towers in canonical naming, which is that of OpenAI's state dicts.
pub fn weights() -> Tensors {
    let mut random = Damage::new(7);
    let mut tensors = Tensors::new();
    let vocabulary = config().text.vocabulary_size;
    let mut put = |name: String, shape: &[usize]| {
        let around = if name.ends_with("weight") && shape.len() == 1 {
            1.0
        } else {
            0.0
        };
        tensors.insert(name, random_tensor(&mut random, shape, around));
    };
    for (tower, tokens) in [("visual.", 5), ("", 24)] {
        let block = format!("{tower}transformer.resblocks.0");
        for (name, shape) in [
            ("ln_1.weight", vec![STREAM]),
            ("ln_1.bias", vec![STREAM]),
            ("attn.in_proj_weight", vec![3 * STREAM, STREAM]),
            ("attn.in_proj_bias", vec![3 * STREAM]),
            ("attn.out_proj.weight", vec![STREAM, STREAM]),
            ("attn.out_proj.bias", vec![STREAM]),
            ("ln_2.weight", vec![STREAM]),
            ("ln_2.bias", vec![STREAM]),
            ("mlp.c_fc.weight", vec![4 * STREAM, STREAM]),
            ("mlp.c_fc.bias", vec![4 * STREAM]),
            ("mlp.c_proj.weight", vec![STREAM, 4 * STREAM]),
            ("mlp.c_proj.bias", vec![STREAM]),
        ] {
            put(format!("{block}.{name}"), &shape);
        }
        put(format!("{tower}positional_embedding"), &[tokens, STREAM]);
    }
    for (name, shape) in [
        ("visual.conv1.weight", vec![STREAM, 3, 16, 16]),
        ("visual.class_embedding", vec![STREAM]),
        ("visual.ln_pre.weight", vec![STREAM]),
        ("visual.ln_pre.bias", vec![STREAM]),
        ("visual.ln_post.weight", vec![STREAM]),
        ("visual.ln_post.bias", vec![STREAM]),
        ("visual.proj", vec![STREAM, WIDTH]),
        ("token_embedding.weight", vec![vocabulary, STREAM]),
        ("ln_final.weight", vec![STREAM]),
        ("ln_final.bias", vec![STREAM]),
        ("text_projection", vec![STREAM, WIDTH]),
    ] {
        put(name.to_owned(), &shape);
    }
    tensors
}

fn random_tensor(random: &mut Damage, shape: &[usize], around: f32) -> TensorValues {
    let count = shape.iter().product();
    let value = |random: &mut Damage| {
        around + 0.4 * ((random.bits() >> 40) as f32 / (1u64 << 24) as f32 - 0.5)
    };
    let values = (0..count).map(|_| value(random)).collect();
    TensorValues::new(shape, values).expect("as many values as the shape holds")
}

/// The same as a safetensors checkpoint with OpenAI's names.
pub fn checkpoint() -> Vec<u8> {
    let mut tensors = weights();
    let scale = TensorValues::new([], vec![20f32.ln()]).expect("a scalar");
    tensors.insert("logit_scale".to_owned(), scale);
    encode_tensors(&tensors, Precision::F32).expect("finite weights")
}

/// The same as a model directory.
pub fn model() -> Vec<(String, Vec<u8>)> {
    let (image, text): (Tensors, Tensors) = weights()
        .into_iter()
        .partition(|(name, _)| name.starts_with("visual."));
    let encoded = |tensors| encode_tensors(tensors, Precision::F32).expect("finite weights");
    vec![
        (
            "config.json".to_owned(),
            serde_json::to_vec_pretty(&config()).expect("serialises"),
        ),
        ("image.safetensors".to_owned(), encoded(&image)),
        ("text.safetensors".to_owned(), encoded(&text)),
        ("vocabulary.txt".to_owned(), vocabulary().into_bytes()),
    ]
}

fn unit_rows(random: &mut Damage, rows: usize) -> Vec<f32> {
    let mut values = random_tensor(random, &[rows, WIDTH], 0.0).values;
    for row in values.chunks_exact_mut(WIDTH) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
    values
}

/// A bundle of the tiny model with something in every place and every method that a bundle can
/// serve, its manifest last.
pub fn bundle() -> Vec<(String, Vec<u8>)> {
    static BUNDLE: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(make_bundle);
    BUNDLE.clone()
}

fn make_bundle() -> Vec<(String, Vec<u8>)> {
    let mut random = Damage::new(8);
    let classes = ClassFeatures {
        embed_dim: WIDTH,
        logit_scale: 20.0,
        positive: unit_rows(&mut random, CLASSES.len()),
        negative: unit_rows(&mut random, NEGATIVES * CLASSES.len()),
        zero_shot: unit_rows(&mut random, CLASSES.len()),
        no: unit_rows(&mut random, CLASSES.len()),
        named: unit_rows(&mut random, CLASSES.len()),
        mined: unit_rows(&mut random, LABELS),
        conjugated: unit_rows(&mut random, LABELS),
        locoop: unit_rows(&mut random, CLASSES.len()),
        probe: Some(Probe {
            weight: random_tensor(&mut random, &[CLASSES.len(), WIDTH], 0.0).values,
            bias: vec![0.0; CLASSES.len()],
        }),
        react_clip: Some(0.1),
        ..Default::default()
    };
    let (images, patches) = (unit_rows(&mut random, 40), unit_rows(&mut random, 4 * 40));
    let images = ImageFeatures {
        global: &images,
        patches: &patches,
    };
    let similarities = classes.compare(&images).expect("unit rows");
    let offered = methods()
        .iter()
        .filter(|method| classes.offers(**method, true));
    let methods: Vec<MethodEntry> = offered
        .map(|&method| {
            let settings = method.default_settings(20.0);
            let scores = score_all(method, &similarities.rows(), &settings).expect("scores");
            MethodEntry::measure(method.id(), settings, &scores, None, 0.5, BTreeMap::new())
                .expect("measured")
        })
        .collect();
    let (image, text): (Tensors, Tensors) = weights()
        .into_iter()
        .partition(|(name, _)| name.starts_with("visual."));
    let contexts = Tensors::from([
        (
            tensor_name::POSITIVE_CONTEXT.to_owned(),
            random_tensor(&mut random, &[CONTEXT, STREAM], 0.0),
        ),
        (
            tensor_name::NEGATIVE_CONTEXT.to_owned(),
            random_tensor(&mut random, &[NEGATIVES, CONTEXT, STREAM], 0.0),
        ),
        (
            tensor_name::LOCOOP_CONTEXT.to_owned(),
            random_tensor(&mut random, &[CONTEXT, STREAM], 0.0),
        ),
    ]);
    let outsiders = random_tensor(&mut random, &[3, 5, WIDTH], 0.0);
    let pixels = random_tensor(&mut random, &[3, 32, 32], 0.0);
    let group = |role, precision, tensors| TensorGroup {
        role,
        precision,
        tensors,
    };
    let answer = |name: &str, input, pixels: &[f32]| KnownAnswer {
        name: name.to_owned(),
        input,
        feature: image_feature(&config(), &image, pixels),
        mean_patch: mean_patch(&config(), &image, pixels),
        tolerance: 0.01,
    };
    let content = BundleContent {
        model: config(),
        classes: CLASSES.map(str::to_owned).to_vec(),
        prompts: PromptEntry {
            context_tokens: CONTEXT,
            negatives: NEGATIVES,
            class_specific: false,
            seed: 1,
            init: "a photo".to_owned(),
        },
        methods,
        figures: Figures::default(),
        provenance: Provenance::default(),
        known_answers: vec![
            answer(
                "generated",
                KnownInput::Seed { seed: 3 },
                &generated_pixels(3, 32),
            ),
            answer(
                "stored",
                KnownInput::Tensor {
                    tensor: "pixels".to_owned(),
                },
                &pixels.values,
            ),
        ],
        tensors: vec![
            group(Role::ImageTower, Precision::F32, image.clone()),
            group(Role::TextTower, Precision::F16, text),
            group(
                Role::Features,
                Precision::F32,
                bundle::class_feature_tensors(&classes).expect("features"),
            ),
            group(Role::Prompts, Precision::F32, contexts),
            group(
                Role::KnownAnswers,
                Precision::F32,
                Tensors::from([("pixels".to_owned(), pixels)]),
            ),
            group(
                Role::Outsiders,
                Precision::F16,
                Tensors::from([(tensor_name::OUTSIDERS.to_owned(), outsiders)]),
            ),
        ],
        texts: vec![TextFile {
            role: Role::Vocabulary,
            content: vocabulary(),
        }],
    };
    bundle::write(&content).expect("a whole bundle")
}
