//! Checkpoints to import: safetensors, PyTorch archives, and pickles that would like to run.

use serde_json::json;

use super::Outcome::{Either, Refused, Used};
use super::archive::{Entry, zip};
use super::pickle::{Pickle, Tensor, state_dict};
use super::{Case, Damage, Outcome, safetensors_bytes, tiny};

const UNREADABLE: &[&str] = &[
    "cannot be read as a checkpoint",
    "is no state dict",
    "not a CLIP",
    "no checkpoint",
    "cannot be read (",
    "tensors take",
];

/// What is said of objects that would fill the memory.
const TOO_LARGE: &[&str] = &["would take more than 512 MiB of memory"];

/// The number that PyTorch's files of before 2020 begin with.
const LEGACY_MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// A file that a pickle's program would make if it ran.
pub const CANARY: &str = "negprompt-canary";

/// All cases: a file `checkpoint.EXT`, sometimes with its configuration.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![safetensors("whole", tiny::checkpoint(), Used)];
    for (name, bytes) in safetensors_bytes::broken(&tiny::checkpoint()) {
        let cause: &[&str] = &[
            "cannot be read as a checkpoint",
            "not a CLIP",
            "no checkpoint",
        ];
        cases.push(safetensors(name, bytes, Refused(cause)));
    }
    cases.extend(altered_weights());
    cases.extend(pickles());
    cases.extend(archives());
    cases.extend(configurations());
    cases.extend(other_files());
    cases
}

fn safetensors(name: &str, bytes: Vec<u8>, outcome: Outcome) -> Case {
    Case::file(name, "checkpoint.safetensors", bytes, outcome)
}

fn torch(name: &str, bytes: Vec<u8>, outcome: Outcome) -> Case {
    Case::file(name, "checkpoint.pt", bytes, outcome)
}

/// Whole files of numbers that cannot be.
fn altered_weights() -> Vec<Case> {
    let good = tiny::checkpoint();
    let mut damage = Damage::new(5);
    let end = |value: f32| {
        let mut bytes = good.clone();
        let length = bytes.len();
        bytes[length - 4..].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let mut cases = vec![
        safetensors("weights-with-nan", end(f32::NAN), Refused(&["is NaN"])),
        safetensors(
            "weights-with-infinity",
            end(f32::NEG_INFINITY),
            Refused(&["is -inf"]),
        ),
    ];
    for round in 0..6 {
        // Only the header: weights may well be other numbers.
        let header = 8 + u64::from_le_bytes(good[..8].try_into().expect("eight bytes")) as usize;
        let bent = damage.flip(&good[..header], 1 + round * 4);
        let bytes = [&bent, &good[header..]].concat();
        cases.push(safetensors(&format!("header-bent-{round}"), bytes, Either));
    }
    cases
}

/// Bare pickles.
fn pickles() -> Vec<Case> {
    let run = |module: &str, name: &str, argument: &str| {
        Pickle::default().call(module, name, argument).stop()
    };
    let touch = format!("touch {CANARY}");
    let python = format!("open('{CANARY}','w')");
    // A dictionary that names one list twice, forty times over: 2^40 nodes if it were copied.
    let mut doubling = Pickle::default().raw(b"]q\0");
    for level in 0..40u8 {
        doubling = doubling.raw(&[
            b'0',
            b']',
            b'h',
            level,
            b'a',
            b'h',
            level,
            b'a',
            b'q',
            level + 1,
        ]);
    }
    let tensor = |tensor: &Tensor| state_dict("visual.conv1.weight", tensor);
    vec![
        torch(
            "pickle-calls-os-system",
            run("os", "system", &touch),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-calls-posix-system",
            run("posix", "system", &touch),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-calls-subprocess",
            run("subprocess", "check_output", &touch),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-calls-eval",
            run("builtins", "eval", &python),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-calls-exec-of-python-2",
            run("__builtin__", "eval", &python),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-opens-a-file",
            Pickle::default()
                .global("builtins", "open")
                .raw(b"(")
                .text(CANARY)
                .text("w")
                .raw(b"tR")
                .stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-builds-an-instance",
            Pickle::default()
                .global("os", "_wrap_close")
                .raw(b")\x81}b")
                .stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-loads-another",
            run("torch", "load", "other.pt"),
            Refused(UNREADABLE),
        ),
        torch("pickle-empty", vec![0x80, 2], Refused(UNREADABLE)),
        torch(
            "pickle-stops-at-once",
            vec![0x80, 2, b'.'],
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-of-protocol-99",
            vec![0x80, 99, b'N', b'.'],
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-of-unknown-operations",
            vec![0x80, 2, 0xff, 0xfe, b'.'],
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-without-stop",
            Pickle::default().text("endless").raw(b"").stop()[..10].to_vec(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-of-none",
            Pickle::default().raw(b"N").stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-of-an-empty-dictionary",
            Pickle::default().raw(b"}").stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-of-marks",
            Pickle::default().raw(&b"(".repeat(1 << 20)).stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-of-a-million-lists",
            Pickle::default().raw(&b"]".repeat(1 << 20)).stop(),
            Refused(TOO_LARGE),
        ),
        torch(
            "pickle-of-three-million-tuples",
            Pickle::default().raw(&b")".repeat(3 << 20)).stop(),
            Refused(TOO_LARGE),
        ),
        torch(
            "pickle-of-copies",
            Pickle::default().raw(b"N").raw(&b"2\x86".repeat(50)).stop(),
            Refused(TOO_LARGE),
        ),
        torch(
            "pickle-of-nested-tuples",
            Pickle::default()
                .raw(b"N")
                .raw(&b"\x85".repeat(1 << 20))
                .stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-of-nested-dictionaries",
            Pickle::default()
                .raw(&b"}K\x01".repeat(200_000))
                .raw(&b"s".repeat(200_000))
                .stop(),
            Refused(UNREADABLE),
        ),
        torch("pickle-that-doubles", doubling.stop(), Refused(TOO_LARGE)),
        torch(
            "pickle-recalls-what-is-not-there",
            Pickle::default().raw(b"j\xff\xff\xff\x7f").stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-remembers-at-four-billion",
            Pickle::default().raw(b"Nr\xff\xff\xff\xff").stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-pops-nothing",
            Pickle::default().raw(b"0000").stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-with-a-text-of-four-gigabytes",
            Pickle::default().raw(b"X\xff\xff\xff\xff").stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-with-a-text-of-exabytes",
            Pickle::default()
                .raw(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f")
                .stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-with-bytes-of-four-gigabytes",
            Pickle::default().raw(b"B\xff\xff\xff\xff").stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-with-a-number-of-two-gigabytes",
            Pickle::default().raw(b"\x8b\xff\xff\xff\x7f").stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-with-a-frame-of-exabytes",
            Pickle::default()
                .raw(b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN")
                .stop(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickles-of-before-2020-with-a-long-list-of-keys",
            [
                Pickle::default().raw(LEGACY_MAGIC).stop(),
                Pickle::default().raw(b"M\xe9\x03").stop(),
                Pickle::default()
                    .raw(b"}")
                    .text("little_endian")
                    .raw(b"\x88s")
                    .stop(),
                Pickle::default().raw(b"}").stop(),
                Pickle::default()
                    .raw(b"(")
                    .raw(&b"N".repeat(1 << 20))
                    .raw(b"t")
                    .stop(),
            ]
            .concat(),
            Refused(UNREADABLE),
        ),
        torch(
            "pickle-with-a-tensor-and-no-data",
            tensor(&Tensor::default()),
            Refused(UNREADABLE),
        ),
    ]
}

/// ZIP archives as `torch.save` makes them, or nearly.
fn archives() -> Vec<Case> {
    let data = [0u8; 16];
    let archive = |pickle: Vec<u8>, data: Entry| {
        zip(&[
            Entry::stored("archive/data.pkl", &pickle),
            data,
            Entry::stored("archive/version", b"3\n"),
        ])
    };
    let with = |tensor: &Tensor| {
        let pickle = state_dict("visual.transformer.resblocks.0.ln_1.weight", tensor);
        archive(pickle, Entry::stored("archive/data/0", &data))
    };
    let large = Tensor {
        elements: 1 << 28,
        shape: &[1 << 28],
        stride: &[1],
        ..Tensor::default()
    };
    let fine = state_dict(
        "visual.transformer.resblocks.0.ln_1.weight",
        &Tensor::default(),
    );
    let whole = with(&Tensor::default());
    let mut damage = Damage::new(9);
    let mut cases = vec![
        torch(
            "archive-of-one-tensor",
            whole.clone(),
            Refused(&["it is cut short", "not a CLIP"]),
        ),
        torch(
            "archive-cut",
            whole[..whole.len() / 2].to_vec(),
            Refused(UNREADABLE),
        ),
        torch(
            "archive-cut-before-its-end",
            whole[..whole.len() - 5].to_vec(),
            Refused(UNREADABLE),
        ),
        torch(
            "archive-of-four-bytes",
            b"PK\x03\x04".to_vec(),
            Refused(UNREADABLE),
        ),
        torch("archive-of-nothing", zip(&[]), Refused(UNREADABLE)),
        torch(
            "archive-without-pickle",
            zip(&[Entry::stored("archive/data/0", &data)]),
            Refused(UNREADABLE),
        ),
        torch(
            "archive-without-data",
            zip(&[Entry::stored("archive/data.pkl", &fine)]),
            Refused(UNREADABLE),
        ),
        torch(
            "archive-with-a-wrong-checksum",
            archive(
                fine.clone(),
                Entry::stored("archive/data/0", &data).with_wrong_checksum(),
            ),
            Either,
        ),
        torch(
            "archive-whose-data-claims-four-gigabytes",
            archive(
                fine.clone(),
                Entry::stored("archive/data/0", &data).claiming(u32::MAX),
            ),
            Either,
        ),
        torch(
            "archive-bomb-of-data",
            archive(
                state_dict("visual.transformer.resblocks.0.ln_1.weight", &large),
                Entry::zeros("archive/data/0", 1 << 30),
            ),
            Refused(&["tensors take"]),
        ),
        torch(
            "archive-bomb-of-a-pickle",
            zip(&[
                Entry::zeros("archive/data.pkl", 1 << 30),
                Entry::stored("archive/data/0", &data),
            ]),
            Refused(UNREADABLE),
        ),
        torch(
            "archive-of-a-pickle-that-doubles",
            archive(
                Pickle::default().raw(b"N").raw(&b"2\x86".repeat(50)).stop(),
                Entry::stored("archive/data/0", &data),
            ),
            Refused(TOO_LARGE),
        ),
        torch(
            "archive-that-leads-out",
            zip(&[
                Entry::stored("../../archive/data.pkl", &fine),
                Entry::stored("../../archive/data/0", &data),
            ]),
            Either,
        ),
        torch(
            "archive-big-endian",
            zip(&[
                Entry::stored("archive/data.pkl", &fine),
                Entry::stored("archive/data/0", &data),
                Entry::stored("archive/byteorder", b"big"),
            ]),
            Refused(UNREADABLE),
        ),
        torch(
            "archive-of-torchscript",
            zip(&[
                Entry::stored("archive/code/model.py", b"import os"),
                Entry::stored("archive/constants.pkl", &fine),
                Entry::stored("archive/data.pkl", &Pickle::default().raw(b"N").stop()),
            ]),
            Refused(UNREADABLE),
        ),
    ];
    let shapes: [(&str, Tensor); 9] = [
        (
            "tensor-beyond-its-storage",
            Tensor {
                shape: &[1000],
                stride: &[1],
                ..Tensor::default()
            },
        ),
        (
            "tensor-of-negative-size",
            Tensor {
                shape: &[-2, 2],
                ..Tensor::default()
            },
        ),
        (
            "tensor-of-negative-stride",
            Tensor {
                stride: &[-2, 1],
                ..Tensor::default()
            },
        ),
        (
            "tensor-of-negative-offset",
            Tensor {
                offset: -1,
                ..Tensor::default()
            },
        ),
        (
            "tensor-of-huge-offset",
            Tensor {
                offset: i64::MAX,
                ..Tensor::default()
            },
        ),
        (
            "tensor-whose-shape-overflows",
            Tensor {
                shape: &[1 << 32, 1 << 32],
                ..Tensor::default()
            },
        ),
        (
            "tensor-of-a-billion-copies",
            Tensor {
                shape: &[1 << 30],
                stride: &[0],
                ..Tensor::default()
            },
        ),
        (
            "tensor-of-a-storage-without-end",
            Tensor {
                elements: i64::MAX,
                ..Tensor::default()
            },
        ),
        (
            "tensor-of-complex-numbers",
            Tensor {
                storage: "ComplexFloatStorage",
                ..Tensor::default()
            },
        ),
    ];
    for (name, tensor) in shapes {
        cases.push(torch(name, with(&tensor), Refused(UNREADABLE)));
    }
    for round in 0..6 {
        let name = format!("archive-bent-{round}");
        cases.push(torch(&name, damage.flip(&whole, 1 + round * 3), Either));
    }
    cases
}

/// A whole checkpoint beside a configuration that cannot be its own.
fn configurations() -> Vec<Case> {
    let beside = |name: &str, file: &str, json: serde_json::Value, cause| Case {
        name: name.to_owned(),
        files: vec![
            ("model.safetensors".to_owned(), tiny::checkpoint()),
            (file.to_owned(), json.to_string().into_bytes()),
        ],
        outcome: Refused(cause),
    };
    let clip = |vision: serde_json::Value| {
        json!({
            "embed_dim": 16,
            "vision_cfg": vision,
            "text_cfg": {"context_length": 24, "vocab_size": 600, "width": 32, "heads": 1, "layers": 1},
        })
    };
    const OPEN: &str = "open_clip_config.json";
    vec![
        beside(
            "open-clip-head-width-0",
            OPEN,
            clip(
                json!({"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 0}),
            ),
            &["heads"],
        ),
        beside(
            "open-clip-resnet-head-width-0",
            OPEN,
            clip(json!({"image_size": 32, "layers": [1, 1, 1, 1], "width": 32, "head_width": 0})),
            &["heads"],
        ),
        beside(
            "open-clip-patch-0",
            OPEN,
            clip(json!({"image_size": 32, "layers": 1, "width": 32, "patch_size": 0})),
            &["patch_size"],
        ),
        beside(
            "open-clip-no-patch",
            OPEN,
            clip(json!({"image_size": 32, "layers": 1, "width": 32, "head_width": 32})),
            &["has shape"],
        ),
        beside(
            "open-clip-ratio-infinite",
            OPEN,
            clip(
                json!({"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "mlp_ratio": 1e300}),
            ),
            &["mlp_width"],
        ),
        beside(
            "open-clip-ratio-negative",
            OPEN,
            clip(
                json!({"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "mlp_ratio": -4}),
            ),
            &["mlp_width"],
        ),
        beside(
            "open-clip-beyond-32-bits",
            OPEN,
            clip(
                json!({"image_size": 4_294_967_328u64, "layers": 1, "width": 32, "patch_size": 16, "head_width": 32}),
            ),
            &["size"],
        ),
        beside(
            "open-clip-of-another-width",
            OPEN,
            clip(
                json!({"image_size": 32, "layers": 1, "width": 64, "patch_size": 16, "head_width": 32}),
            ),
            &["has shape"],
        ),
        beside(
            "open-clip-of-layers-beyond-counting",
            OPEN,
            clip(
                json!({"image_size": 32, "layers": u64::MAX, "width": 32, "patch_size": 16, "head_width": 32}),
            ),
            &["layers"],
        ),
        beside(
            "open-clip-without-text",
            OPEN,
            json!({"embed_dim": 16}),
            &[OPEN],
        ),
        beside(
            "transformers-heads-0",
            "config.json",
            json!({"vision_config": {"num_attention_heads": 0}}),
            &["heads"],
        ),
        beside(
            "transformers-activation",
            "config.json",
            json!({"vision_config": {"hidden_act": "magic"}}),
            &["hidden_act"],
        ),
        beside(
            "transformers-a-list",
            "config.json",
            json!([1, 2]),
            &["expected a map"],
        ),
        beside(
            "transformers-scale-infinite",
            "config.json",
            json!({"logit_scale_init_value": 1e300}),
            &["has shape", "image", "heads", "tensor"],
        ),
        Case {
            name: "an-index-that-leads-out".to_owned(),
            files: vec![(
                "model.safetensors.index.json".to_owned(),
                json!({"weight_map": {"w": "../../secret.safetensors"}})
                    .to_string()
                    .into_bytes(),
            )],
            outcome: Refused(&["outside its folder"]),
        },
        Case {
            name: "an-index-of-missing-shards".to_owned(),
            files: vec![(
                "model.safetensors.index.json".to_owned(),
                json!({"weight_map": {"w": "a.safetensors"}})
                    .to_string()
                    .into_bytes(),
            )],
            outcome: Refused(&["a.safetensors"]),
        },
        Case {
            name: "an-index-of-nothing".to_owned(),
            files: vec![("model.safetensors.index.json".to_owned(), b"{}".to_vec())],
            outcome: Refused(&["does not say which file"]),
        },
        Case {
            name: "an-index-without-weights".to_owned(),
            files: vec![(
                "model.safetensors.index.json".to_owned(),
                b"{\"weight_map\":{}}".to_vec(),
            )],
            outcome: Refused(&["names no weight"]),
        },
    ]
}

/// Files that are no checkpoint at all.
fn other_files() -> Vec<Case> {
    let file = |name: &str, extension: &str, bytes: Vec<u8>, cause| {
        Case::file(
            name,
            &format!("checkpoint.{extension}"),
            bytes,
            Refused(cause),
        )
    };
    vec![
        file("nothing", "pt", Vec::new(), &["is empty"]),
        file("one-byte", "pt", vec![0x80], UNREADABLE),
        file(
            "a-page",
            "bin",
            b"<html>404</html>".to_vec(),
            &["a web page"],
        ),
        file(
            "a-pointer",
            "bin",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(),
            &["Git LFS"],
        ),
        file("zeros", "pth", vec![0; 1 << 20], &["is no checkpoint"]),
        file(
            "a-picture",
            "pt",
            super::images::whole()[0].1.clone(),
            &["is no checkpoint"],
        ),
        file(
            "a-tape-archive",
            "pt",
            [vec![0; 257], b"ustar".to_vec(), vec![0; 800]].concat(),
            &["is no checkpoint"],
        ),
    ]
}
