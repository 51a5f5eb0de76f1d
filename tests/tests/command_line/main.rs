//! The command line, run as a user runs it: what it writes, what it says, and what it leaves
//! behind when something is wrong.
//!
//! The models are the small random ones of `tests/fixtures`, the images are drawn here.

mod bench;
mod images;
mod load;
mod options;
mod privacy;
mod safety;
mod shards;
mod suites;
mod towers;
mod tuning;
mod variants;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use shared::bundle::{
    self, BundleContent, Figures, MethodEntry, Precision, PromptEntry, Provenance, Role,
    TensorGroup, decode_tensors,
};
use shared::clip::ClipConfig;
use shared::score::{ClassFeatures, method};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clip");

#[test]
fn every_command_explains_itself() {
    let help = trainer(&["--help"]).success();
    for command in [
        "train", "encode", "lit", "clipn", "import", "eval", "predict", "export", "tune", "bench",
    ] {
        assert!(help.stdout.contains(command), "{}", help.stdout);
        let text = trainer(&[command, "--help"]).success().stdout;
        assert!(text.contains("Usage:") && text.contains("--"), "{text}");
    }
    let wrong = trainer(&["predict"]).failure();
    assert!(wrong.stderr.contains("IMAGE"), "{}", wrong.stderr);
}

#[test]
fn checkpoints_of_every_format_become_model_directories() {
    let place = Place::new();
    for checkpoint in [
        "transformers",
        "transformers_gelu",
        "open_clip",
        "open_clip_gelu",
        "openai_vit.pt",
        "openai_resnet.pt",
    ] {
        let out = place.path("model");
        let source = format!("{FIXTURES}/{checkpoint}");
        let run = trainer(&["import", &source, "--out", &out, "--precision", "f32"]).success();
        assert!(
            run.stderr
                .contains("agree to a cosine of 1.00000 (lowest 1.00000)"),
            "{}",
            run.stderr
        );
        let config: ClipConfig = read_json(&format!("{out}/config.json"));
        assert!(
            config.text.layers > 0 && config.logit_scale > 1.0,
            "{config:?}"
        );
        for file in ["image.safetensors", "text.safetensors", "MODEL_CARD.md"] {
            assert!(Path::new(&out).join(file).is_file(), "{checkpoint}: {file}");
        }
    }
    assert_eq!(
        place.entries(),
        ["model"],
        "nothing but the model may be left"
    );
}

#[test]
fn the_cost_of_a_precision_is_told_on_photos_or_on_pictures() {
    let place = Place::new();
    let out = place.path("model");
    let source = format!("{FIXTURES}/openai_vit.pt");
    let photos = place.images(4);
    let mut lowest = Vec::new();
    for (precision, on) in [
        ("f32", "4 generated pictures"),
        ("f16", "12 photos of"),
        ("int8", "12 photos of"),
    ] {
        let mut arguments = vec!["import", &source, "--out", &out, "--precision", precision];
        arguments.push("--force");
        if on.contains("photos") {
            arguments.extend(["--photos", &photos]);
        }
        let run = trainer(&arguments).success();
        assert!(run.stderr.contains(on), "{}", run.stderr);
        assert!(run.stderr.contains("text features to"), "{}", run.stderr);
        let card = fs::read_to_string(format!("{out}/MODEL_CARD.md")).unwrap();
        assert!(card.contains(on), "{card}");
        let (_, rest) = run.stderr.split_once("(lowest ").expect("the cost");
        lowest.push(rest.split_once(')').unwrap().0.parse::<f64>().unwrap());
    }
    assert!(
        lowest[0] >= lowest[1] && lowest[1] > lowest[2],
        "{lowest:?}"
    );
    assert!(lowest[1] > 0.9999 && lowest[2] > 0.9, "{lowest:?}");
}

/// Eight bits are too few for this small ModifiedResNet of random weights.
#[test]
fn a_precision_that_makes_another_model_is_refused() {
    let place = Place::new();
    let out = place.path("model");
    let source = format!("{FIXTURES}/openai_resnet.pt");
    trainer(&["import", &source, "--out", &out]).success();
    let other = place.path("int8");
    let int8 = ["import", &source, "--out", &other, "--precision", "int8"];
    let run = trainer(&int8).failure();
    assert!(
        run.stderr.contains("another model") && run.stderr.contains("--force"),
        "{}",
        run.stderr
    );
    assert!(!Path::new(&other).exists());
    let forced = [&int8[..], &["--force"]].concat();
    trainer(&forced).success();
    assert!(Path::new(&other).join("image.safetensors").is_file());
}

#[test]
fn checkpoints_that_cannot_be_used_say_why() {
    let place = Place::new();
    let out = place.path("model");
    let import = |path: &str| trainer(&["import", path, "--out", &out]).failure().stderr;

    let absent = place.path("absent.pt");
    let text = import(&absent);
    assert!(text.contains(&absent) && text.contains("spelled"), "{text}");

    let whole = fs::read(format!("{FIXTURES}/openai_vit.pt")).unwrap();
    let cut = place.write("cut.pt", &whole[..whole.len() / 2]);
    let text = import(&cut);
    assert!(
        text.contains("cut.pt") && text.contains("cut short"),
        "{text}"
    );

    let whole = fs::read(format!("{FIXTURES}/transformers/model.safetensors")).unwrap();
    let cut = place.write("cut.safetensors", &whole[..whole.len() / 2]);
    let text = import(&cut);
    assert!(
        text.contains("cut.safetensors") && text.contains("cut short"),
        "{text}"
    );

    let text = import(&format!("{FIXTURES}/torchscript.pt"));
    assert!(
        text.contains("torch.jit.load") && text.contains("state_dict()"),
        "{text}"
    );

    let foreign = place.write("foreign.safetensors", &foreign_checkpoint());
    let text = import(&foreign);
    assert!(
        text.contains("not a CLIP") && text.contains("layer.weight"),
        "{text}"
    );

    let page = place.write("page.bin", b"<!doctype html><title>404</title>");
    assert!(import(&page).contains("a web page"));

    // A configuration that is not the checkpoint's own: a tensor of the wrong shape.
    let mixed = place.path("mixed");
    fs::create_dir(&mixed).unwrap();
    let from = format!("{FIXTURES}/transformers");
    fs::copy(
        format!("{from}/model.safetensors"),
        format!("{mixed}/model.safetensors"),
    )
    .unwrap();
    let config = fs::read_to_string(format!("{from}/config.json")).unwrap();
    let config = config.replace("\"projection_dim\": 32", "\"projection_dim\": 40");
    fs::write(format!("{mixed}/config.json"), config).unwrap();
    let text = import(&mixed);
    assert!(
        text.contains("proj") && text.contains("32") && text.contains("40"),
        "{text}"
    );

    assert!(
        !Path::new(&out).exists(),
        "no half-written model may be left"
    );
}

/// Without a configuration nothing in the tensors tells of the activation: names do, or it is assumed
/// and said.
#[test]
fn what_is_assumed_without_a_configuration_is_said() {
    let place = Place::new();
    let weights = fs::read(format!("{FIXTURES}/open_clip/open_clip_model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&weights).unwrap();
    let tinyclip = tensors.iter().map(|(name, view)| {
        let module = match name {
            "logit_scale" => "_logit_scale",
            image if image.starts_with("visual.") => "_image_encoder",
            _ => "_text_encoder",
        };
        (format!("{module}.module.{name}"), view)
    });
    let tinyclip = place.write(
        "tinyclip.safetensors",
        &safetensors::serialize(tinyclip, None).unwrap(),
    );
    let plain = place.write("plain.safetensors", &weights);
    let out = place.path("model");
    for (checkpoint, activation, note) in [(&tinyclip, "gelu", false), (&plain, "quick-gelu", true)]
    {
        let run = trainer(&["import", checkpoint, "--out", &out]).success();
        let said = run
            .stderr
            .contains("QuickGELU and 64 channels a head are assumed");
        assert_eq!(said, note, "{}", run.stderr);
        let config: Value = read_json(&format!("{out}/config.json"));
        assert_eq!(config["image"]["activation"], activation);
        assert_eq!(config["text"]["activation"], activation);
    }
}

/// Models with another text tower are refused for what their configuration says, before their weights
/// are read: these are no weights at all.
#[test]
fn models_with_another_text_tower_are_refused_by_their_configuration() {
    let place = Place::new();
    let model_of = |kind: &str| format!(r#"{{"model_type": "{kind}"}}"#);
    let roberta = r#"{"model_cfg": {"embed_dim": 512, "vision_cfg": {}, "text_cfg":
        {"hf_model_name": "xlm-roberta-base"}}}"#;
    for (config, weights, content, named) in [
        (
            "open_clip_config.json",
            "open_clip_model.safetensors",
            roberta.to_owned(),
            "xlm-roberta-base",
        ),
        (
            "config.json",
            "model.safetensors",
            model_of("clip_vision_model"),
            "clip_vision_model",
        ),
        ("config.json", "pytorch_model.bin", model_of("blip"), "blip"),
    ] {
        let folder = tempfile::tempdir_in(place.path("")).unwrap();
        fs::write(folder.path().join(config), content).unwrap();
        fs::write(folder.path().join(weights), "no weights").unwrap();
        let text = trainer(&[
            "import",
            folder.path().to_str().unwrap(),
            "--out",
            &place.path("model"),
        ])
        .failure()
        .stderr;
        assert!(
            text.contains(named) && text.contains(config) && !text.contains("cut short"),
            "{text}"
        );
    }
}

#[test]
fn images_become_features_and_corrupt_ones_are_named() {
    let place = Place::new();
    let model = place.model();
    let data = place.images(6);
    fs::write(format!("{data}/red/broken.jpg"), b"\xff\xd8\xff\xe0 cut").unwrap();
    fs::write(format!("{data}/red/text.png"), b"hello").unwrap();
    fs::write(format!("{data}/red/notes.txt"), b"hello").unwrap();
    let out = place.path("features.safetensors");
    let encode = [
        "encode", "--model", &model, "--data", &data, "--out", &out, "--device", "cpu",
    ];
    let run = trainer(&encode).success();
    for expected in [
        "red/broken.jpg",
        "red/text.png",
        "2 of 20 images could not be read",
        "1 .txt",
    ] {
        assert!(run.stderr.contains(expected), "{expected}: {}", run.stderr);
    }
    let bytes = fs::read(&out).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let features = tensors.tensor("features").unwrap();
    assert_eq!(
        (features.dtype(), features.shape()[0]),
        (safetensors::Dtype::F16, 18)
    );
    let files = String::from_utf8(tensors.tensor("files").unwrap().data().to_vec()).unwrap();
    assert!(
        files.starts_with("blue/0.png\n") && files.ends_with("red/5.png"),
        "{files}"
    );

    // Once more: everything is taken over; an image more: only that one is computed.
    let run = trainer(&encode).success();
    assert!(
        run.stderr.contains("18 taken over, 0 computed"),
        "{}",
        run.stderr
    );
    assert_eq!(fs::read(&out).unwrap(), bytes);
    picture(&format!("{data}/blue/new.png"), [9, 9, 200], 40);
    let run = trainer(&encode).success();
    assert!(
        run.stderr.contains("18 taken over, 1 computed"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_killed_encoding_goes_on_to_the_same_file() {
    let place = Place::new();
    let model = place.model();
    let data = place.images(60);
    let whole = place.path("whole.safetensors");
    let out = place.path("features.safetensors");
    let arguments = |out: &str| -> Vec<String> {
        [
            "encode", "--model", &model, "--data", &data, "--out", out, "--device", "cpu",
            "--batch", "1",
        ]
        .map(str::to_owned)
        .to_vec()
    };
    trainer(&arguments(&whole)).success();

    let mut child = Command::new(program())
        .args(arguments(&out))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = PathBuf::from(format!("{out}.journal.partial"));
    let recorded =
        || fs::read(&journal).map_or(0, |text| text.iter().filter(|&&b| b == b'\n').count());
    while recorded() < 20 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !Path::new(&out).exists(),
        "the run was over before it was killed"
    );

    let mut resumed = arguments(&out);
    resumed.push("--resume".to_owned());
    let run = trainer(&resumed).success();
    assert!(run.stderr.contains("taken over"), "{}", run.stderr);
    assert_eq!(fs::read(&out).unwrap(), fs::read(&whole).unwrap());
    assert!(!journal.exists());
}

#[test]
fn data_that_cannot_be_used_say_why() {
    let place = Place::new();
    let model = place.model();
    let out = place.path("features.safetensors");
    let encode = |model: &str, data: &str, out: &str| {
        trainer(&[
            "encode", "--model", model, "--data", data, "--out", out, "--device", "cpu",
        ])
        .failure()
        .stderr
    };
    let empty = place.path("empty");
    fs::create_dir(&empty).unwrap();
    let text = encode(&model, &empty, &out);
    assert!(
        text.contains("there is no image in") && text.contains("one folder for each class"),
        "{text}"
    );
    let text = encode(&model, &place.path("absent"), &out);
    assert!(
        text.contains("absent") && text.contains("spelled"),
        "{text}"
    );
    let data = place.images(1);
    let text = encode(&data, &data, &out);
    assert!(
        text.contains("no model directory") && text.contains("trainer import"),
        "{text}"
    );
    let file = place.write("file", b"");
    let text = encode(&model, &data, &format!("{file}/x"));
    assert!(
        text.contains(&file) && text.contains("choose another place"),
        "{text}"
    );
    let unreadable = place.path("unreadable");
    fs::create_dir_all(format!("{unreadable}/a")).unwrap();
    fs::write(format!("{unreadable}/a/x.jpg"), b"no").unwrap();
    let text = encode(&model, &unreadable, &out);
    assert!(
        text.contains("none of the 1 images") && text.contains("a/x.jpg"),
        "{text}"
    );
    let left: Vec<_> = place
        .entries()
        .into_iter()
        .filter(|name| name.contains("features"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn photos_get_a_line_each() {
    let place = Place::new();
    let bundle = place.bundle();
    let data = place.images(2);
    let text = place.write("text.jpg", b"hello");
    let absent = place.path("absent.png");
    let first = format!("{data}/red/0.png");
    let run = trainer(&[
        "predict", "--bundle", &bundle, "--device", "cpu", &first, &text, &absent, &data,
    ]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("2 of 9 files"), "{}", run.stderr);
    let lines = run.lines();
    assert_eq!(lines.len(), 9);
    assert_eq!(lines[0]["file"], first.as_str());
    assert_eq!(lines[0]["class"], "red");
    assert_eq!(lines[0]["verdict"], "in");
    assert_eq!(lines[0]["top5"].as_array().unwrap().len(), 3);
    assert_eq!(lines[0]["top5"][0]["class"], "red");
    let number = |key: &str| lines[0][key].as_f64().unwrap();
    assert!(number("score") >= number("threshold"), "{}", lines[0]);
    assert!((0.0..=1.0).contains(&number("p_value")), "{}", lines[0]);
    assert!(lines[1]["error"].as_str().unwrap().contains("not an image"));
    assert!(lines[2]["error"].as_str().unwrap().contains("spelled"));
    assert_eq!(lines[3]["file"], format!("{data}/blue/0.png"));

    // Above every score, all are out; the class is still told.
    let run = trainer(&[
        "predict",
        "--bundle",
        &bundle,
        "--device",
        "cpu",
        "--method",
        "max-logit",
        "--threshold",
        "1e6",
        &first,
    ])
    .success();
    assert_eq!(run.lines()[0]["verdict"], "out");
    assert_eq!(run.lines()[0]["threshold"], 1e6);

    let run = trainer(&[
        "predict", "--bundle", &bundle, "--method", "nothing", &first,
    ])
    .failure();
    assert!(
        run.stderr.contains("it has: mcm, max-logit"),
        "{}",
        run.stderr
    );
    let run = trainer(&["predict", "--bundle", &bundle, "--threshold", "nan", &first]).failure();
    assert!(
        run.stderr.contains("is not a number to compare with"),
        "{}",
        run.stderr
    );
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let place = Place::new();
    let bundle = place.bundle();
    let data = place.images(30);
    let mut child = Command::new(program())
        .args([
            "predict", "--bundle", &bundle, "--device", "cpu", "--batch", "1", &data,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{stderr}");
    assert!(
        !stderr.contains("error") && !stderr.contains("panic"),
        "{stderr}"
    );
}

#[test]
fn a_bundle_is_measured_on_anybodys_folders() {
    let place = Place::new();
    let bundle = place.bundle();
    let data = place.images(5);
    let stripes = place.path("stripes");
    for number in 0..7u8 {
        picture(
            &format!("{stripes}/{number}.png"),
            [240, 240 - number, 20],
            31,
        );
    }
    let json = place.path("out/report.json");
    let html = place.path("out/report.html");
    let ood = format!("stripes={stripes}");
    let run = trainer(&[
        "eval", "--bundle", &bundle, "--id", &data, "--ood", &ood, "--json", &json, "--html",
        &html, "--device", "cpu",
    ])
    .success();
    assert!(
        run.stdout.contains("AUROC") && run.stdout.contains("stripes"),
        "{}",
        run.stdout
    );
    let report: Value = read_json(&json);
    let methods = report["methods"].as_array().unwrap();
    let names: Vec<_> = methods
        .iter()
        .map(|method| method["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["MCM", "MaxLogit"]);
    for method in methods {
        for rates in [&method["ood"]["stripes"], &method["average"]] {
            for rate in ["auroc", "fpr95"] {
                assert!(
                    (0.0..=1.0).contains(&rates[rate].as_f64().unwrap()),
                    "{method}"
                );
            }
        }
        assert_eq!(method["id_top1"], 1.0);
    }
    assert!(
        report["timings"].is_object() && report["seed"].is_u64() && report["config"].is_object()
    );
    assert_eq!(report["data"][0]["images"], 15);
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("<title>") && page.contains("</html>"));

    let strangers = place.path("strangers");
    picture(&format!("{strangers}/violet/1.png"), [130, 20, 200], 8);
    let run = trainer(&[
        "eval", "--bundle", &bundle, "--id", &strangers, "--ood", &ood,
    ])
    .failure();
    assert!(
        run.stderr.contains("`violet`") && run.stderr.contains("blue, green, red"),
        "{}",
        run.stderr
    );
    let run = trainer(&[
        "eval", "--bundle", &bundle, "--id", &data, "--ood", "stripes",
    ])
    .failure();
    assert!(run.stderr.contains("--ood textures="), "{}", run.stderr);
}

#[test]
fn a_bundle_learned_with_patches_scores_with_them() {
    let place = Place::new();
    let (data, out) = (place.images(6), place.path("out"));
    for number in 0..4 {
        let path = place.path(&format!("other/{number}.png"));
        picture(&path, [9, 9, 40 * number], 30);
    }
    let other = format!("other={}", place.path("other"));
    let train = |more: &[&str]| {
        let few = "--shots 2 --positive-steps 2 --negative-steps 2 --label-pool 0 --device cpu";
        let few = few.split(' ').collect::<Vec<_>>();
        let what = ["train", "--data", &data, "--ood", &other, "--out", &out];
        trainer(&[&what[..], &few, more].concat()).success();
    };
    let methods = |bundle: &str| -> Vec<String> {
        let manifest: Value = read_json(&format!("{bundle}/bundle.json"));
        let methods = manifest["methods"].as_array().unwrap().iter();
        methods
            .map(|method| method["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let of_patches = ["locoop", "locoop-gl", "gl-mcm"];
    let bundle = format!("{out}/bundle");
    train(&[]);
    let without = methods(&bundle);
    assert!(!of_patches.iter().any(|id| without.contains(&(*id).into())));
    let photo = place.path("images/red/0.png");
    let predict = |bundle: &str, method: &str| {
        trainer(&["predict", "--bundle", bundle, "--method", method, &photo])
    };
    let refused = predict(&bundle, "gl-mcm").failure();
    let reason = "no method `gl-mcm`; it has: negprompt";
    assert!(refused.stderr.contains(reason), "{}", refused.stderr);

    train(&["--patches"]);
    let with = methods(&bundle);
    assert!(of_patches.iter().all(|id| with.contains(&(*id).into())));
    let exported = place.path("int8");
    trainer(&[
        "export",
        &out,
        "--out",
        &exported,
        "--precision",
        "int8",
        "--force",
    ])
    .success();
    assert_eq!(methods(&exported), with);
    for method in of_patches {
        let score = |bundle: &str| {
            let lines = predict(bundle, method).success().lines();
            lines[0]["score"].as_f64().unwrap()
        };
        // Rounded weights say nearly the same, of the patches too.
        assert!((score(&bundle) - score(&exported)).abs() < 0.1);
    }
    let answers = |bundle: &str| -> Value {
        let manifest: Value = read_json(&format!("{bundle}/bundle.json"));
        manifest["known_answers"][0]["mean_patch"].clone()
    };
    assert!(answers(&bundle).is_array());
    assert_ne!(answers(&bundle), answers(&exported));
    let eval = ["eval", "--bundle", &bundle, "--id", &data, "--ood", &other];
    let table = trainer(&[&eval[..], &["--device", "cpu"]].concat()).success();
    assert!(table.stdout.contains("GL-MCM"), "{}", table.stdout);
    #[cfg(target_os = "linux")]
    {
        let full = fs::File::create("/dev/full").unwrap();
        let output = Command::new(program())
            .args([&eval[..], &["--device", "cpu"]].concat())
            .stdout(full)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{stderr}");
        assert!(stderr.contains("cannot print the table"), "{stderr}");
    }
}

#[test]
fn a_bundle_is_exported_in_another_precision() {
    let place = Place::new();
    let bundle = place.bundle();
    let photo = format!("{}/red/0.png", place.images(1));
    for precision in ["int8", "f16", "f32"] {
        let out = place.path(precision);
        trainer(&["export", &bundle, "--out", &out, "--precision", precision]).success();
        let run = trainer(&["predict", "--bundle", &out, "--device", "cpu", &photo]).success();
        assert_eq!(run.lines()[0]["class"], "red", "{precision}");
    }
    let run = trainer(&["export", &place.path("absent"), "--out", &place.path("x")]).failure();
    assert!(run.stderr.contains("no finished run"), "{}", run.stderr);
}

#[test]
fn bundles_that_cannot_be_used_say_why() {
    let place = Place::new();
    let bundle = place.bundle();
    let photo = format!("{}/red/0.png", place.images(1));
    let predict = |bundle: &str| {
        trainer(&["predict", "--bundle", bundle, &photo])
            .failure()
            .stderr
    };

    let text = predict(&place.path("absent"));
    assert!(
        text.contains("absent") && text.contains("spelled"),
        "{text}"
    );
    let text = predict(&place.path("images"));
    assert!(
        text.contains("no bundle") && text.contains("trainer train"),
        "{text}"
    );

    let manifest = format!("{bundle}/bundle.json");
    let original = fs::read_to_string(&manifest).unwrap();
    fs::write(
        &manifest,
        original.replace("\"format_version\":1", "\"format_version\":9"),
    )
    .unwrap();
    let text = predict(&bundle);
    assert!(
        text.contains("format version 9") && text.contains("reads version 1"),
        "{text}"
    );
    fs::write(&manifest, original).unwrap();

    let shard = fs::read_dir(&bundle)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "safetensors")
        })
        .unwrap();
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() - 9]).unwrap();
    let text = predict(&bundle);
    let name = shard.file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        text.contains(&name) && text.contains("bytes where the manifest says"),
        "{text}"
    );
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&shard, damaged).unwrap();
    assert!(predict(&bundle).contains("SHA-256"));
}

/// What a run of the program gave.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn success(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    /// An error in one clear message, and no panic.
    fn failure(self) -> Self {
        assert_ne!(self.code, 0, "{}", self.stdout);
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        assert!(
            !self.stderr.contains("panicked") && !self.stderr.contains("fault in this program"),
            "{}",
            self.stderr
        );
        self
    }

    /// What the command line says against its own arguments.
    fn failure_of_usage(self) -> String {
        assert_eq!(self.code, 2, "{}", self.stdout);
        self.stderr
    }

    fn lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn trainer<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Run {
    let output = Command::new(program()).args(arguments).output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The program beside the folder that this test was built into.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test
        .ancestors()
        .nth(2)
        .unwrap()
        .join(format!("trainer{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is not built: run `cargo build --release -p trainer` first",
        program.display()
    );
    program
}

fn read_json<T: serde::de::DeserializeOwned>(path: &str) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A folder that goes away with the test.
struct Place(tempfile::TempDir);

const COLOURS: [(&str, [u8; 3]); 3] = [
    ("blue", [20, 30, 220]),
    ("green", [30, 200, 40]),
    ("red", [220, 30, 20]),
];

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn entries(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A small model directory.
    fn model(&self) -> String {
        let out = self.path("model");
        trainer(&[
            "import",
            &format!("{FIXTURES}/openai_vit.pt"),
            "--out",
            &out,
            "--precision",
            "f32",
        ])
        .success();
        out
    }

    /// Three classes of pictures in three colours.
    fn images(&self, each: u8) -> String {
        for (class, colour) in COLOURS {
            for number in 0..each {
                let [r, g, b] = colour.map(|level| level.saturating_add(number / 3));
                picture(
                    &self.path(&format!("images/{class}/{number}.png")),
                    [r, g, b],
                    20 + u32::from(number),
                );
            }
        }
        self.path("images")
    }

    /// A bundle that tells the three colours apart by their own image features.
    fn bundle(&self) -> String {
        let model = self.model();
        let data = self.images(2);
        let file = self.path("own.safetensors");
        trainer(&[
            "encode",
            "--model",
            &model,
            "--data",
            &data,
            "--out",
            &file,
            "--precision",
            "f32",
            "--device",
            "cpu",
        ])
        .success();
        let bytes = fs::read(&file).unwrap();
        let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let features = stored.tensor("features").unwrap();
        let width = features.shape()[1];
        let values: Vec<f32> = features
            .data()
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect();
        let rows: Vec<Vec<f32>> = values.chunks_exact(width).step_by(2).map(unit).collect();

        let config: ClipConfig = read_json(&format!("{model}/config.json"));
        let classes = ClassFeatures {
            embed_dim: width,
            logit_scale: config.logit_scale,
            positive: rows.concat(),
            zero_shot: rows.concat(),
            probe: Some(shared::score::Probe {
                weight: rows.concat(),
                bias: vec![0.0; 3],
            }),
            ..Default::default()
        };
        let images = classes.similarities_all(&values).unwrap();
        let methods = ["mcm", "max-logit"].map(|id| {
            let method = method(id).unwrap();
            let settings = method.default_settings(config.logit_scale);
            let scores = shared::score::score_all(method, &images.rows(), &settings).unwrap();
            MethodEntry::measure(id, settings, &scores, None, 1.0, BTreeMap::new()).unwrap()
        });
        let tower = fs::read(format!("{model}/image.safetensors")).unwrap();
        let content = BundleContent {
            model: config,
            classes: COLOURS.map(|(name, _)| name.to_owned()).to_vec(),
            prompts: PromptEntry {
                context_tokens: 0,
                negatives: 0,
                class_specific: false,
                seed: 1,
                init: "none".into(),
            },
            methods: methods.to_vec(),
            figures: Figures::default(),
            provenance: Provenance::default(),
            known_answers: Vec::new(),
            tensors: vec![
                TensorGroup {
                    role: Role::ImageTower,
                    precision: Precision::F32,
                    tensors: decode_tensors("image", &tower).unwrap(),
                },
                TensorGroup {
                    role: Role::Features,
                    precision: Precision::F32,
                    tensors: bundle::class_feature_tensors(&classes).unwrap(),
                },
            ],
            texts: Vec::new(),
        };
        let out = self.path("bundle");
        fs::create_dir(&out).unwrap();
        for (name, bytes) in bundle::write(&content).unwrap() {
            fs::write(format!("{out}/{name}"), bytes).unwrap();
        }
        out
    }
}

fn unit(row: &[f32]) -> Vec<f32> {
    let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
    row.iter().map(|value| value / length).collect()
}

/// A picture of one colour with a darker corner, `side` pixels wide.
fn picture(path: &str, colour: [u8; 3], side: u32) {
    fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
    image::RgbImage::from_fn(side, side, |x, y| {
        image::Rgb(if x + y < side / 2 {
            colour.map(|level| level / 2)
        } else {
            colour
        })
    })
    .save(path)
    .unwrap();
}

/// A safetensors file of something that is no CLIP.
fn foreign_checkpoint() -> Vec<u8> {
    let data = [0u8; 16];
    let tensor =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2, 2], &data).unwrap();
    safetensors::serialize([("layer.weight", tensor)], None).unwrap()
}
