//! An EfficientNet-Lite with random weights and a small classifier, in the naming of
//! efficientnet-lite-pytorch, and a concept corpus for it: what `trainer lit` starts from.

use shared::bundle::{Precision, TensorValues, Tensors, encode_tensors};
use shared::clip::config::EfficientNetLiteConfig;

use super::Damage;

/// Classes of the classifier: as many as a small joint space takes.
pub const CLASSES: usize = 84;

/// The checkpoint of a Lite0, as safetensors.
pub fn checkpoint() -> Vec<u8> {
    checkpoint_of(&EfficientNetLiteConfig::lite0())
}

/// The checkpoint of another of the family.
pub fn checkpoint_of(config: &EfficientNetLiteConfig) -> Vec<u8> {
    let mut made = Tower {
        random: Damage::new(13),
        tensors: Tensors::new(),
    };
    made.convolution("_conv_stem", "_bn0", &[config.stem_width, 3, 3, 3]);
    let mut index = 0;
    for stage in &config.stages {
        for repeat in 0..stage.repeats {
            let inputs = if repeat == 0 {
                stage.input
            } else {
                stage.output
            };
            let hidden = inputs * stage.expand;
            let name = |part: &str| format!("_blocks.{index}.{part}");
            if hidden != inputs {
                made.convolution(
                    &name("_expand_conv"),
                    &name("_bn0"),
                    &[hidden, inputs, 1, 1],
                );
            }
            let kernel = [hidden, 1, stage.kernel, stage.kernel];
            made.convolution(&name("_depthwise_conv"), &name("_bn1"), &kernel);
            made.convolution(
                &name("_project_conv"),
                &name("_bn2"),
                &[stage.output, hidden, 1, 1],
            );
            index += 1;
        }
    }
    let last = config.stages.last().map_or(0, |stage| stage.output);
    made.convolution("_conv_head", "_bn1", &[config.head_width, last, 1, 1]);
    made.random("_fc.weight", &[CLASSES, config.head_width], 0.2);
    made.random("_fc.bias", &[CLASSES], 0.1);
    encode_tensors(&made.tensors, Precision::F32).expect("finite weights")
}

struct Tower {
    random: Damage,
    tensors: Tensors,
}

impl Tower {
    fn convolution(&mut self, name: &str, norm: &str, shape: &[usize]) {
        // Large enough that activations neither die nor blow up over 50 layers.
        let inputs: usize = shape[1..].iter().product();
        self.random(
            &format!("{name}.weight"),
            shape,
            (6.0 / inputs as f32).sqrt(),
        );
        for (part, value) in [
            ("weight", 1.0),
            ("bias", 0.1),
            ("running_mean", 0.0),
            ("running_var", 1.0),
        ] {
            let tensor = TensorValues::new([shape[0]], vec![value; shape[0]]).expect("filled");
            self.tensors.insert(format!("{norm}.{part}"), tensor);
        }
    }

    fn random(&mut self, name: &str, shape: &[usize], reach: f32) {
        let count = shape.iter().product();
        let values = (0..count)
            .map(|_| reach * ((self.random.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0))
            .collect();
        let tensor = TensorValues::new(shape, values).expect("filled");
        self.tensors.insert(name.to_owned(), tensor);
    }
}

/// A corpus of the classifier's classes and of the photographed classes blue, green and red.
pub fn concepts() -> String {
    let class = |index: usize| {
        format!(
            r#"{{"kind":"imagenet","index":{index},"synset":"n{:08}","name":"fish {index}","synonyms":["tench {index}"],"hypernyms":["fish"],"attributes":["wet"]}}"#,
            index + 1
        )
    };
    let mut lines: Vec<String> = (0..CLASSES).map(class).collect();
    lines.push(OTHERS.to_owned());
    lines.join("\n")
}

const OTHERS: &str = r#"{"kind":"caltech","class":"blue","name":"blue","synonyms":[],"like":[0]}
{"kind":"caltech","class":"green","name":"green","synonyms":[],"like":[1]}
{"kind":"caltech","class":"red","name":"red","synonyms":[],"like":[]}
{"kind":"hypernym","name":"fish","synonyms":[],"leaves":[0,1]}
{"kind":"noun","name":"water","synonyms":[],"leaves":[0,1]}
{"kind":"attribute","name":"wet","synonyms":[],"leaves":[0]}
{"kind":"style","name":"a drawing","synonyms":[],"leaves":[0,1,2],"weight":0.3}
"#;
