//! Model directories with one thing wrong.

use serde_json::{Value, json};
use shared::bundle::{Precision, decode_tensors, encode_tensors};

use super::Outcome::{Refused, Used};
use super::{Case, safetensors_bytes, tiny};

/// Cases that show when images are encoded: configuration and image tower.
pub fn image_cases() -> Vec<Case> {
    let mut cases = vec![changed("whole", |_| (), Used)];
    type Change = fn(&mut Value);
    let fields: Vec<(&str, Change, &'static [&'static str])> = vec![
        (
            "config-of-transformers",
            |c| *c = json!({"architectures": ["CLIPModel"]}),
            &["is not the configuration"],
        ),
        (
            "config-patch-0",
            |c| c["image"]["patch_size"] = 0.into(),
            &["patch_size"],
        ),
        (
            "config-heads-0",
            |c| c["image"]["heads"] = 0.into(),
            &["heads"],
        ),
        (
            "config-heads-7",
            |c| c["image"]["heads"] = 7.into(),
            &["heads"],
        ),
        (
            "config-layers-beyond-counting",
            |c| c["image"]["layers"] = json!(u64::MAX),
            &["layers"],
        ),
        (
            "config-image-size-beyond-32-bits",
            |c| c["image"]["image_size"] = json!(1u64 << 40),
            &["preprocessing.size"],
        ),
        (
            "config-size-of-a-million",
            |c| c["preprocessing"]["size"] = 1_000_000.into(),
            &["size is 1000000"],
        ),
        (
            "config-std-0",
            |c| c["preprocessing"]["std"][2] = 0.into(),
            &["std"],
        ),
        (
            "config-embed-dim-0",
            |c| c["embed_dim"] = 0.into(),
            &["embed_dim"],
        ),
        (
            "config-embed-dim-of-another",
            |c| c["embed_dim"] = 17.into(),
            &["has shape"],
        ),
        (
            "config-logit-scale-infinite",
            |c| c["logit_scale"] = json!(1e300),
            &["logit_scale"],
        ),
        (
            "config-resnet-of-33-pixels",
            |c| {
                c["image"] = json!({"kind": "modified-resnet", "image_size": 33, "layers": [1, 1, 1, 1], "width": 8, "heads": 4});
                c["preprocessing"]["size"] = 33.into();
                c["preprocessing"]["resize"] = 33.into();
            },
            &["multiple of 32"],
        ),
        (
            "config-resnet-of-shifted-width",
            |c| c["image"] = json!({"kind": "modified-resnet", "image_size": 32, "layers": [1, 1, 1, 1], "width": 1u64 << 62, "heads": 4}),
            &["width"],
        ),
        (
            "config-efficientnet-stride-0",
            |c| c["image"] = json!({"kind": "efficientnet-lite", "image_size": 32, "stem_width": 32, "stages": [{"repeats": 1, "kernel": 3, "stride": 0, "expand": 1, "input": 32, "output": 16}], "head_width": 16, "projection": false}),
            &["stride"],
        ),
        (
            "config-efficientnet-of-a-billion-blocks",
            |c| c["image"] = json!({"kind": "efficientnet-lite", "image_size": 32, "stem_width": 32, "stages": [{"repeats": 1_000_000_000u64, "kernel": 3, "stride": 1, "expand": 1, "input": 32, "output": 16}], "head_width": 16, "projection": false}),
            &["repeats"],
        ),
        (
            "config-efficientnet-of-even-kernel",
            |c| c["image"] = json!({"kind": "efficientnet-lite", "image_size": 32, "stem_width": 32, "stages": [{"repeats": 1, "kernel": 4, "stride": 1, "expand": 1, "input": 32, "output": 16}], "head_width": 16, "projection": false}),
            &["kernel"],
        ),
    ];
    for (name, change, cause) in fields {
        let change = |files: &mut Files| {
            let config = file(files, "config.json");
            let mut json: Value = serde_json::from_slice(config).expect("JSON");
            change(&mut json);
            *config = serde_json::to_vec(&json).expect("serialises");
        };
        cases.push(changed(name, change, Refused(cause)));
    }
    for (name, text, cause) in [
        ("config-empty", Vec::new(), "is not the configuration"),
        (
            "config-nested",
            b"[".repeat(300_000),
            "is not the configuration",
        ),
        (
            "config-of-17-megabytes",
            vec![b' '; 17 << 20],
            "bytes, which is more than",
        ),
        (
            "config-no-utf8",
            b"{\"name\":\"\xff\xff\"}".to_vec(),
            "is not the configuration",
        ),
    ] {
        let cause: &'static [&'static str] = Box::leak(Box::new([cause]));
        cases.push(changed(
            name,
            |files| *file(files, "config.json") = text,
            Refused(cause),
        ));
    }
    let good = file(&mut tiny::model(), "image.safetensors").clone();
    for (name, bytes) in safetensors_bytes::broken(&good) {
        let cause: &[&str] = &["safetensors", "tensor"];
        let name = format!("image-{name}");
        cases.push(changed(
            &name,
            |files| *file(files, "image.safetensors") = bytes,
            Refused(cause),
        ));
    }
    for (name, value, cause) in [
        ("image-with-nan", f32::NAN, "weights are broken"),
        ("image-with-infinity", f32::INFINITY, "weights are broken"),
    ] {
        let cause: &'static [&'static str] = Box::leak(Box::new([cause]));
        let poison = |files: &mut Files| {
            let bytes = file(files, "image.safetensors");
            let length = bytes.len();
            bytes[length - 4..].copy_from_slice(&value.to_le_bytes());
        };
        cases.push(changed(name, poison, Refused(cause)));
    }
    let filled = |files: &mut Files, value: f32| {
        let bytes = file(files, "image.safetensors");
        let mut tensors = decode_tensors("image", bytes).expect("whole");
        for tensor in tensors.values_mut() {
            tensor.values.fill(value);
        }
        *bytes = encode_tensors(&tensors, Precision::F32).expect("finite");
    };
    cases.push(changed(
        "image-of-zeros",
        |files| filled(files, 0.0),
        Refused(&["all zeros"]),
    ));
    cases.push(changed(
        "image-that-overflows",
        |files| filled(files, 3e38),
        Refused(&["its feature holds"]),
    ));
    cases.push(changed(
        "no-image-tower",
        |files| files.retain(|(name, _)| name != "image.safetensors"),
        Refused(&["image.safetensors"]),
    ));
    cases.push(changed(
        "no-config",
        |files| files.retain(|(name, _)| name != "config.json"),
        Refused(&["no model directory"]),
    ));
    cases
}

/// Cases that show when prompts are learned: text tower and vocabulary.
pub fn text_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut vocabulary = |name: &str, text: Vec<u8>, cause: &'static [&'static str]| {
        let replace = |files: &mut Files| *file(files, "vocabulary.txt") = text;
        cases.push(changed(name, replace, Refused(cause)));
    };
    let good = tiny::vocabulary();
    let line = |count: usize| good.lines().take(count).collect::<Vec<_>>().join("\n");
    vocabulary("vocabulary-empty", Vec::new(), &["instead of"]);
    vocabulary(
        "vocabulary-no-utf8",
        b"#version: 0.2\n\xff \xfe\n".to_vec(),
        &["no UTF-8"],
    );
    vocabulary(
        "vocabulary-cut",
        line(4).into_bytes(),
        &["do not belong together"],
    );
    vocabulary(
        "vocabulary-without-header",
        line(9).as_bytes()[14..].to_vec(),
        &["instead of"],
    );
    vocabulary(
        "vocabulary-of-one-piece",
        format!("{good}alone\n").into_bytes(),
        &["not two pieces"],
    );
    vocabulary(
        "vocabulary-of-strangers",
        format!("{good}zz qq\n").into_bytes(),
        &["neither a byte nor made"],
    );
    vocabulary(
        "vocabulary-twice",
        format!("{good}{}", line(2).lines().last().unwrap_or_default()).into_bytes(),
        &["is there already"],
    );
    vocabulary(
        "vocabulary-with-a-line-of-a-megabyte",
        format!("#version: 0.2\n{} b\n", "a".repeat(1 << 20)).into_bytes(),
        &["neither a byte nor made"],
    );
    let text = file(&mut tiny::model(), "text.safetensors").clone();
    cases.push(changed(
        "text-cut",
        |files| *file(files, "text.safetensors") = text[..text.len() / 2].to_vec(),
        Refused(&["safetensors"]),
    ));
    cases.push(changed(
        "no-text-tower",
        |files| files.retain(|(name, _)| name != "text.safetensors"),
        Refused(&["text.safetensors"]),
    ));
    cases.push(changed(
        "no-vocabulary",
        |files| files.retain(|(name, _)| name != "vocabulary.txt"),
        Refused(&["vocabulary.txt"]),
    ));
    cases
}

type Files = Vec<(String, Vec<u8>)>;

fn file<'a>(files: &'a mut Files, name: &str) -> &'a mut Vec<u8> {
    let found = files.iter_mut().find(|(file, _)| file == name);
    &mut found.expect("a file of the model").1
}

fn changed(name: &str, change: impl FnOnce(&mut Files), outcome: super::Outcome) -> Case {
    let mut files = tiny::model();
    change(&mut files);
    Case {
        name: name.to_owned(),
        files,
        outcome,
    }
}
