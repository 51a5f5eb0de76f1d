//! CLIPN's "no" text tower and its losses against PyTorch; see `fixtures/make_clipn.py`.

mod fixture;

use burn::tensor::{Device, Tensor, TensorData};
use fixture::{Fixture, assert_close, values};
use shared::bundle::Tensors;
use shared::clip::import::{NO_PROMPTS, canonical, infer_config};
use shared::clip::{NoTextTower, TextTower, Weights};
use shared::prompt::opposite::{image_text_binary_opposite, text_semantic_opposite};

const TOLERANCE: f32 = 2e-5;

#[test]
fn the_no_tower_of_a_released_checkpoint_reads_as_pytorch_does() {
    let expected = Fixture::open("clipn/expected.safetensors");
    let mut stored = fixture::stored_tensors("clipn/epoch_10.pt");
    for tensor in &mut stored {
        // The program looks below this key by itself; the test reads the file as it is.
        tensor.name = tensor.name.trim_start_matches("state_dict.").to_owned();
    }
    let checkpoint = canonical(stored).unwrap();
    let config = infer_config("CLIPN", &checkpoint).unwrap();
    let mut tensors = checkpoint.no_text.unwrap();
    let device = Device::flex();
    let load = |tensors: &Tensors| {
        NoTextTower::load(
            &Weights::new(tensors, &device),
            &config.text,
            config.embed_dim,
        )
        .unwrap()
    };
    let prompts = prompts(&expected);
    let close = |what: &str, found: Tensor<2>| {
        assert_close(what, &values(found), &expected.floats(what), TOLERANCE);
    };

    let tower = load(&tensors);
    close("no_features", tower.forward(&prompts));
    let drawn: Vec<usize> = expected
        .integers("drawn")
        .into_iter()
        .map(|row| row as usize)
        .collect();
    close("no_features_drawn", tower.forward_with(&prompts, &drawn));

    // The release with hand-written "no" prompts has none to add.
    tensors.remove(NO_PROMPTS).unwrap();
    let tower = load(&tensors);
    assert!(tower.prompts().is_none());
    close("no_features_without", tower.forward(&prompts));

    // The first tower is another one.
    let weights = Weights::new(&checkpoint.tensors, &device);
    let yes = TextTower::load(&weights, &config.text, config.embed_dim).unwrap();
    let apart = fixture::distance(
        &values(yes.forward(&prompts)),
        &expected.floats("no_features"),
    );
    assert!(apart.relative > 0.1, "{apart:?}");
}

#[test]
fn the_losses_and_their_gradients_are_those_of_pytorch() {
    let expected = Fixture::open("clipn/expected.safetensors");
    let device = Device::flex().autodiff();
    let [images, yes] = ["images", "yes"].map(|name| expected.tensor::<2>(name, &device));
    let scale = expected.floats("scale")[0];
    let [count, _] = images.dims();
    let others: Vec<f32> = (0..count * count)
        .map(|pair| f32::from(u8::from(pair / count != pair % count)))
        .collect();
    let others = Tensor::<2>::from_data(TensorData::new(others, [count, count]), &device);
    let logits = |texts: &Tensor<2>| images.clone().matmul(texts.clone().transpose()) * scale;
    type Loss<'a> = &'a dyn Fn(&Tensor<2>) -> Tensor<1>;
    let itbo =
        |no: &Tensor<2>| image_text_binary_opposite(logits(&yes), logits(no), others.clone());
    let tso = |no: &Tensor<2>| text_semantic_opposite(yes.clone(), no.clone());
    for (name, loss) in [("itbo", &itbo as Loss), ("tso", &tso)] {
        let no = expected.tensor::<2>("no", &device).require_grad();
        let loss = loss(&no);
        assert_close(
            name,
            &values(loss.clone()),
            &expected.floats(name),
            TOLERANCE,
        );
        let gradient = no.grad(&loss.backward()).unwrap();
        let key = format!("{name}.gradient");
        assert_close(&key, &values(gradient), &expected.floats(&key), TOLERANCE);
    }
}

/// The fixture's prompts without their padding.
fn prompts(expected: &Fixture) -> Vec<Vec<u32>> {
    let length = expected.shape("tokens")[1];
    expected
        .integers("tokens")
        .chunks_exact(length)
        .zip(expected.integers("lengths"))
        .map(|(row, length)| row[..length as usize].iter().map(|&id| id as u32).collect())
        .collect()
}
