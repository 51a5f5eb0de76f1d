//! The text tower being trained: its first weights, its names on the disk, its features.

use anyhow::{Context, Result};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use shared::bundle::{TensorValues, Tensors};
use shared::clip::config::TextTowerConfig;
use shared::clip::text::TextTower;
use shared::clip::{Activation, Tokenizer, Weights, normalize};

use super::matrix::values;
use super::random::Random;
use crate::training::module_checkpoint::numbered;

/// Prompts that are encoded together.
const TOGETHER: usize = 256;

/// Width of an attention head, as in CLIP.
pub const HEAD_WIDTH: usize = 64;

/// Shape of the text tower for a vocabulary of this size; `width` is a multiple of [`HEAD_WIDTH`].
pub fn config(vocabulary_size: usize, width: usize, layers: usize) -> TextTowerConfig {
    TextTowerConfig {
        context_length: 32,
        vocabulary_size,
        width,
        layers,
        heads: width / HEAD_WIDTH,
        mlp_width: width * 8 / 5,
        activation: Activation::QuickGelu,
    }
}

/// Random weights as CLIP draws them, under OpenAI's names.
pub fn initial(config: &TextTowerConfig, d: usize, random: &mut Random) -> Tensors {
    let width = config.width as f32;
    let attention = width.powf(-0.5);
    let residual = attention * (2.0 * config.layers as f32).powf(-0.5);
    let mut tensors = Tensors::new();
    let mut draw = |name: String, shape: Vec<usize>, deviation: f32| {
        let values = random.normals(shape.iter().product(), deviation);
        tensors.insert(name, TensorValues { shape, values });
    };
    let (w, mlp) = (config.width, config.mlp_width);
    draw(
        "token_embedding.weight".into(),
        vec![config.vocabulary_size, w],
        0.02,
    );
    draw(
        "positional_embedding".into(),
        vec![config.context_length, w],
        0.01,
    );
    draw("text_projection".into(), vec![w, d], attention);
    for layer in 0..config.layers {
        let name = |part: &str| format!("transformer.resblocks.{layer}.{part}");
        draw(name("attn.in_proj_weight"), vec![3 * w, w], attention);
        draw(name("attn.out_proj.weight"), vec![w, w], residual);
        draw(
            name("mlp.c_fc.weight"),
            vec![mlp, w],
            (2.0 * width).powf(-0.5),
        );
        draw(name("mlp.c_proj.weight"), vec![w, mlp], residual);
    }
    let mut constant = |name: String, length: usize, value: f32| {
        tensors.insert(
            name,
            TensorValues {
                shape: vec![length],
                values: vec![value; length],
            },
        );
    };
    for layer in 0..config.layers {
        let name = |part: &str| format!("transformer.resblocks.{layer}.{part}");
        constant(name("attn.in_proj_bias"), 3 * w, 0.0);
        constant(name("attn.out_proj.bias"), w, 0.0);
        constant(name("mlp.c_fc.bias"), mlp, 0.0);
        constant(name("mlp.c_proj.bias"), w, 0.0);
        for norm in ["ln_1", "ln_2"] {
            constant(name(&format!("{norm}.weight")), w, 1.0);
            constant(name(&format!("{norm}.bias")), w, 0.0);
        }
    }
    constant("ln_final.weight".into(), w, 1.0);
    constant("ln_final.bias".into(), w, 0.0);
    tensors
}

/// A tower of these weights whose parameters have the same identities in every run, so that an
/// optimizer's state fits after a restart.
pub fn load(
    tensors: &Tensors,
    config: &TextTowerConfig,
    d: usize,
    device: &Device,
) -> Result<TextTower> {
    let tower = TextTower::load(&Weights::new(tensors, device), config, d)?;
    Ok(numbered(tower))
}

/// The weights of a tower under OpenAI's names.
pub fn tensors(tower: &TextTower) -> Result<Tensors> {
    let mut names = Naming {
        path: Vec::new(),
        tensors: Tensors::new(),
        error: None,
    };
    tower.visit(&mut names);
    names.error.map_or(Ok(names.tensors), Err)
}

struct Naming {
    path: Vec<String>,
    tensors: Tensors,
    error: Option<anyhow::Error>,
}

impl Naming {
    fn keep<const D: usize>(&mut self, tensor: Tensor<D>) -> Result<()> {
        let path = self.path.join(".");
        let (name, transposed) = openai_name(&path)
            .with_context(|| format!("the text tower has a parameter `{path}` of no known name"))?;
        let shape = tensor.dims().to_vec();
        let stored = values(tensor)?;
        let (shape, values) = match (transposed, shape.as_slice()) {
            (true, &[inputs, outputs]) => {
                let mut turned = Vec::with_capacity(stored.len());
                for output in 0..outputs {
                    turned.extend((0..inputs).map(|input| stored[input * outputs + output]));
                }
                (vec![outputs, inputs], turned)
            }
            _ => (shape, stored),
        };
        self.tensors.insert(name, TensorValues { shape, values });
        Ok(())
    }
}

impl ModuleVisitor for Naming {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val().detach();
        if let Err(error) = self.keep(tensor) {
            self.error.get_or_insert(error);
        }
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

/// OpenAI's name of a parameter, and whether Burn keeps it transposed.
fn openai_name(path: &str) -> Option<(String, bool)> {
    let norm = |part: &str| match part {
        "gamma" => Some("weight"),
        "beta" => Some("bias"),
        _ => None,
    };
    let parts: Vec<_> = path.split('.').collect();
    Some(match parts.as_slice() {
        ["token_embedding"] => ("token_embedding.weight".to_owned(), false),
        ["positional_embedding"] => ("positional_embedding".to_owned(), false),
        ["projection"] => ("text_projection".to_owned(), false),
        ["ln_final", part] => (format!("ln_final.{}", norm(part)?), false),
        ["blocks", layer, rest @ ..] => {
            let (name, transposed) = match rest {
                [ln @ ("ln_1" | "ln_2"), part] => (format!("{ln}.{}", norm(part)?), false),
                ["query_key_value", part] => (format!("attn.in_proj_{part}"), *part == "weight"),
                ["output", part] => (format!("attn.out_proj.{part}"), *part == "weight"),
                ["mlp_in", part] => (format!("mlp.c_fc.{part}"), *part == "weight"),
                ["mlp_out", part] => (format!("mlp.c_proj.{part}"), *part == "weight"),
                _ => return None,
            };
            (format!("transformer.resblocks.{layer}.{name}"), transposed)
        }
        _ => return None,
    })
}

/// Unit features `[names, d]`, averaged over the templates before the last normalisation.
pub fn class_features(
    tower: &TextTower,
    tokenizer: &Tokenizer,
    names: &[&str],
    templates: &[&str],
) -> Tensor<2> {
    let length = tower.context_length();
    let mean = templates
        .iter()
        .fold(None, |sum: Option<Tensor<2>>, template| {
            let prompts: Vec<_> = names
                .iter()
                .map(|name| tokenizer.tokenize(&template.replace("{}", name), length))
                .collect();
            let parts: Vec<_> = prompts
                .chunks(TOGETHER)
                .map(|prompts| normalize(tower.forward(prompts).detach()))
                .collect();
            let features = Tensor::cat(parts, 0);
            Some(sum.map_or(features.clone(), |sum| sum + features))
        });
    mean.map_or_else(|| Tensor::zeros([0, 0], &tower.device()), normalize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_come_back_under_their_names() {
        let config = TextTowerConfig {
            context_length: 6,
            vocabulary_size: 20,
            width: 8,
            layers: 2,
            heads: 2,
            mlp_width: 12,
            activation: Activation::QuickGelu,
        };
        let initial = initial(&config, 5, &mut Random::new(3, 0));
        let tower = load(&initial, &config, 5, &Device::flex()).unwrap();
        assert_eq!(tensors(&tower).unwrap(), initial);
        let again = load(&initial, &config, 5, &Device::flex().autodiff()).unwrap();
        assert_eq!(tensors(&again).unwrap(), initial);
    }
}
