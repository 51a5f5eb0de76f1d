//! The image tower of a bundle as an ONNX file, so that another runtime can run the same network.

mod efficientnet;
mod vit;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use half::f16;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// ONNX's number for 32-bit floats.
const FLOAT: u64 = 1;
/// ONNX's number for 64-bit whole numbers.
const INTEGER: u64 = 7;
/// ONNX's operator set: the one that brought `LayerNormalization`.
const OPERATORS: u64 = 17;

/// Writes the image tower of `bundle` to `file`, and returns the side of its input in pixels.
///
/// # Errors
/// When the bundle holds no EfficientNet-Lite or vision transformer in single or half precision.
pub fn write(bundle: &Path, file: &Path) -> Result<u64> {
    let manifest: Value = serde_json::from_slice(&std::fs::read(bundle.join("bundle.json"))?)?;
    let mut graph = Graph {
        weights: weights(bundle, &manifest)?,
        ..Graph::default()
    };
    let config = &manifest["model"]["image"];
    let (output, size) = match config["kind"].as_str() {
        Some("efficientnet-lite") => efficientnet::tower(&mut graph, config)?,
        Some("vit") => vit::tower(&mut graph, config)?,
        other => {
            bail!("a tower of kind {other:?} is not compared; take an EfficientNet-Lite or a ViT")
        }
    };
    std::fs::write(file, graph.model(&output, size))?;
    Ok(size)
}

/// A whole number of the configuration.
fn setting(config: &Value, name: &str) -> Result<u64> {
    config[name]
        .as_u64()
        .with_context(|| format!("the configuration has no {name}"))
}

type Weights = HashMap<String, (Vec<u64>, Vec<f32>)>;

fn weights(bundle: &Path, manifest: &Value) -> Result<Weights> {
    let mut weights = Weights::new();
    for entry in manifest["files"].as_array().into_iter().flatten() {
        if entry["role"] != "image-tower" {
            continue;
        }
        let bytes = std::fs::read(bundle.join(entry["name"].as_str().unwrap_or_default()))?;
        for (name, tensor) in SafeTensors::deserialize(&bytes)?.tensors() {
            let values = match tensor.dtype() {
                Dtype::F32 => tensor
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect(),
                Dtype::F16 => tensor
                    .data()
                    .chunks_exact(2)
                    .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
                    .collect(),
                other => bail!("{name} is stored as {other:?}; export the bundle in f32 or f16"),
            };
            let shape = tensor.shape().iter().map(|length| *length as u64).collect();
            weights.insert(name, (shape, values));
        }
    }
    Ok(weights)
}

enum Attribute {
    Integer(u64),
    Integers(Vec<u64>),
}

/// The parts of an ONNX graph, already in the wire format of protocol buffers.
#[derive(Default)]
struct Graph {
    weights: Weights,
    nodes: Vec<u8>,
    constants: Vec<u8>,
}

impl Graph {
    /// Adds a node and returns the name of its output.
    fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute)],
    ) -> String {
        self.add(operator, inputs, &[output], attributes);
        output.to_owned()
    }

    /// Adds a node of several outputs.
    fn add(
        &mut self,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) {
        let mut node = Vec::new();
        for input in inputs {
            text(&mut node, 1, input);
        }
        for output in outputs {
            text(&mut node, 2, output);
        }
        text(&mut node, 4, operator);
        for (name, value) in attributes {
            let mut attribute = Vec::new();
            text(&mut attribute, 1, name);
            match value {
                Attribute::Integer(value) => {
                    number(&mut attribute, 3, *value);
                    number(&mut attribute, 20, 2);
                }
                Attribute::Integers(values) => {
                    for value in values {
                        number(&mut attribute, 8, *value);
                    }
                    number(&mut attribute, 20, 7);
                }
            }
            bytes(&mut node, 5, &attribute);
        }
        bytes(&mut self.nodes, 1, &node);
    }

    fn take(&mut self, name: &str) -> Result<(Vec<u64>, Vec<f32>)> {
        let taken = self.weights.remove(name);
        taken.with_context(|| format!("the bundle has no tensor {name}"))
    }

    /// Puts a weight of the tower into the graph.
    fn stored(&mut self, name: &str) -> Result<String> {
        let (shape, values) = self.take(name)?;
        self.constant(name, &shape, &values);
        Ok(name.to_owned())
    }

    /// A list of whole numbers, such as a shape.
    fn integers(&mut self, name: &str, values: &[i64]) {
        let content: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.initializer(name, &[values.len() as u64], INTEGER, &content);
    }

    fn constant(&mut self, name: &str, shape: &[u64], values: &[f32]) {
        let content: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.initializer(name, shape, FLOAT, &content);
    }

    fn initializer(&mut self, name: &str, shape: &[u64], kind: u64, content: &[u8]) {
        let mut tensor = Vec::new();
        for length in shape {
            number(&mut tensor, 1, *length);
        }
        number(&mut tensor, 2, kind);
        text(&mut tensor, 8, name);
        bytes(&mut tensor, 9, content);
        bytes(&mut self.constants, 5, &tensor);
    }

    fn model(&self, output: &str, size: u64) -> Vec<u8> {
        let mut graph = self.nodes.clone();
        text(&mut graph, 2, "image-tower");
        graph.extend(&self.constants);
        bytes(&mut graph, 11, &value("pixels", &[1, 3, size, size]));
        bytes(&mut graph, 12, &value(output, &[]));
        let mut operators = Vec::new();
        number(&mut operators, 2, OPERATORS);
        let mut model = Vec::new();
        number(&mut model, 1, 8);
        bytes(&mut model, 7, &graph);
        bytes(&mut model, 8, &operators);
        model
    }
}

/// A named tensor without content; without a shape when `shape` is empty.
fn value(name: &str, shape: &[u64]) -> Vec<u8> {
    let mut dimensions = Vec::new();
    for length in shape {
        let mut dimension = Vec::new();
        number(&mut dimension, 1, *length);
        bytes(&mut dimensions, 1, &dimension);
    }
    let mut tensor = Vec::new();
    number(&mut tensor, 1, FLOAT);
    if !shape.is_empty() {
        bytes(&mut tensor, 2, &dimensions);
    }
    let mut kind = Vec::new();
    bytes(&mut kind, 1, &tensor);
    let mut value = Vec::new();
    text(&mut value, 1, name);
    bytes(&mut value, 2, &kind);
    value
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, content.len() as u64);
    out.extend(content);
}

fn text(out: &mut Vec<u8>, field: u64, content: &str) {
    bytes(out, field, content.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_format() {
        let mut out = Vec::new();
        number(&mut out, 1, 300);
        text(&mut out, 2, "ab");
        assert_eq!(out, [0x08, 0xac, 0x02, 0x12, 0x02, b'a', b'b']);
        let mut far = Vec::new();
        number(&mut far, 20, 7);
        assert_eq!(far, [0xa0, 0x01, 0x07]);
    }
}
