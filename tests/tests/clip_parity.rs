//! Every tower, in every published weight format, against the features that PyTorch
//! computes from the same random weights (`tests/fixtures/make_clip.py`).

mod fixture;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use fixture::{Fixture, assert_close, distance, values};
use shared::clip::config::{
    Activation, ClipConfig, EfficientNetLiteConfig, ImageTowerConfig, Stage, TextTowerConfig,
};
use shared::clip::import::{
    Checkpoint, Classifier, canonical, infer_config, open_clip_config, transformers_config,
};
use shared::clip::{ImageTower, Preprocessing, TextTower, Weights, normalize};

/// Largest difference from PyTorch, relative to the largest feature.
const CPU_TOLERANCE: f32 = 1e-4;
const WGPU_TOLERANCE: f32 = 2e-3;

/// A checkpoint, where its configuration comes from, and the features to reach.
struct Case {
    checkpoint: &'static str,
    configuration: Configuration,
    expected: &'static str,
}

enum Configuration {
    Transformers(&'static str),
    OpenClip(&'static str),
    Inferred,
}

const CASES: [Case; 6] = [
    Case {
        checkpoint: "clip/transformers/model.safetensors",
        configuration: Configuration::Transformers("clip/transformers/config.json"),
        expected: "clip/quick_gelu.expected.safetensors",
    },
    Case {
        checkpoint: "clip/open_clip/open_clip_model.safetensors",
        configuration: Configuration::OpenClip("clip/open_clip/open_clip_config.json"),
        expected: "clip/quick_gelu.expected.safetensors",
    },
    Case {
        checkpoint: "clip/transformers_gelu/model.safetensors",
        configuration: Configuration::Transformers("clip/transformers_gelu/config.json"),
        expected: "clip/gelu.expected.safetensors",
    },
    Case {
        checkpoint: "clip/open_clip_gelu/open_clip_pytorch_model.bin",
        configuration: Configuration::OpenClip("clip/open_clip_gelu/open_clip_config.json"),
        expected: "clip/gelu.expected.safetensors",
    },
    Case {
        checkpoint: "clip/openai_vit.pt",
        configuration: Configuration::Inferred,
        expected: "clip/openai_vit.expected.safetensors",
    },
    Case {
        checkpoint: "clip/openai_resnet.pt",
        configuration: Configuration::Inferred,
        expected: "clip/openai_resnet.expected.safetensors",
    },
];

#[test]
fn every_format_agrees_with_pytorch_on_the_cpu() {
    for case in &CASES {
        check(case, &Device::flex(), CPU_TOLERANCE);
    }
}

#[test]
fn efficientnet_lite_agrees_with_pytorch_on_the_cpu() {
    check_efficientnet(&Device::flex(), CPU_TOLERANCE);
}

/// One test for all, since the device can be opened once in a process.
#[test]
fn every_format_agrees_with_pytorch_on_wgpu() {
    let Some(device) = fixture::wgpu("clip_parity") else {
        return;
    };
    for case in &CASES {
        check(case, &device, WGPU_TOLERANCE);
    }
    check_efficientnet(&device, WGPU_TOLERANCE);
}

#[test]
fn both_namings_hold_the_same_weights() {
    for (transformers, open_clip) in [(&CASES[0], &CASES[1]), (&CASES[2], &CASES[3])] {
        let one = read(transformers.checkpoint);
        let other = read(open_clip.checkpoint);
        let names =
            |checkpoint: &Checkpoint| checkpoint.tensors.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&one), names(&other));
        for (name, tensor) in &one.tensors {
            assert!(
                *tensor == other.tensors[name],
                "`{name}` differs between the namings"
            );
        }
        assert_eq!(one.logit_scale, other.logit_scale);
    }
}

#[test]
fn configurations_are_read_and_inferred() {
    let configs: Vec<ClipConfig> = CASES
        .iter()
        .map(|case| configure(case, &read(case.checkpoint)))
        .collect();
    assert_eq!(configs[0].image, configs[1].image);
    assert_eq!(configs[0].text, configs[1].text);
    assert_eq!(configs[2].image, configs[3].image);
    assert_eq!(configs[2].text, configs[3].text);
    let [quick, gelu, vit, resnet] = [0, 2, 4, 5].map(|index| &configs[index]);
    assert_eq!((quick.embed_dim, gelu.embed_dim), (32, 24));
    assert_eq!((quick.text.heads, gelu.text.heads), (3, 2));
    assert_eq!(quick.text.activation, Activation::QuickGelu);
    assert_eq!(gelu.text.activation, Activation::Gelu);
    let ImageTowerConfig::Vit(vit) = &vit.image else {
        panic!("{vit:?}")
    };
    assert_eq!(
        (
            vit.image_size,
            vit.patch_size,
            vit.width,
            vit.layers,
            vit.heads
        ),
        (16, 4, 128, 1, 2)
    );
    let ImageTowerConfig::ModifiedResnet(resnet) = &resnet.image else {
        panic!("{resnet:?}")
    };
    assert_eq!((resnet.image_size, resnet.width, resnet.heads), (64, 4, 2));
    assert_eq!(resnet.layers, [1, 2, 1, 1]);
}

/// A causal tower sees nothing behind `[EOS]`, so a prompt by itself, without padding, has
/// the same feature as among longer ones.
#[test]
fn padding_changes_nothing() {
    let device = Device::flex();
    let case = &CASES[0];
    let (_, text, _) = towers(case, &device);
    let prompts = prompts(&Fixture::open(case.expected));
    let together = values(text.forward(&prompts));
    let alone: Vec<f32> = prompts
        .iter()
        .flat_map(|prompt| values(text.forward(std::slice::from_ref(prompt))))
        .collect();
    assert_close("prompts by themselves", &alone, &together, 1e-5);
}

/// However many images a tower takes together, and on however many threads: an encoding that was stopped
/// and resumed has the features of one that was not.
#[test]
fn an_image_has_the_same_feature_in_every_batch() {
    let device = Device::flex();
    for case in CASES
        .iter()
        .filter(|case| case.checkpoint != "clip/openai_resnet.pt")
    {
        let (image, _, _) = towers(case, &device);
        assert!(image.shares_out(), "{}", case.checkpoint);
        let pixels = Fixture::open(case.expected).tensor::<4>("pixels", &device);
        let images = pixels.dims()[0];
        // More than one thread takes at once.
        let pixels = Tensor::cat(vec![pixels; 40], 0);
        let together = values(image.forward(pixels.clone()));
        let alone: Vec<f32> = (0..images)
            .flat_map(|at| values(image.forward(pixels.clone().narrow(0, at, 1))))
            .collect();
        for copy in together.chunks(alone.len()) {
            assert_eq!(copy, alone, "{}", case.checkpoint);
        }
    }
}

/// The weights are far enough from linear that a mistake in the nonlinear parts shows, even
/// through the wider tolerance of wgpu.
#[test]
fn a_wrong_activation_or_head_count_shows() {
    let device = Device::flex();
    for case in &CASES[..5] {
        let checkpoint = read(case.checkpoint);
        let right = configure(case, &checkpoint);
        let ImageTowerConfig::Vit(vit) = &right.image else {
            panic!("{} is no ViT", case.checkpoint)
        };
        let other = match vit.activation {
            Activation::QuickGelu => Activation::Gelu,
            Activation::Gelu => Activation::QuickGelu,
        };
        let mut activation = (vit.clone(), right.text.clone());
        activation.0.activation = other;
        activation.1.activation = other;
        let mut heads = (vit.clone(), right.text.clone());
        heads.0.heads *= 2;
        heads.1.heads *= 2;

        let expected = Fixture::open(case.expected);
        for (what, (vit, text)) in [("activation", activation), ("heads", heads)] {
            let wrong = ClipConfig {
                image: ImageTowerConfig::Vit(vit),
                text,
                ..right.clone()
            };
            let image = ImageTower::load(&checkpoint.tensors, &wrong, &device).expect("loads");
            let image = values(image.forward(expected.tensor::<4>("pixels", &device)));
            let weights = Weights::new(&checkpoint.tensors, &device);
            let text = TextTower::load(&weights, &wrong.text, wrong.embed_dim).expect("loads");
            let text = values(text.forward(&prompts(&expected)));
            for (side, got) in [("image_features", image), ("text_features", text)] {
                let apart = distance(&got, &expected.floats(side)).relative;
                println!("{} wrong {what}, {side}: {apart:.1e}", case.checkpoint);
                assert!(apart > 2.0 * WGPU_TOLERANCE, "{what} of {side}: {apart:e}");
            }
        }
    }
}

/// OpenAI's own downloads are TorchScript archives. Nothing in them may be taken for weights.
#[test]
fn a_torchscript_archive_is_not_taken_for_a_state_dict() {
    let stored = fixture::try_stored_tensors("clip/torchscript.pt");
    println!("torchscript.pt: {:?}", stored.as_ref().map(Vec::len));
    if let Ok(stored) = stored {
        let error = canonical(stored).expect_err("no state dict");
        println!("{error}");
    }
}

fn check(case: &Case, device: &Device, tolerance: f32) {
    let expected = Fixture::open(case.expected);
    let (image, text, logit_scale) = towers(case, device);

    let image_features = image.forward(expected.tensor::<4>("pixels", device));
    let text_features = text.forward(&prompts(&expected));
    let logits = normalize(image_features.clone())
        .matmul(normalize(text_features.clone()).transpose())
        * logit_scale;

    for (what, got) in [
        ("image_features", values(image_features)),
        ("text_features", values(text_features)),
        ("logits", values(logits)),
    ] {
        let label = format!("{} {what}", case.checkpoint);
        assert_close(&label, &got, &expected.floats(what), tolerance);
    }
}

fn check_efficientnet(device: &Device, tolerance: f32) {
    let expected = Fixture::open("clip/efficientnet_lite.expected.safetensors");
    let checkpoint = read("clip/efficientnet_lite.pth");
    let config = narrow_lite0();
    let tower = ImageTower::load(&checkpoint.tensors, &config, device).expect("loads");
    let pooled = tower.forward(expected.tensor::<4>("pixels", device));
    let pooled_values = values(pooled.clone());
    assert_close(
        "efficientnet_lite pooled",
        &pooled_values,
        &expected.floats("pooled"),
        tolerance,
    );

    let Classifier { weight, bias } = checkpoint.classifier.expect("a classifier");
    let matrix = |values: Vec<f32>, shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values, shape), device)
    };
    let classes = bias.values.len();
    let weight = matrix(weight.values, [classes, 1280]);
    let logits = pooled.matmul(weight.transpose()) + matrix(bias.values, [1, classes]);
    let reference = expected.floats("class_logits");
    assert_close(
        "efficientnet_lite class logits",
        &values(logits),
        &reference,
        tolerance,
    );
}

fn towers(case: &Case, device: &Device) -> (ImageTower, TextTower, f32) {
    let checkpoint = read(case.checkpoint);
    let config = configure(case, &checkpoint);
    let image = ImageTower::load(&checkpoint.tensors, &config, device)
        .unwrap_or_else(|error| panic!("{}: {error}", case.checkpoint));
    let weights = Weights::new(&checkpoint.tensors, device);
    let text = TextTower::load(&weights, &config.text, config.embed_dim)
        .unwrap_or_else(|error| panic!("{}: {error}", case.checkpoint));
    let logit_scale = checkpoint
        .logit_scale
        .expect("CLIP checkpoints hold logit_scale");
    assert!(
        (logit_scale - 37.0).abs() < 0.1,
        "logit_scale {logit_scale} is not exponentiated"
    );
    (image, text, logit_scale)
}

fn read(name: &str) -> Checkpoint {
    let stored = fixture::stored_tensors(name);
    canonical(stored).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn configure(case: &Case, checkpoint: &Checkpoint) -> ClipConfig {
    let text = |name| {
        std::fs::read_to_string(fixture::path(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    match case.configuration {
        Configuration::Transformers(name) => transformers_config("fixture", &text(name), None),
        Configuration::OpenClip(name) => open_clip_config("fixture", &text(name)),
        Configuration::Inferred => infer_config("fixture", checkpoint),
    }
    .unwrap_or_else(|error| panic!("{}: {error}", Path::new(case.checkpoint).display()))
}

/// The fixture's prompts without their padding.
fn prompts(expected: &Fixture) -> Vec<Vec<u32>> {
    let length = expected.shape("tokens")[1];
    expected
        .integers("tokens")
        .chunks_exact(length)
        .zip(expected.integers("lengths"))
        .map(|(row, length)| {
            row[..length as usize]
                .iter()
                .map(|&token| token as u32)
                .collect()
        })
        .collect()
}

/// Lite0's blocks at a tenth of their width, rounded to multiples of four, at 72 pixels.
fn narrow_lite0() -> ClipConfig {
    let mut config = EfficientNetLiteConfig::lite0();
    config.image_size = 72;
    let mut input = config.stem_width;
    for (stage, output) in config.stages.iter_mut().zip([4, 4, 4, 8, 12, 20, 32]) {
        *stage = Stage {
            input,
            output,
            ..stage.clone()
        };
        input = output;
    }
    ClipConfig {
        name: "narrow Lite0".into(),
        embed_dim: config.head_width,
        logit_scale: 1.0,
        image: ImageTowerConfig::EfficientnetLite(config),
        text: TextTowerConfig::openai(64),
        preprocessing: Preprocessing::efficientnet_lite(224),
    }
}
