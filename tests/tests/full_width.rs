//! Every published architecture at its full width, two blocks deep, against the features that
//! open_clip and `transformers` compute (`tests/fixtures/make_full_width.py`), in single precision
//! and with weights kept in half precision.
//!
//! The weights are not stored: each follows from its tensor's name and its index by an integer hash.

mod fixture;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use fixture::{Fixture, assert_close, values};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use shared::bundle::{Precision, Tensors, decode_tensors, encode_tensors};
use shared::clip::import::burn_store::{ModuleStore, SafetensorsStore};
use shared::clip::import::{canonical, check_parts};
use shared::clip::{ClipConfig, ImageTower, ImageTowerConfig, TextTower, Weights};

/// Largest difference from PyTorch in double precision, relative to the largest feature.
const SINGLE: f32 = 1e-4;
const HALF: f32 = 2e-3;

const VOCABULARY: usize = 1000;
const LENGTHS: [usize; 3] = [1, 5, 12];

#[test]
fn rn50() {
    check(ClipConfig::rn50(), 2);
}

#[test]
fn rn101() {
    check(ClipConfig::rn101(), 2);
}

#[test]
fn vit_b_32() {
    check(ClipConfig::vit_b_32(), 2);
}

#[test]
fn vit_b_16() {
    check(ClipConfig::vit_b_16(), 2);
}

#[test]
fn vit_l_14() {
    check(ClipConfig::vit_l_14(), 2);
}

#[test]
fn vit_l_14_336() {
    check(ClipConfig::vit_l_14_336(), 1);
}

/// Vision transformers once more, in the kernels for a GPU. One test for all, since the device can be
/// opened once in a process.
#[test]
fn vision_transformers_on_wgpu() {
    let Some(device) = fixture::wgpu("full_width") else {
        return;
    };
    // The last number: how often the images are there. 32 times 50 tokens are whole tiles of rows.
    for (published, times) in [
        (ClipConfig::vit_b_32(), 1),
        (ClipConfig::vit_b_32(), 16),
        (ClipConfig::vit_b_16(), 1),
        (ClipConfig::vit_l_14(), 1),
    ] {
        let case = published.name.clone();
        let config = shallow(published);
        let tensors = weights(&case, &config);
        let tower = ImageTower::load(&tensors, &config, &device)
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        let pixels = pixels(&case, &config, 2, &device).repeat_dim(0, times);
        let got = values(tower.forward(pixels));
        let reference = Fixture::open("clip/full_width.expected.safetensors")
            .floats(&format!("{case}/image_features"))
            .repeat(times);
        let what = format!("{case} on wgpu, {} images", 2 * times);
        assert_close(&what, &got, &reference, SINGLE);
    }
    // Features of patches, beside the loops for the CPU.
    let config = shallow(ClipConfig::vit_b_32());
    let tensors = weights("ViT-B/32", &config);
    let [got, reference] = [device, Device::flex()].map(|device| {
        let tower = ImageTower::load(&tensors, &config, &device).expect("a whole tower");
        let pixels = pixels("ViT-B/32", &config, 2, &device);
        tower
            .patches(pixels)
            .into_data()
            .iter()
            .collect::<Vec<f32>>()
    });
    assert_close("patches on wgpu", &got, &reference, SINGLE);
}

fn check(published: ClipConfig, images: usize) {
    let case = published.name.clone();
    let config = shallow(published);
    let tensors = weights(&case, &config);
    check_parts(&tensors, &config).unwrap_or_else(|error| panic!("{case}: {error}"));
    compare(&case, &config, &tensors, images, SINGLE);
    // As a model directory and a bundle keep them.
    let kept = encode_tensors(&tensors, Precision::F16).expect("fits half precision");
    let kept = decode_tensors(&case, &kept).expect("reads back");
    compare(&case, &config, &kept, images, HALF);
}

fn compare(case: &str, config: &ClipConfig, tensors: &Tensors, images: usize, tolerance: f32) {
    let device = Device::flex();
    let expected = Fixture::open("clip/full_width.expected.safetensors");
    let image = ImageTower::load(tensors, config, &device)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    let weights = Weights::new(tensors, &device);
    let text = TextTower::load(&weights, &config.text, config.embed_dim)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    for (side, got) in [
        (
            "image_features",
            values(image.forward(pixels(case, config, images, &device))),
        ),
        ("text_features", values(text.forward(&prompts(case)))),
    ] {
        let reference = expected.floats(&format!("{case}/{side}"));
        assert_close(&format!("{case} {side}"), &got, &reference, tolerance);
    }
}

fn pixels(case: &str, config: &ClipConfig, images: usize, device: &Device) -> Tensor<4> {
    let size = config.image.image_size();
    let shape = [images, 3, size, size];
    let count = shape.iter().product();
    let pixels = numbers(&format!("{case}/pixels"), count, 1.0, 0.0);
    Tensor::from_data(TensorData::new(pixels, shape), device)
}

/// The configuration with two blocks a tower, one bottleneck a stage, and a small vocabulary.
fn shallow(mut config: ClipConfig) -> ClipConfig {
    match &mut config.image {
        ImageTowerConfig::Vit(vit) => vit.layers = 2,
        ImageTowerConfig::ModifiedResnet(resnet) => resnet.layers = [1; 4],
        ImageTowerConfig::EfficientnetLite(_) => panic!("no CLIP of OpenAI's"),
    }
    config.text.layers = 2;
    config.text.vocabulary_size = VOCABULARY;
    config
}

/// The checkpoint under OpenAI's names, through a file and the importer.
fn weights(case: &str, config: &ClipConfig) -> Tensors {
    let mut shapes = text_shapes(config);
    match &config.image {
        ImageTowerConfig::Vit(_) => vit_shapes(config, &mut shapes),
        _ => resnet_shapes(config, &mut shapes),
    }
    let stored: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let (deviation, mean) = spread(&name, &shape);
            let count = shape.iter().product();
            let values = numbers(&format!("{case}/{name}"), count, deviation, mean);
            let bytes = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            (name, shape, bytes)
        })
        .collect();
    let views = stored.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a whole tensor");
        (name.as_str(), view)
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.safetensors");
    safetensors::serialize_to_file(views, None, &file).expect("written");
    let mut store = SafetensorsStore::from_file(file);
    let tensors = store
        .get_all_tensors()
        .expect("read")
        .values()
        .cloned()
        .collect();
    canonical(tensors).expect("a CLIP checkpoint").tensors
}

type Shapes = BTreeMap<String, Vec<usize>>;

fn text_shapes(config: &ClipConfig) -> Shapes {
    let text = &config.text;
    let width = text.width;
    let mut shapes = Shapes::from([
        ("logit_scale".to_owned(), vec![]),
        (
            "token_embedding.weight".to_owned(),
            vec![text.vocabulary_size, width],
        ),
        (
            "positional_embedding".to_owned(),
            vec![text.context_length, width],
        ),
        ("text_projection".to_owned(), vec![width, config.embed_dim]),
        ("ln_final.weight".to_owned(), vec![width]),
        ("ln_final.bias".to_owned(), vec![width]),
    ]);
    block_shapes(
        "transformer",
        text.layers,
        width,
        text.mlp_width,
        &mut shapes,
    );
    shapes
}

fn vit_shapes(config: &ClipConfig, shapes: &mut Shapes) {
    let ImageTowerConfig::Vit(vit) = &config.image else {
        return;
    };
    let (width, patch) = (vit.width, vit.patch_size);
    let tokens = (vit.image_size / patch).pow(2) + 1;
    for (name, shape) in [
        ("class_embedding", vec![width]),
        ("positional_embedding", vec![tokens, width]),
        ("conv1.weight", vec![width, 3, patch, patch]),
        ("proj", vec![width, config.embed_dim]),
        ("ln_pre.weight", vec![width]),
        ("ln_pre.bias", vec![width]),
        ("ln_post.weight", vec![width]),
        ("ln_post.bias", vec![width]),
    ] {
        shapes.insert(format!("visual.{name}"), shape);
    }
    block_shapes(
        "visual.transformer",
        vit.layers,
        width,
        vit.mlp_width,
        shapes,
    );
}

fn block_shapes(tower: &str, layers: usize, width: usize, mlp: usize, shapes: &mut Shapes) {
    for layer in 0..layers {
        for (name, shape) in [
            ("ln_1.weight", vec![width]),
            ("ln_1.bias", vec![width]),
            ("attn.in_proj_weight", vec![3 * width, width]),
            ("attn.in_proj_bias", vec![3 * width]),
            ("attn.out_proj.weight", vec![width, width]),
            ("attn.out_proj.bias", vec![width]),
            ("ln_2.weight", vec![width]),
            ("ln_2.bias", vec![width]),
            ("mlp.c_fc.weight", vec![mlp, width]),
            ("mlp.c_fc.bias", vec![mlp]),
            ("mlp.c_proj.weight", vec![width, mlp]),
            ("mlp.c_proj.bias", vec![width]),
        ] {
            shapes.insert(format!("{tower}.resblocks.{layer}.{name}"), shape);
        }
    }
}

fn resnet_shapes(config: &ClipConfig, shapes: &mut Shapes) {
    let ImageTowerConfig::ModifiedResnet(resnet) = &config.image else {
        return;
    };
    let width = resnet.width;
    let mut convolution = |name: &str, norm: &str, outputs: usize, inputs: usize, side: usize| {
        let shape = vec![outputs, inputs, side, side];
        shapes.insert(format!("visual.{name}.weight"), shape);
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.insert(format!("visual.{norm}.{part}"), vec![outputs]);
        }
    };
    convolution("conv1", "bn1", width / 2, 3, 3);
    convolution("conv2", "bn2", width / 2, width / 2, 3);
    convolution("conv3", "bn3", width, width / 2, 3);
    let mut inputs = width;
    for (stage, layers) in resnet.layers.into_iter().enumerate() {
        let planes = width << stage;
        for block in 0..layers {
            let at = |name: &str| format!("layer{}.{block}.{name}", stage + 1);
            convolution(&at("conv1"), &at("bn1"), planes, inputs, 1);
            convolution(&at("conv2"), &at("bn2"), planes, planes, 3);
            convolution(&at("conv3"), &at("bn3"), 4 * planes, planes, 1);
            if block == 0 {
                convolution(
                    &at("downsample.0"),
                    &at("downsample.1"),
                    4 * planes,
                    inputs,
                    1,
                );
            }
            inputs = 4 * planes;
        }
    }
    let positions = (resnet.image_size / 32).pow(2) + 1;
    let mut pool = |name: &str, shape: Vec<usize>| {
        shapes.insert(format!("visual.attnpool.{name}"), shape);
    };
    pool("positional_embedding", vec![positions, inputs]);
    for name in ["q_proj", "k_proj", "v_proj", "c_proj"] {
        let outputs = if name == "c_proj" {
            config.embed_dim
        } else {
            inputs
        };
        pool(&format!("{name}.weight"), vec![outputs, inputs]);
        pool(&format!("{name}.bias"), vec![outputs]);
    }
}

/// Standard deviation and mean of a tensor's values, as in the script.
fn spread(name: &str, shape: &[usize]) -> (f64, f64) {
    let one_of = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let inputs = shape.iter().skip(1).product::<usize>() as f64;
    if name == "logit_scale" {
        (0.0, 3.6)
    } else if name.ends_with("running_var") {
        (0.25, 1.0)
    } else if one_of(&[".ln_", ".bn", "downsample.1."]) || name.starts_with("ln_") {
        if name.ends_with("weight") {
            (0.2, 1.0)
        } else {
            (0.1, 0.0)
        }
    } else if name.ends_with("bias") {
        (0.1, 0.0)
    } else if name.ends_with("embedding") || name == "token_embedding.weight" {
        (0.5, 0.0)
    } else if name == "text_projection" || name == "visual.proj" {
        (1.0 / (shape[0] as f64).sqrt(), 0.0)
    } else if one_of(&["in_proj", "c_fc", "q_proj", "k_proj"]) {
        (1.5 / inputs.sqrt(), 0.0)
    } else if shape.len() == 4 {
        (1.4 / inputs.sqrt(), 0.0)
    } else {
        (1.0 / inputs.sqrt(), 0.0)
    }
}

/// Uniform numbers of this deviation and mean.
fn numbers(label: &str, count: usize, deviation: f64, mean: f64) -> Vec<f32> {
    let root = 3f64.sqrt();
    draws(label, count)
        .map(|draw| ((2.0 * draw - 1.0) * root * deviation + mean) as f32)
        .collect()
}

/// Numbers in [0, 1) for a label: SplitMix64 from its FNV-1a hash, 53 bits each.
fn draws(label: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    let seed = label.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (1..=count as u64).map(move |index| {
        let state = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((state ^ (state >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    })
}

/// `[SOS]`, words, `[EOS]`.
fn prompts(case: &str) -> Vec<Vec<u32>> {
    let words = (VOCABULARY - 2) as f64;
    let prompt = |(row, &length): (usize, &usize)| {
        let drawn = draws(&format!("{case}/prompt {row}"), length);
        let drawn = drawn.map(|draw| (draw * words) as u32);
        let [start, end] = [VOCABULARY as u32 - 2, VOCABULARY as u32 - 1];
        std::iter::once(start).chain(drawn).chain([end]).collect()
    };
    LENGTHS.iter().enumerate().map(prompt).collect()
}
