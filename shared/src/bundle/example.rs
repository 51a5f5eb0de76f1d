//! A small bundle for tests.

use std::collections::BTreeMap;

use super::{
    BundleContent, Curve, DataSource, Figures, Histogram, KnownAnswer, KnownInput, Licence, Loss,
    Map, MapPoint, MethodEntry, Precision, PromptEntry, Provenance, Role, TensorGroup,
    TensorValues, Tensors, TextFile, class_feature_tensors, generated_pixels, tensor_name,
};
use crate::clip::ClipConfig;
use crate::metric::OodRates;
use crate::metric::generator::Generator;
use crate::score::{ClassFeatures, Probe, methods, odin_step};

pub(super) const CLASSES: usize = 3;
pub(super) const NEGATIVES: usize = 2;
pub(super) const WIDTH: usize = 8;
pub(super) const SIZE: usize = 4;

pub(super) fn random_tensor(generator: &mut Generator, shape: &[usize]) -> TensorValues {
    let count = shape.iter().product();
    let values = (0..count)
        .map(|_| generator.between(-1.0, 1.0) as f32)
        .collect();
    TensorValues::new(shape, values).unwrap()
}

fn unit_rows(generator: &mut Generator, rows: usize) -> Vec<f32> {
    let mut values = random_tensor(generator, &[rows, WIDTH]).values;
    for row in values.chunks_exact_mut(WIDTH) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
    values
}

/// The class features of [`content`].
pub(super) fn class_features() -> ClassFeatures {
    let mut generator = Generator::new(71);
    ClassFeatures {
        embed_dim: WIDTH,
        logit_scale: 21.0,
        positive: unit_rows(&mut generator, CLASSES),
        negative: unit_rows(&mut generator, NEGATIVES * CLASSES),
        zero_shot: unit_rows(&mut generator, CLASSES),
        no: unit_rows(&mut generator, CLASSES),
        named: unit_rows(&mut generator, CLASSES),
        mined: unit_rows(&mut generator, 5),
        conjugated: unit_rows(&mut generator, 4),
        locoop: unit_rows(&mut generator, CLASSES),
        react_clip: Some(0.5),
        odin_step: Some(odin_step(WIDTH)),
        probe: Some(Probe {
            weight: random_tensor(&mut generator, &[CLASSES, WIDTH]).values,
            bias: vec![0.25, 0.0, -0.5],
        }),
    }
}

/// A bundle with something in every place.
pub(super) fn content() -> BundleContent {
    let mut generator = Generator::new(72);
    let mut model = ClipConfig::vit_b_32();
    (model.embed_dim, model.logit_scale) = (WIDTH, 21.0);
    match &mut model.image {
        crate::clip::ImageTowerConfig::Vit(vit) => (vit.image_size, vit.patch_size) = (SIZE, 2),
        other => panic!("ViT-B/32 has the tower {other:?}"),
    }
    (model.preprocessing.size, model.preprocessing.resize) = (SIZE as u32, SIZE as u32);
    let id = generator.scores(40, 0.5, None);
    let ood = generator.scores(30, 0.0, None);
    let entry = |id_of_method: &str, settings| {
        let sets = BTreeMap::from([("textures".to_owned(), OodRates::measure(&id, &ood).unwrap())]);
        let reference = Some(("textures", &ood[..]));
        MethodEntry::measure(id_of_method, settings, &id, reference, 0.75, sets).unwrap()
    };
    let mut features = class_feature_tensors(&class_features()).unwrap();
    let map_features = TensorValues::new([2, WIDTH], unit_rows(&mut generator, 2)).unwrap();
    features.insert(tensor_name::MAP_FEATURES.to_owned(), map_features);
    let group = |role, precision, tensors: Vec<(&str, TensorValues)>| TensorGroup {
        role,
        precision,
        tensors: tensors
            .into_iter()
            .map(|(name, tensor)| (name.to_owned(), tensor))
            .collect::<Tensors>(),
    };
    let curve = || Curve {
        x: vec![0.0, 0.5, 1.0],
        y: vec![0.0, 0.75, 1.0],
    };
    let pixels = TensorValues::new([3, SIZE, SIZE], generated_pixels(9, SIZE)).unwrap();
    let answer = |name: &str, input| KnownAnswer {
        name: name.to_owned(),
        input,
        feature: vec![0.5; WIDTH],
        mean_patch: vec![0.25; WIDTH],
        tolerance: 0.01,
    };
    BundleContent {
        model,
        classes: ["airplane", "barrel", "wild cat"]
            .map(str::to_owned)
            .to_vec(),
        prompts: PromptEntry {
            context_tokens: 4,
            negatives: NEGATIVES,
            class_specific: false,
            seed: 1,
            init: "a photo of a".to_owned(),
        },
        methods: methods()
            .iter()
            .filter(|method| class_features().offers(**method, true))
            .map(|method| entry(method.id(), method.default_settings(21.0)))
            .collect(),
        figures: Figures {
            similarity: Some(
                Histogram::measure("Fig. 3", "cosine", 8, &[("ID", &id), ("OOD", &ood)]).unwrap(),
            ),
            scores: BTreeMap::from([(
                "mcm".to_owned(),
                Histogram::measure("MCM", "score", 4, &[("ID", &id)]).unwrap(),
            )]),
            map: Some(Map {
                title: "Fig. 4".to_owned(),
                series: vec!["images".to_owned()],
                points: [(0.5, None), (-1.25, Some("barrel".to_owned()))]
                    .map(|(x, label)| MapPoint {
                        x,
                        y: 0.125,
                        series: 0,
                        label,
                    })
                    .to_vec(),
            }),
            roc: BTreeMap::from([(
                "textures".to_owned(),
                BTreeMap::from([("mcm".to_owned(), curve())]),
            )]),
            reliability: BTreeMap::from([("mcm".to_owned(), curve())]),
            losses: vec![Loss {
                stage: "Stage 1".to_owned(),
                name: "cross-entropy".to_owned(),
                curve: curve(),
            }],
        },
        provenance: Provenance {
            data: vec![DataSource {
                name: "caltech".to_owned(),
                used_for: "training".to_owned(),
                images: 48,
                source: "a pack".to_owned(),
            }],
            config: serde_json::json!({"shots": 16}),
            seed: 1,
            versions: BTreeMap::from([("burn".to_owned(), "0.22.1".to_owned())]),
            licences: vec![Licence {
                what: "weights".to_owned(),
                licence: "Apache-2.0".to_owned(),
            }],
        },
        known_answers: vec![
            answer("blobs", KnownInput::Seed { seed: 3 }),
            answer(
                "photo",
                KnownInput::Tensor {
                    tensor: "photo".to_owned(),
                },
            ),
        ],
        tensors: vec![
            group(
                Role::ImageTower,
                Precision::F16,
                vec![
                    ("stem", random_tensor(&mut generator, &[4, 3, 2, 2])),
                    ("bias", random_tensor(&mut generator, &[4])),
                ],
            ),
            group(
                Role::TextTower,
                Precision::Int8,
                vec![("layer", random_tensor(&mut generator, &[6, 6]))],
            ),
            TensorGroup {
                role: Role::Features,
                precision: Precision::F32,
                tensors: features,
            },
            group(
                Role::Prompts,
                Precision::F32,
                vec![(
                    tensor_name::POSITIVE_CONTEXT,
                    random_tensor(&mut generator, &[4, 6]),
                )],
            ),
            group(Role::KnownAnswers, Precision::F32, vec![("photo", pixels)]),
            group(
                Role::Outsiders,
                Precision::F16,
                vec![(
                    tensor_name::OUTSIDERS,
                    random_tensor(&mut generator, &[2, 3, WIDTH]),
                )],
            ),
        ],
        texts: vec![
            TextFile {
                role: Role::Vocabulary,
                content: "#version: 0.2\ni n\n".to_owned(),
            },
            TextFile {
                role: Role::Words,
                content: "airplane\nbarrel\n".to_owned(),
            },
        ],
    }
}
