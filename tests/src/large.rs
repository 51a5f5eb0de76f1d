//! A bundle whose image tower fills several files: wide, and of few tokens, so that a GPU imitated in
//! software gets through it.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use shared::bundle::{
    self, BundleContent, Figures, KnownAnswer, KnownInput, MethodEntry, Precision, PromptEntry,
    Provenance, Role, TensorGroup, TensorValues, Tensors, decode_tensors, encode_tensors,
    generated_pixels,
};
use shared::clip::config::VitConfig;
use shared::clip::{ClipConfig, ImageTower, ImageTowerConfig, Preprocessing, TextTowerConfig};
use shared::score::{ClassFeatures, method, score_all};

use crate::hostile::Damage;

const WIDTH: usize = 1024;
const LAYERS: usize = 6;
const JOINT: usize = 64;
const SIZE: usize = 64;
const PATCH: usize = 32;

/// What an image tower makes of preprocessed pixels `[3, size, size]`, on the CPU.
pub fn image_feature(config: &ClipConfig, tower: &Tensors, pixels: &[f32]) -> Vec<f32> {
    let (device, size) = (Device::flex(), config.image.image_size());
    let tower = ImageTower::load(tower, config, &device).expect("a whole tower");
    let pixels = TensorData::new(pixels.to_vec(), [1, 3, size, size]);
    let feature = tower.forward(Tensor::<4>::from_data(pixels, &device));
    feature.into_data().iter().collect()
}

/// The mean of the features of its patches.
pub fn mean_patch(config: &ClipConfig, tower: &Tensors, pixels: &[f32]) -> Vec<f32> {
    let (device, size) = (Device::flex(), config.image.image_size());
    let tower = ImageTower::load(tower, config, &device).expect("a whole tower");
    let pixels = TensorData::new(pixels.to_vec(), [1, 3, size, size]);
    let patches = tower.patches(Tensor::<4>::from_data(pixels, &device));
    let patches: Vec<f32> = patches.into_data().iter().collect();
    bundle::mean_patch(&patches, config.embed_dim)
}

fn config() -> ClipConfig {
    ClipConfig {
        name: "wide".to_owned(),
        embed_dim: JOINT,
        logit_scale: 20.0,
        image: ImageTowerConfig::Vit(VitConfig::openai(SIZE, PATCH, WIDTH, LAYERS)),
        text: TextTowerConfig::openai(JOINT),
        preprocessing: Preprocessing::openai(SIZE as u32),
    }
}

/// Random weights, spread so that the residual stream keeps its size.
fn tower() -> Tensors {
    let mut random = Damage::new(17);
    let tokens = (SIZE / PATCH).pow(2) + 1;
    let mut shapes = vec![
        (
            "visual.conv1.weight".to_owned(),
            vec![WIDTH, 3, PATCH, PATCH],
        ),
        ("visual.class_embedding".to_owned(), vec![WIDTH]),
        (
            "visual.positional_embedding".to_owned(),
            vec![tokens, WIDTH],
        ),
        ("visual.proj".to_owned(), vec![WIDTH, JOINT]),
    ];
    for norm in ["ln_pre", "ln_post"] {
        shapes.push((format!("visual.{norm}.weight"), vec![WIDTH]));
        shapes.push((format!("visual.{norm}.bias"), vec![WIDTH]));
    }
    for layer in 0..LAYERS {
        let block = format!("visual.transformer.resblocks.{layer}");
        for (name, rows, columns) in [
            ("attn.in_proj_", 3 * WIDTH, WIDTH),
            ("attn.out_proj.", WIDTH, WIDTH),
            ("mlp.c_fc.", 4 * WIDTH, WIDTH),
            ("mlp.c_proj.", WIDTH, 4 * WIDTH),
        ] {
            shapes.push((format!("{block}.{name}weight"), vec![rows, columns]));
            shapes.push((format!("{block}.{name}bias"), vec![rows]));
        }
        for norm in ["ln_1", "ln_2"] {
            shapes.push((format!("{block}.{norm}.weight"), vec![WIDTH]));
            shapes.push((format!("{block}.{norm}.bias"), vec![WIDTH]));
        }
    }
    let tensors = shapes.into_iter().map(|(name, shape)| {
        let around = if name.contains("ln_") && name.ends_with("weight") {
            1.0
        } else {
            0.0
        };
        let tensor = random_tensor(&mut random, &shape, around);
        (name, tensor)
    });
    tensors.collect()
}

fn random_tensor(random: &mut Damage, shape: &[usize], around: f32) -> TensorValues {
    let value = |random: &mut Damage| {
        around + 0.1 * ((random.bits() >> 40) as f32 / (1u64 << 24) as f32 - 0.5)
    };
    let values = (0..shape.iter().product()).map(|_| value(random)).collect();
    TensorValues::new(shape, values).expect("as many values as the shape holds")
}

fn unit_rows(random: &mut Damage, rows: usize) -> Vec<f32> {
    let mut values = random_tensor(random, &[rows, JOINT], 0.0).values;
    for row in values.chunks_exact_mut(JOINT) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
    values
}

/// The bundle in half precision, without a text tower; its manifest last.
pub fn bundle() -> Vec<(String, Vec<u8>)> {
    let mut random = Damage::new(18);
    let classes = ClassFeatures {
        embed_dim: JOINT,
        logit_scale: 20.0,
        positive: unit_rows(&mut random, 3),
        negative: unit_rows(&mut random, 6),
        zero_shot: unit_rows(&mut random, 3),
        ..Default::default()
    };
    let similarities = classes
        .similarities_all(&unit_rows(&mut random, 40))
        .expect("unit rows");
    let methods = ["negprompt", "mcm"].map(|id| {
        let method = method(id).expect("a known method");
        let settings = method.default_settings(20.0);
        let scores = score_all(method, &similarities.rows(), &settings).expect("scores");
        MethodEntry::measure(id, settings, &scores, None, 0.5, BTreeMap::new()).expect("measured")
    });
    let tower = tower();
    let stored = encode_tensors(&tower, Precision::F16).expect("finite weights");
    let stored = decode_tensors("tower", &stored).expect("just written");
    let seed = 5;
    let content = BundleContent {
        model: config(),
        classes: ["blue", "green", "red"].map(str::to_owned).to_vec(),
        prompts: PromptEntry {
            context_tokens: 2,
            negatives: 2,
            class_specific: false,
            seed: 1,
            init: "a photo".to_owned(),
        },
        methods: methods.to_vec(),
        figures: Figures::default(),
        provenance: Provenance::default(),
        known_answers: vec![KnownAnswer {
            name: "generated".to_owned(),
            input: KnownInput::Seed { seed },
            feature: image_feature(&config(), &stored, &generated_pixels(seed, SIZE)),
            mean_patch: Vec::new(),
            tolerance: 0.01,
        }],
        tensors: vec![
            TensorGroup {
                role: Role::ImageTower,
                precision: Precision::F16,
                tensors: tower,
            },
            TensorGroup {
                role: Role::Features,
                precision: Precision::F32,
                tensors: bundle::class_feature_tensors(&classes).expect("features"),
            },
        ],
        texts: Vec::new(),
    };
    bundle::write(&content).expect("a whole bundle")
}
