//! Bundles with one thing wrong: in the manifest, in a file, or between the two.

use serde_json::{Value, json};
use shared::bundle::{
    MANIFEST_FILE, Precision, TensorValues, Tensors, decode_tensors, encode_tensors, sha256_hex,
};

use super::Outcome::{Either, Refused, Used};
use super::{Case, Damage, Outcome, safetensors_bytes, tiny};

/// A bundle being bent.
#[derive(Clone)]
struct Bent {
    manifest: Value,
    files: Vec<(String, Vec<u8>)>,
}

impl Bent {
    fn whole() -> Self {
        let mut files = tiny::bundle();
        let (_, manifest) = files.pop().expect("the manifest comes last");
        Self {
            manifest: serde_json::from_slice(&manifest).expect("JSON"),
            files,
        }
    }

    /// Puts other bytes in the place of the file of this role, with their size, hash and name.
    fn replace(&mut self, role: &str, bytes: Vec<u8>) {
        let entry = self.entry(role);
        let old = entry["name"].as_str().expect("a name").to_owned();
        let hash = sha256_hex(&bytes);
        let extension = old.rsplit('.').next().unwrap_or("bin").to_owned();
        let name = format!("{role}-{}.{extension}", &hash[..16]);
        entry["name"] = name.clone().into();
        entry["sha256"] = hash.into();
        entry["bytes"] = bytes.len().into();
        let file = self.files.iter_mut().find(|(name, _)| *name == old);
        *file.expect("a file for every entry") = (name, bytes);
    }

    fn entry(&mut self, role: &str) -> &mut Value {
        let entries = self.manifest["files"].as_array_mut().expect("a list");
        let entry = entries.iter_mut().find(|entry| entry["role"] == role);
        entry.expect("an entry of every role")
    }

    fn content(&self, role: &str) -> &[u8] {
        let prefix = format!("{role}-");
        let file = self
            .files
            .iter()
            .find(|(name, _)| name.starts_with(&prefix));
        &file.expect("a file of every role").1
    }

    /// Changes the tensors of a role and stores them again in single precision.
    fn tensors(&mut self, role: &str, change: impl FnOnce(&mut Tensors)) {
        let mut tensors = decode_tensors(role, self.content(role)).expect("whole tensors");
        change(&mut tensors);
        let bytes = encode_tensors(&tensors, Precision::F32).expect("finite tensors");
        self.entry(role)["dtype"] = "f32".into();
        self.replace(role, bytes);
    }

    fn case(self, name: &str, outcome: Outcome) -> Case {
        let manifest = serde_json::to_vec(&self.manifest).expect("serialises");
        self.with_manifest(name, manifest, outcome)
    }

    fn with_manifest(self, name: &str, manifest: Vec<u8>, outcome: Outcome) -> Case {
        let mut files = self.files;
        files.push((MANIFEST_FILE.to_owned(), manifest));
        Case {
            name: name.to_owned(),
            files,
            outcome,
        }
    }
}

/// All cases, each a folder.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![Bent::whole().case("whole", Used)];
    cases.extend(manifest_texts());
    cases.extend(manifest_fields());
    cases.extend(file_cases());
    cases.extend(tensor_cases());
    cases
}

/// `bundle.json` as bytes that are no manifest.
fn manifest_texts() -> Vec<Case> {
    let whole = serde_json::to_vec(&Bent::whole().manifest).expect("serialises");
    let mut damage = Damage::new(3);
    let text = |name: &str, bytes: &[u8], cause| {
        Bent::whole().with_manifest(name, bytes.to_vec(), Refused(cause))
    };
    let deep = |open: &str, close: &str| {
        format!(
            "{{\"format\":{}1{}}}",
            open.repeat(200_000),
            close.repeat(200_000)
        )
    };
    let many_keys: String = (0..400_000).map(|n| format!("\"k{n}\":0,")).collect();
    let mut cases = vec![
        text("manifest-empty", b"", &["not a negprompt-bundle manifest"]),
        text("manifest-of-zeros", &[0; 1000], &["not a negprompt-bundle manifest"]),
        text("manifest-is-a-number", b"7", &["not a negprompt-bundle manifest"]),
        text("manifest-is-a-list", b"[]", &["not a negprompt-bundle manifest"]),
        text("manifest-of-nothing", b"{}", &["its format is"]),
        text("manifest-is-a-page", b"<!doctype html>", &["not a negprompt-bundle manifest"]),
        text("manifest-no-utf8", b"{\"format\":\"\xff\xfe\"}", &["not a negprompt-bundle manifest"]),
        text("manifest-cut", &whole[..whole.len() / 2], &["not a negprompt-bundle manifest", "content"]),
        text("manifest-nested-lists", deep("[", "]").as_bytes(), &["recursion limit", "not a negprompt-bundle manifest"]),
        text("manifest-nested-objects", deep("{\"a\":", "}").as_bytes(), &["recursion limit", "not a negprompt-bundle manifest"]),
        text("manifest-of-many-keys", format!("{{{many_keys}\"x\":1}}").as_bytes(), &["its format is"]),
        text("manifest-of-20-megabytes", &[&whole[..], &vec![b' '; 20_000_000]].concat(), &["bytes, which is more than", "are above"]),
        text("manifest-with-a-number-of-a-megabyte", format!("{{\"format\":1{}}}", "0".repeat(1 << 20)).as_bytes(), &["not a negprompt-bundle manifest"]),
        text("manifest-with-format-twice", b"{\"format\":\"negprompt-bundle\",\"format\":\"negprompt-bundle\",\"format_version\":1}", &["duplicate field", "not a negprompt-bundle"]),
    ];
    for round in 0..6 {
        let bytes = damage.flip(&whole, 1 + round * 3);
        cases.push(Bent::whole().with_manifest(&format!("manifest-bent-{round}"), bytes, Either));
    }
    cases
}

/// One field of the manifest that cannot be.
fn manifest_fields() -> Vec<Case> {
    type Change = fn(&mut Value);
    let long = "x".repeat(5_000);
    let fields: Vec<(&str, Change, &'static [&'static str])> = vec![
        (
            "format-of-another",
            |m| m["format"] = "other".into(),
            &["its format is"],
        ),
        (
            "version-0",
            |m| m["format_version"] = 0.into(),
            &["format version 0"],
        ),
        (
            "version-2",
            |m| m["format_version"] = 2.into(),
            &["format version 2"],
        ),
        (
            "version-beyond-numbers",
            |m| m["format_version"] = json!(1e30),
            &["not a negprompt-bundle manifest"],
        ),
        (
            "version-negative",
            |m| m["format_version"] = json!(-1),
            &["not a negprompt-bundle manifest"],
        ),
        (
            "version-is-a-text",
            |m| m["format_version"] = "1".into(),
            &["not a negprompt-bundle manifest"],
        ),
        (
            "no-model",
            |m| drop(m.as_object_mut().and_then(|m| m.remove("model"))),
            &["missing field `model`"],
        ),
        (
            "model-of-unknown-kind",
            |m| m["model"]["image"]["kind"] = "magic".into(),
            &["unknown variant"],
        ),
        (
            "patch-size-0",
            |m| m["model"]["image"]["patch_size"] = 0.into(),
            &["image.patch_size is 0", "patch_size"],
        ),
        (
            "patch-size-1-at-1024-pixels",
            |m| {
                m["model"]["image"]["patch_size"] = 1.into();
                for place in [
                    &["image", "image_size"],
                    &["preprocessing", "size"],
                    &["preprocessing", "resize"],
                ] {
                    m["model"][place[0]][place[1]] = 1024.into();
                }
            },
            &["patches"],
        ),
        (
            "heads-0",
            |m| m["model"]["image"]["heads"] = 0.into(),
            &["heads"],
        ),
        (
            "heads-5",
            |m| m["model"]["image"]["heads"] = 5.into(),
            &["heads"],
        ),
        (
            "layers-beyond-counting",
            |m| m["model"]["image"]["layers"] = json!(u64::MAX),
            &["layers"],
        ),
        (
            "width-beyond-counting",
            |m| m["model"]["image"]["width"] = json!(u64::MAX),
            &["width"],
        ),
        (
            "image-size-beyond-32-bits",
            |m| m["model"]["image"]["image_size"] = json!(1u64 << 40),
            &["preprocessing.size"],
        ),
        (
            "embed-dim-0",
            |m| m["model"]["embed_dim"] = 0.into(),
            &["embed_dim"],
        ),
        (
            "embed-dim-huge",
            |m| m["model"]["embed_dim"] = json!(1u64 << 50),
            &["embed_dim"],
        ),
        (
            "logit-scale-0",
            |m| m["model"]["logit_scale"] = 0.into(),
            &["logit_scale"],
        ),
        (
            "logit-scale-infinite",
            |m| m["model"]["logit_scale"] = json!(1e300),
            &["logit_scale"],
        ),
        (
            "logit-scale-null",
            |m| m["model"]["logit_scale"] = Value::Null,
            &["content", "logit_scale"],
        ),
        (
            "size-of-a-million-pixels",
            |m| m["model"]["preprocessing"]["size"] = 1_000_000.into(),
            &["preprocessing"],
        ),
        (
            "crop-beyond-the-image",
            |m| m["model"]["preprocessing"]["resize"] = 8.into(),
            &["preprocessing"],
        ),
        (
            "std-0",
            |m| m["model"]["preprocessing"]["std"][1] = 0.into(),
            &["preprocessing"],
        ),
        (
            "mean-infinite",
            |m| m["model"]["preprocessing"]["mean"][0] = json!(1e300),
            &["preprocessing"],
        ),
        (
            "text-width-beyond-counting",
            |m| m["model"]["text"]["width"] = json!(u64::MAX),
            &["text.width"],
        ),
        (
            "text-context-beyond-counting",
            |m| m["model"]["text"]["context_length"] = json!(u64::MAX),
            &["text.context_length"],
        ),
        (
            "no-classes",
            |m| m["classes"] = json!([]),
            &["there are none"],
        ),
        (
            "class-twice",
            |m| m["classes"] = json!(["a", "b", "a"]),
            &["is there twice"],
        ),
        (
            "class-without-name",
            |m| m["classes"] = json!(["a", " ", "c"]),
            &["it has no name"],
        ),
        (
            "class-is-a-number",
            |m| m["classes"] = json!(["a", 7, "c"]),
            &["invalid type"],
        ),
        (
            "sixty-thousand-classes",
            |m| m["classes"] = (0..60_000).map(|n| format!("c{n}")).collect(),
            &["above the limit"],
        ),
        (
            "a-class-too-few",
            |m| m["classes"] = json!(["a", "b"]),
            &["does not fit"],
        ),
        (
            "negatives-beyond-counting",
            |m| m["prompts"]["negatives"] = json!(u64::MAX),
            &["above the limit"],
        ),
        (
            "a-negative-too-many",
            |m| m["prompts"]["negatives"] = 3.into(),
            &["does not fit"],
        ),
        (
            "context-beyond-counting",
            |m| m["prompts"]["context_tokens"] = json!(1u64 << 60),
            &["above the limit"],
        ),
        (
            "no-methods",
            |m| m["methods"] = json!([]),
            &["there is none"],
        ),
        (
            "unknown-methods",
            |m| {
                m["methods"]
                    .as_array_mut()
                    .into_iter()
                    .flatten()
                    .enumerate()
                    .for_each(|(n, e)| e["id"] = format!("m{n}").into())
            },
            &["there is none"],
        ),
        (
            "a-method-twice",
            |m| {
                let first = m["methods"][0].clone();
                m["methods"][1] = first;
            },
            &["is there twice"],
        ),
        (
            "temperature-0",
            |m| m["methods"][0]["settings"]["temperature"] = 0.into(),
            &["temperature"],
        ),
        (
            "temperature-subnormal",
            |m| m["methods"][0]["settings"]["temperature"] = json!(1e-42),
            &["temperature"],
        ),
        (
            "temperature-infinite",
            |m| m["methods"][0]["settings"]["temperature"] = json!(1e300),
            &["temperature"],
        ),
        (
            "negative-weight-below-0",
            |m| m["methods"][0]["settings"]["negative_weight"] = json!(-1),
            &["negative_weight"],
        ),
        (
            "threshold-null",
            |m| m["methods"][0]["threshold"] = Value::Null,
            &["content", "threshold"],
        ),
        (
            "threshold-a-text",
            |m| m["methods"][0]["threshold"] = "NaN".into(),
            &["invalid type"],
        ),
        (
            "calibration-out-of-order",
            |m| {
                m["methods"][0]["calibration"]["thresholds"]
                    .as_array_mut()
                    .into_iter()
                    .for_each(|t| t.reverse())
            },
            &["calibration"],
        ),
        (
            "calibration-rate-above-1",
            |m| m["methods"][0]["calibration"]["hit_rate"][0] = json!(1.5),
            &["calibration"],
        ),
        (
            "calibration-empty",
            |m| m["methods"][0]["calibration"] = json!({"thresholds": [], "hit_rate": []}),
            &["calibration"],
        ),
        (
            "calibration-of-unequal-lengths",
            |m| m["methods"][0]["calibration"]["hit_rate"] = json!([1.0]),
            &["calibration"],
        ),
        (
            "calibration-scores-out-of-order",
            |m| m["methods"][0]["calibration_scores"] = json!([3.0, 1.0]),
            &["calibration_scores"],
        ),
        (
            "calibration-scores-empty",
            |m| m["methods"][0]["calibration_scores"] = json!([]),
            &["calibration_scores"],
        ),
        (
            "calibration-scores-too-many",
            |m| m["methods"][0]["calibration_scores"] = (0..5_000).collect(),
            &["above the limit"],
        ),
        (
            "accuracy-above-1",
            |m| m["methods"][0]["id_top1"] = 2.into(),
            &["fraction"],
        ),
        (
            "histogram-of-one-edge",
            |m| {
                m["figures"]["similarity"] =
                    json!({"title": "t", "axis": "a", "edges": [1], "series": []})
            },
            &["edges"],
        ),
        (
            "histogram-of-missing-counts",
            |m| m["figures"]["similarity"] = json!({"title": "t", "axis": "a", "edges": [1, 2], "series": [{"name": "n", "counts": []}]}),
            &["counts"],
        ),
        (
            "map-of-missing-series",
            |m| {
                m["figures"]["map"] =
                    json!({"title": "t", "series": [], "points": [{"x": 0, "y": 0, "series": 9}]})
            },
            &["there is no series"],
        ),
        (
            "map-at-infinity",
            |m| m["figures"]["map"] = json!({"title": "t", "series": ["s"], "points": [{"x": 1e300, "y": 0, "series": 0}]}),
            &["finite"],
        ),
        (
            "a-roc-curve-of-half-a-point",
            |m| m["figures"]["roc"] = json!({"others": {"mcm": {"x": [0, 1], "y": [0]}}}),
            &["as many x as y"],
        ),
        (
            "a-reliability-diagram-of-nothing",
            |m| m["figures"]["reliability"] = json!({"mcm": {"x": [], "y": []}}),
            &["one or more"],
        ),
        (
            "a-loss-that-goes-back",
            |m| {
                m["figures"]["losses"] =
                    json!([{"stage": "1", "name": "l", "curve": {"x": [2, 1], "y": [0, 0]}}])
            },
            &["ascend"],
        ),
        (
            "known-patches-of-another-width",
            |m| m["known_answers"][0]["mean_patch"] = json!([1.0]),
            &["mean_patch"],
        ),
        (
            "known-answer-of-another-width",
            |m| m["known_answers"][0]["feature"] = json!([1.0]),
            &["known_answers"],
        ),
        (
            "known-answer-of-zeros",
            |m| m["known_answers"][0]["feature"] = json!(vec![0.0; 16]),
            &["known_answers"],
        ),
        (
            "known-answer-of-other-weights",
            |m| m["known_answers"][0]["feature"] = json!(vec![1.0; 16]),
            &["known answers", "computes wrongly"],
        ),
        (
            "known-answer-tolerance-2",
            |m| m["known_answers"][0]["tolerance"] = 2.into(),
            &["tolerance"],
        ),
        (
            "known-answer-without-tensor",
            |m| m["known_answers"][1]["input"]["tensor"] = "absent".into(),
            &["absent"],
        ),
        (
            "no-files",
            |m| m["files"] = json!([]),
            &["there is no file of role"],
        ),
        (
            "a-file-twice",
            |m| {
                let first = m["files"][0].clone();
                m["files"]
                    .as_array_mut()
                    .into_iter()
                    .for_each(|f| f.push(first.clone()));
            },
            &["is there twice"],
        ),
        (
            "a-file-above",
            |m| m["files"][0]["name"] = "../../etc/passwd".into(),
            &["is not allowed"],
        ),
        (
            "a-file-at-the-root",
            |m| m["files"][0]["name"] = "/etc/passwd".into(),
            &["is not allowed"],
        ),
        (
            "a-file-on-a-drive",
            |m| m["files"][0]["name"] = "C:\\secret".into(),
            &["is not allowed"],
        ),
        (
            "a-file-with-a-null",
            |m| m["files"][0]["name"] = "a\0b".into(),
            &["is not allowed"],
        ),
        (
            "a-file-of-another-name",
            |m| m["files"][0]["name"] = "image-tower.safetensors".into(),
            &["is not allowed"],
        ),
        (
            "a-file-of-unknown-role",
            |m| m["files"][0]["role"] = "virus".into(),
            &["unknown variant"],
        ),
        (
            "a-file-of-unknown-dtype",
            |m| m["files"][0]["dtype"] = "f64".into(),
            &["unknown variant"],
        ),
        (
            "a-file-of-exabytes",
            |m| m["files"][0]["bytes"] = json!(u64::MAX),
            &["above the limit"],
        ),
        (
            "a-file-of-negative-bytes",
            |m| m["files"][0]["bytes"] = json!(-1),
            &["invalid value", "invalid type"],
        ),
        (
            "a-file-of-one-byte-less",
            |m| {
                let bytes = m["files"][0]["bytes"].as_u64().unwrap_or(1);
                m["files"][0]["bytes"] = (bytes - 1).into();
            },
            &["bytes where the manifest says"],
        ),
        (
            "a-file-of-one-byte-more",
            |m| {
                let bytes = m["files"][0]["bytes"].as_u64().unwrap_or(1);
                m["files"][0]["bytes"] = (bytes + 1).into();
            },
            &["bytes where the manifest says"],
        ),
        (
            "a-hash-too-short",
            |m| m["files"][0]["sha256"] = "abc".into(),
            &["64 lower-case"],
        ),
        (
            "a-hash-in-capitals",
            |m| {
                let hash = m["files"][0]["sha256"]
                    .as_str()
                    .unwrap_or_default()
                    .to_uppercase();
                m["files"][0]["sha256"] = hash.into();
            },
            &["64 lower-case"],
        ),
        (
            "vocabulary-as-f32",
            |m| {
                m["files"]
                    .as_array_mut()
                    .into_iter()
                    .flatten()
                    .filter(|f| f["role"] == "vocabulary")
                    .for_each(|f| f["dtype"] = "f32".into())
            },
            &["cannot be stored like this"],
        ),
        (
            "two-thousand-files",
            |m| {
                let first = m["files"][0].clone();
                m["files"] = vec![first; 2_000].into();
            },
            &["above the limit"],
        ),
    ];
    let mut cases: Vec<_> = fields
        .into_iter()
        .map(|(name, change, cause)| {
            let mut bent = Bent::whole();
            change(&mut bent.manifest);
            bent.case(name, Refused(cause))
        })
        .collect();
    let mut bent = Bent::whole();
    bent.manifest["classes"][1] = long.clone().into();
    cases.push(bent.case(
        "a-class-of-5000-letters",
        Refused(&["bytes of text are above"]),
    ));
    let mut bent = Bent::whole();
    bent.manifest["model"]["name"] = long.into();
    cases.push(bent.case(
        "a-model-name-of-5000-letters",
        Refused(&["bytes of text are above"]),
    ));
    cases
}

/// Files that are not those of the manifest.
fn file_cases() -> Vec<Case> {
    const SIZE: &[&str] = &["bytes where the manifest says"];
    let mut cases = Vec::new();
    let mut alter = |name: &str, cause, change: fn(&mut Vec<(String, Vec<u8>)>)| {
        let mut bent = Bent::whole();
        change(&mut bent.files);
        cases.push(bent.case(name, Refused(cause)));
    };
    alter("a-file-missing", &["could not be read"], |files| {
        drop(files.remove(0))
    });
    alter("the-features-missing", &["could not be read"], |files| {
        files.retain(|(name, _)| !name.starts_with("features"));
    });
    alter("a-file-cut", SIZE, |files| files[0].1.truncate(100));
    alter("a-file-empty", SIZE, |files| files[0].1.clear());
    alter("a-file-longer", SIZE, |files| files[0].1.push(0));
    alter("a-file-of-40-megabytes", SIZE, |files| {
        files[0].1.resize(40_000_000, 0)
    });
    alter("a-file-with-one-bit-off", &["SHA-256"], |files| {
        files[0].1[99] ^= 4
    });
    alter("a-vocabulary-with-one-bit-off", &["SHA-256"], |files| {
        let file = files
            .iter_mut()
            .find(|(name, _)| name.starts_with("vocabulary"));
        file.into_iter().for_each(|(_, bytes)| bytes[99] ^= 4);
    });
    alter(
        "two-files-exchanged",
        &["bytes where the manifest says", "SHA-256"],
        |files| {
            let bytes = files[0].1.clone();
            files[0].1 = std::mem::replace(&mut files[1].1, bytes);
        },
    );
    cases
}

/// Files whose size and hash are right and whose content is not.
fn tensor_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let good = Bent::whole().content("features").to_vec();
    for (name, bytes) in safetensors_bytes::broken(&good) {
        let mut bent = Bent::whole();
        bent.replace("features", bytes);
        let cause: &[&str] = &[
            "safetensors",
            "tensor",
            "missing",
            "not in the bundle",
            "at least one class",
        ];
        cases.push(bent.case(&format!("features-{name}"), Refused(cause)));
    }
    // Bytes of a stored number, where the encoder itself would refuse them.
    let poisoned = |role: &str, value: f32| {
        let mut bent = Bent::whole();
        let mut bytes = bent.content(role).to_vec();
        let length = bytes.len();
        bytes[length - 4..].copy_from_slice(&value.to_le_bytes());
        bent.replace(role, bytes);
        bent
    };
    for role in ["features", "image-tower", "prompts", "known-answers"] {
        for (word, value) in [("nan", f32::NAN), ("infinity", f32::INFINITY)] {
            let name = format!("{role}-with-{word}");
            cases.push(
                poisoned(role, value).case(&name, Refused(&["weights are broken", "not finite"])),
            );
        }
    }
    let mut tensors = |name: &str, role: &str, cause, change: fn(&mut Tensors)| {
        let mut bent = Bent::whole();
        bent.tensors(role, change);
        cases.push(bent.case(name, Refused(cause)));
    };
    fn tensor(shape: &[usize], value: f32) -> TensorValues {
        TensorValues::new(shape, vec![value; shape.iter().product()]).expect("filled")
    }
    tensors("features-of-zeros", "features", &["length 0"], |tensors| {
        tensors.insert("positive".into(), tensor(&[3, 16], 0.0));
    });
    tensors(
        "features-not-normalised",
        "features",
        &["where 1 belongs"],
        |tensors| {
            tensors.insert("negative".into(), tensor(&[6, 16], 9.0));
        },
    );
    tensors(
        "features-of-another-shape",
        "features",
        &["does not fit"],
        |tensors| {
            tensors.insert("positive".into(), tensor(&[16, 3], 0.25));
        },
    );
    for (name, tensor_name, shape) in [
        ("mined-labels-without-dimension", "mined", &[][..]),
        ("mined-labels-in-a-row", "mined", &[16]),
        ("mined-labels-of-another-width", "mined", &[4, 15]),
        ("mined-labels-of-three-dimensions", "mined", &[1, 1, 16]),
        ("superclass-names-without-dimension", "conjugated", &[]),
        ("superclass-names-of-another-width", "conjugated", &[4, 15]),
        ("no-prompts-without-dimension", "no", &[]),
        ("locoop-prompts-of-fewer-classes", "locoop", &[2, 16]),
        ("no-prompts-of-fewer-classes", "no", &[2, 16]),
        ("class-names-of-more-classes", "named", &[4, 16]),
        ("a-clip-without-dimension", "react_clip", &[]),
        ("two-clips", "react_clip", &[2]),
        ("a-probe-without-dimension", "probe.weight", &[]),
        ("positive-features-without-dimension", "positive", &[]),
    ] {
        let mut bent = Bent::whole();
        bent.tensors("features", |tensors| {
            tensors.insert(tensor_name.into(), tensor(shape, 0.25));
        });
        cases.push(bent.case(name, Refused(&["does not fit"])));
    }
    let mut tensors = |name: &str, role: &str, cause, change: fn(&mut Tensors)| {
        let mut bent = Bent::whole();
        bent.tensors(role, change);
        cases.push(bent.case(name, Refused(cause)));
    };
    tensors(
        "mined-labels-of-zeros",
        "features",
        &["length 0"],
        |tensors| {
            tensors.insert("mined".into(), tensor(&[4, 16], 0.0));
        },
    );
    tensors(
        "features-without-any",
        "features",
        &["at least one class", "features"],
        |tensors| {
            tensors.retain(|name, _| name.starts_with("probe"));
        },
    );
    tensors(
        "a-probe-without-biases",
        "features",
        &["biases of the probe"],
        |tensors| {
            tensors.remove("probe.bias");
        },
    );
    tensors(
        "a-tower-without-a-weight",
        "image-tower",
        &["no tensor"],
        |tensors| {
            tensors.remove("visual.proj");
        },
    );
    tensors(
        "a-tower-of-another-shape",
        "image-tower",
        &["has shape"],
        |tensors| {
            tensors.insert("visual.proj".into(), tensor(&[16, 32], 0.1));
        },
    );
    tensors(
        "a-tower-of-nothing",
        "image-tower",
        &["no tensor"],
        Tensors::clear,
    );
    tensors(
        "a-tensor-in-parts-that-miss-one",
        "image-tower",
        &["part 0 is missing"],
        |tensors| {
            let whole = tensors.remove("visual.proj").unwrap_or_default();
            tensors.insert("visual.proj#1".into(), whole);
        },
    );
    tensors(
        "a-tensor-part-without-number",
        "image-tower",
        &["its part has no number"],
        |tensors| {
            let whole = tensors.remove("visual.proj").unwrap_or_default();
            tensors.insert("visual.proj#x".into(), whole);
        },
    );
    tensors(
        "a-tower-of-zeros",
        "image-tower",
        &["known answers"],
        |tensors| {
            for tensor in tensors.values_mut() {
                tensor.values.fill(0.0);
            }
        },
    );
    tensors(
        "a-tower-that-overflows",
        "image-tower",
        &["known answers"],
        |tensors| {
            for tensor in tensors.values_mut() {
                tensor.values.fill(3e38);
            }
        },
    );
    tensors(
        "known-pixels-of-another-shape",
        "known-answers",
        &["is not [3"],
        |tensors| {
            tensors.insert("pixels".into(), tensor(&[3, 2, 2], 0.0));
        },
    );
    for (name, shape) in [
        ("no-outsiders", &[0, 5, 16][..]),
        ("outsiders-without-patches", &[3, 1, 16]),
        ("outsiders-of-another-width", &[3, 5, 15]),
        ("outsiders-in-a-row", &[16]),
        ("outsiders-without-dimension", &[]),
    ] {
        let mut bent = Bent::whole();
        bent.tensors("outsiders", |tensors| {
            tensors.insert("outsiders".into(), tensor(shape, 0.25));
        });
        cases.push(bent.case(name, Refused(&["is not [photos"])));
    }
    let mut bent = Bent::whole();
    bent.tensors("outsiders", |tensors| {
        tensors.insert("outsiders".into(), tensor(&[3, 5, 16], 0.0));
    });
    cases.push(bent.case("outsiders-of-zeros", Refused(&["all zeros"])));
    let mut bent = Bent::whole();
    bent.tensors("outsiders", Tensors::clear);
    cases.push(bent.case("outsiders-of-nothing", Refused(&["outsiders"])));
    let mut bent = Bent::whole();
    bent.replace("vocabulary", b"\xff\xfe no text".to_vec());
    cases.push(bent.case("vocabulary-no-utf8", Refused(&["it is not text"])));
    cases
}
