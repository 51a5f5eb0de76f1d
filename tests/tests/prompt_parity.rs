//! Prefix-shared prompt encoding, losses and context gradients against the plain path:
//! PyTorch's (`tests/fixtures/make_prompt.py`), which lays every prompt out over all 77
//! positions, and the same path in Burn.

mod fixture;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fixture::{Fixture, assert_close, values};
use shared::clip::import::{canonical, open_clip_config};
use shared::clip::text::direct::{DirectTextTower, Suffixes, Tape};
use shared::clip::{TextTower, Weights, normalize};
use shared::prompt::{ContextEncoder, PromptEncoder, loss};

const START: u32 = 126;
const BETA: f64 = 0.1;
const GAMMA: f64 = 0.05;

/// Largest difference from PyTorch, relative to the largest value.
const CPU_TOLERANCE: f32 = 1e-4;
const WGPU_TOLERANCE: f32 = 2e-3;
/// Largest difference between the two paths in Burn: of values and of gradients.
const SHARED_VALUE_TOLERANCE: f32 = 1e-5;
const SHARED_GRADIENT_TOLERANCE: f32 = 1e-4;

const SHARED: &str = "prompt/shared.safetensors";
const CLASS_SPECIFIC: &str = "prompt/class_specific.safetensors";

/// The losses of stage 2, named as in the fixture.
const LOSSES: [&str; 8] = [
    "total",
    "nis",
    "npd",
    "nnd",
    "released_total",
    "released_nis",
    "released_npd",
    "released_nnd",
];

#[test]
fn shared_contexts_agree_with_pytorch_on_the_cpu() {
    check(SHARED, &LOSSES, &Device::flex(), CPU_TOLERANCE);
}

#[test]
fn class_specific_contexts_agree_with_pytorch_on_the_cpu() {
    check(CLASS_SPECIFIC, &LOSSES, &Device::flex(), CPU_TOLERANCE);
}

/// Software adapters take seconds for a gradient: only the loss that training uses.
#[test]
fn prompts_agree_with_pytorch_on_wgpu() {
    let Some(device) = fixture::wgpu("prompt_parity") else {
        return;
    };
    check(SHARED, &LOSSES[..1], &device, WGPU_TOLERANCE);
}

#[test]
fn the_shared_prefix_equals_the_plain_path() {
    for name in [SHARED, CLASS_SPECIFIC] {
        let setting = Setting::new(name, &Device::flex());
        for which in LOSSES {
            let negative = setting.contexts("negative").require_grad();
            let shared = setting.encode(negative.clone());
            let plain = setting.encode_plainly(negative.clone());
            let (got, reference) = (values(shared.clone()), values(plain.clone()));
            let what = format!("{name} shared against plain");
            assert_close(
                &format!("{what}, values"),
                &got,
                &reference,
                SHARED_VALUE_TOLERANCE,
            );

            let got = gradient(setting.loss(which, shared), &negative);
            let reference = gradient(setting.loss(which, plain), &negative);
            let what = format!("{what}, gradient of {which}");
            assert_close(&what, &got, &reference, SHARED_GRADIENT_TOLERANCE);
        }
    }
}

/// What training runs on the CPU: the loops with a way back of their own. With a selection of
/// classes they are those of a shorter list, which also shows that memory of a longer pass is
/// used again rightly.
#[test]
fn learning_equals_the_plain_path() {
    for name in [SHARED, CLASS_SPECIFIC] {
        let setting = Setting::new(name, &Device::flex());
        let negative = setting.contexts("negative");
        let mut encoder = setting.context_encoder(negative.dims()[1] > 1);
        let features = values(encoder.encode(negative.clone().inner()));
        let plain = setting.encode_plainly(negative.clone());
        let what = format!("{name} learning against plain");
        let tolerance = SHARED_VALUE_TOLERANCE;
        assert_close(
            &format!("{what}, values"),
            &features,
            &values(plain),
            tolerance,
        );
        close_to_pytorch(&setting, "negative_features", &features);
        for which in LOSSES {
            let leaf = negative.clone().require_grad();
            let loss = setting.loss(which, setting.encode_plainly(leaf.clone()));
            let (plain_loss, plain) = (values(loss.clone()), gradient(loss, &leaf));
            let found = encoder
                .loss_gradient(negative.clone().inner(), |negative| {
                    setting.loss(which, negative)
                })
                .expect("depends on the contexts");
            let what = format!("{what}, {which}");
            assert_close(&what, &[found.loss], &plain_loss, SHARED_VALUE_TOLERANCE);
            let found = values(found.gradient);
            let what = format!("{what}, gradient");
            assert_close(&what, &found, &plain, SHARED_GRADIENT_TOLERANCE);
            close_to_pytorch(&setting, &format!("{which}.gradient"), &found);
        }
    }
}

/// What the page runs: contexts go in once, and then one class list after the other.
#[test]
fn class_lists_behind_contexts_that_went_in_before_agree() {
    let setting = Setting::new(SHARED, &Device::flex());
    let negative = setting.contexts("negative").inner();
    let count = negative.dims()[0];
    let tower = DirectTextTower::new(setting.tower.clone()).expect("on the CPU");
    let tokens = setting.tower.tokens();
    let mut tape = Tape::default();
    let nobody = Suffixes::new(&tokens, START, &[]);
    tower.enter(&values(negative.clone()), count, true, &nobody, &mut tape);
    for chosen in [&[4, 1][..], &[0], &[3, 2, 1, 0]] {
        let suffixes: Vec<Vec<u32>> = chosen
            .iter()
            .map(|&class| setting.suffixes[class].clone())
            .collect();
        let prompts = PromptEncoder::from_suffixes(START, &suffixes);
        let plain =
            ContextEncoder::new(setting.tower.clone(), prompts, false).encode(negative.clone());
        let suffixes = Suffixes::new(&tokens, START, &suffixes);
        let features = tower.encode_behind(&suffixes, 0, &mut tape);
        assert_eq!(features, values(plain), "classes {chosen:?}");
    }
}

#[test]
fn a_selection_of_classes_is_a_shorter_list() {
    let setting = Setting::new(SHARED, &Device::flex());
    let negative = setting.contexts("negative").inner();
    let chosen = [4, 1];
    let suffixes: Vec<Vec<u32>> = chosen.map(|class| setting.suffixes[class].clone()).into();
    let prompts = PromptEncoder::from_suffixes(START, &suffixes);
    let mut shorter = ContextEncoder::new(setting.tower.clone(), prompts, false);
    let mut selecting = setting.context_encoder(false);
    let first = |features: Tensor<3>| features.powf_scalar(2.0).mean();
    let _ = selecting.loss_gradient(negative.clone(), first);
    selecting.select(Some(&chosen));
    let [shorter, selected] = [&mut shorter, &mut selecting].map(|encoder| {
        encoder
            .loss_gradient(negative.clone(), first)
            .expect("a gradient")
    });
    assert_eq!(shorter.loss, selected.loss);
    assert_eq!(values(shorter.gradient), values(selected.gradient));
}

/// What does not fit into the memory for activations is computed a second time, to the same bit.
#[test]
fn the_memory_for_activations_changes_work_and_not_gradients() {
    for name in [SHARED, CLASS_SPECIFIC] {
        let setting = Setting::new(name, &Device::flex());
        let negative = setting.contexts("negative").inner();
        let [kept, computed_again] = [usize::MAX, 0].map(|bytes| {
            let class_specific = negative.dims()[1] > 1;
            let mut encoder = setting
                .context_encoder(class_specific)
                .with_activation_memory(bytes);
            let gradient = encoder
                .loss_gradient(negative.clone(), |features| {
                    features.powf_scalar(2.0).mean()
                })
                .expect("a gradient")
                .gradient;
            let work = encoder.multiplications().expect("counted on the CPU");
            (values(gradient), work)
        });
        assert_eq!(kept.0, computed_again.0, "{name}");
        // Half as much again, less what the prefix costs once.
        let (least, most) = (kept.1, kept.1 * 3 / 2);
        assert!(
            (least + 1..=most).contains(&computed_again.1),
            "{name}: {} of {least} to {most}",
            computed_again.1
        );
    }
}

fn close_to_pytorch(setting: &Setting, what: &str, found: &[f32]) {
    let expected = setting.fixture.floats(what);
    assert_close(
        &format!("learning, {what}"),
        found,
        &expected,
        CPU_TOLERANCE,
    );
}

#[test]
fn the_shared_prefix_is_cheap() {
    let setting = Setting::new(SHARED, &Device::flex());
    let [contexts, _, tokens, _] = setting.contexts("negative").dims();
    let plain = contexts * setting.encoder.classes() * setting.tower.context_length();
    let shared = setting.encoder.positions(contexts, tokens);
    assert!(shared * 10 < plain, "{shared} positions of {plain}");
}

/// What a step multiplies with weights, to the last one: a change that brings back a wasted position,
/// or the gradient of something that is not learned, is not equal any more.
#[test]
fn a_step_does_no_more_than_on_paper() {
    let setting = Setting::new(SHARED, &Device::flex());
    let negative = setting.contexts("negative").inner();
    let [contexts, _, tokens, width] = negative.dims();
    let mut encoder = setting.context_encoder(false);
    encoder
        .loss_gradient(negative.clone(), |features| {
            features.powf_scalar(2.0).mean()
        })
        .expect("a gradient");
    let step = encoder.multiplications().expect("counted on the CPU");

    let square = width * width;
    let (layers, joint) = (setting.layers, setting.encode(negative).dims()[2]);
    let prompts = contexts * setting.suffixes.len();
    let behind = contexts * setting.suffixes.iter().map(Vec::len).sum::<usize>();
    // A block has 12 square matrices: query, key, value, output and twice 4 of the perceptron.
    let whole_blocks = (contexts * (1 + tokens) + behind) * (layers - 1) * 12 * square;
    // Of the last block all tokens give keys and values, and only [EOS] goes on.
    let last_block = (contexts * (1 + tokens) + behind) * 2 * square + prompts * 10 * square;
    let forward = whole_blocks + last_block + prompts * width * joint;
    // Back to the input of the first block of the contexts alone.
    let backward = forward - behind * 3 * square;
    assert_eq!(step, forward + backward);

    let positions = setting.tower.context_length();
    let plain = 2 * prompts * (positions * layers * 12 * square + width * joint);
    assert!(step * 10 < plain, "{step} multiplications of {plain}");
}

/// Features, losses and gradients of one fixture.
fn check(name: &str, losses: &[&str], device: &Device, tolerance: f32) {
    let setting = Setting::new(name, device);
    let close = |what: &str, got: &[f32]| {
        let expected = setting.fixture.floats(what);
        assert_close(&format!("{name} {what}"), got, &expected, tolerance);
    };

    let positive = setting.contexts("positive").require_grad();
    let features = setting.encode(positive.clone());
    let [_, classes, width] = features.dims();
    close("positive_features", &values(features.clone()));
    let stage1 = setting.stage1(features.reshape([classes, width]));
    close("stage1.loss", &values(stage1.clone()));
    close("stage1.gradient", &gradient(stage1, &positive));

    // Burn keeps no graph for a second backward pass: each loss has its own forward pass.
    for which in losses {
        let negative = setting.contexts("negative").require_grad();
        let features = setting.encode(negative.clone());
        close("negative_features", &values(features.clone()));
        let loss = setting.loss(which, features);
        close(&format!("{which}.loss"), &values(loss.clone()));
        close(&format!("{which}.gradient"), &gradient(loss, &negative));
    }
}

/// The gradient of `loss` with respect to `contexts`, flat.
fn gradient<const D: usize>(loss: Tensor<1>, contexts: &Tensor<D>) -> Vec<f32> {
    let gradients = loss.backward();
    values(
        contexts
            .grad(&gradients)
            .expect("the loss depends on the contexts"),
    )
}

struct Setting {
    fixture: Fixture,
    device: Device,
    tower: TextTower,
    layers: usize,
    logit_scale: f32,
    suffixes: Vec<Vec<u32>>,
    encoder: PromptEncoder,
}

impl Setting {
    fn new(name: &str, device: &Device) -> Self {
        let device = device.clone().autodiff();
        let fixture = Fixture::open(name);
        let stored = fixture::stored_tensors("clip/open_clip/open_clip_model.safetensors");
        let checkpoint = canonical(stored).expect("a CLIP checkpoint");
        let json = fixture::path("clip/open_clip/open_clip_config.json");
        let json = std::fs::read_to_string(json).expect("a configuration");
        let config = open_clip_config("fixture", &json).expect("a configuration");
        let weights = Weights::new(&checkpoint.tensors, &device);
        let tower = TextTower::load(&weights, &config.text, config.embed_dim)
            .expect("loads")
            .no_grad();

        let longest = fixture.shape("suffix_tokens")[1];
        let suffixes: Vec<Vec<u32>> = fixture
            .integers("suffix_tokens")
            .chunks_exact(longest)
            .zip(fixture.integers("suffix_lengths"))
            .map(|(row, length)| {
                row[..length as usize]
                    .iter()
                    .map(|&token| token as u32)
                    .collect()
            })
            .collect();
        let encoder = PromptEncoder::from_suffixes(START, &suffixes);
        let logit_scale = checkpoint.logit_scale.expect("a logit_scale");
        Self {
            fixture,
            device,
            tower,
            layers: config.text.layers,
            logit_scale,
            suffixes,
            encoder,
        }
    }

    fn context_encoder(&self, class_specific: bool) -> ContextEncoder {
        ContextEncoder::new(self.tower.clone(), self.encoder.clone(), class_specific)
    }

    /// The contexts `positive` or `negative` as `[contexts, classes or 1, M, width]`.
    fn contexts(&self, which: &str) -> Tensor<4> {
        let mut shape = self.fixture.shape(which);
        if which == "positive" {
            shape.insert(0, 1);
        }
        if shape.len() == 3 {
            shape.insert(1, 1);
        }
        Tensor::from_data(
            TensorData::new(self.fixture.floats(which), shape),
            &self.device,
        )
    }

    /// The project's path: `[contexts, classes or 1, M, width]` → `[contexts, k, d]`.
    fn encode(&self, contexts: Tensor<4>) -> Tensor<3> {
        if contexts.dims()[1] == 1 {
            self.encoder.encode(&self.tower, contexts.squeeze_dim(1))
        } else {
            self.encoder.encode_class_specific(&self.tower, contexts)
        }
    }

    /// CoOp's path: every prompt over all positions of the tower, nothing shared.
    fn encode_plainly(&self, contexts: Tensor<4>) -> Tensor<3> {
        let [count, _, tokens, width] = contexts.dims();
        let classes = self.suffixes.len();
        let length = self.tower.context_length();
        let contexts = contexts.expand([count, classes, tokens, width]);
        let mut laid_out = Vec::with_capacity(classes * length);
        for suffix in &self.suffixes {
            laid_out.push(START);
            laid_out.extend(vec![0; tokens]);
            laid_out.extend(suffix);
            laid_out.resize(laid_out.len().next_multiple_of(length), 0);
        }
        let embedded = self.tower.embed(&laid_out, classes);
        let ends: Vec<usize> = self
            .suffixes
            .iter()
            .map(|suffix| tokens + suffix.len())
            .collect();
        let features = (0..count).map(|index| {
            let context = contexts.clone().narrow(0, index, 1).squeeze_dim(0);
            let before = embedded.clone().narrow(1, 0, 1);
            let after = embedded.clone().narrow(1, 1 + tokens, length - 1 - tokens);
            let prompts = Tensor::cat(vec![before, context, after], 1);
            self.tower.forward_embeddings(prompts, &ends).unsqueeze()
        });
        Tensor::cat(features.collect(), 0)
    }

    /// Unit image features `[images, d]`.
    fn images(&self) -> Tensor<2> {
        normalize(self.fixture.tensor::<2>("images", &self.device))
    }

    fn labels(&self) -> Tensor<1, Int> {
        let labels = self.fixture.integers("labels");
        let count = labels.len();
        Tensor::from_data(TensorData::new(labels, [count]), &self.device)
    }

    /// Cross-entropy of positive features `[k, d]`.
    fn stage1(&self, positive: Tensor<2>) -> Tensor<1> {
        let logits = self.images().matmul(normalize(positive).transpose()) * self.logit_scale;
        loss::cross_entropy(logits, self.labels())
    }

    /// A loss of stage 2 of negative features `[p, k, d]`.
    fn loss(&self, which: &str, negative: Tensor<3>) -> Tensor<1> {
        let [contexts, classes, width] = negative.dims();
        let negative = normalize(negative.reshape([contexts * classes, width]));
        let positive = normalize(self.fixture.tensor::<2>("positive_features", &self.device));
        let logits =
            |prompts: Tensor<2>| self.images().matmul(prompts.transpose()) * self.logit_scale;
        let by_context = negative.clone().reshape([contexts, classes, width]);
        let weighted =
            |nis: Tensor<1>, npd: Tensor<1>, nnd: Tensor<1>| nis + npd * BETA + nnd * GAMMA;

        let nis = || loss::negative_image_similarity(logits(negative.clone()));
        let npd = || loss::negative_positive_distance(by_context.clone(), positive.clone());
        let nnd = || loss::negative_negative_distance(by_context.clone());
        let released_nis = || {
            let all = Tensor::cat(vec![logits(positive.clone()), logits(negative.clone())], 1);
            loss::released_image_similarity(all, self.labels().one_hot::<2>(classes).float())
        };
        let released_npd =
            || loss::released_positive_distance(by_context.clone(), positive.clone());
        let released_nnd = || loss::released_negative_distance(by_context.clone());
        match which {
            "total" => weighted(nis(), npd(), nnd()),
            "nis" => nis(),
            "npd" => npd(),
            "nnd" => nnd(),
            "released_total" => weighted(released_nis(), released_npd(), released_nnd()),
            "released_nis" => released_nis(),
            "released_npd" => released_npd(),
            "released_nnd" => released_nnd(),
            unknown => panic!("no loss {unknown}"),
        }
    }
}
