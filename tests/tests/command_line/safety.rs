//! What the program refuses before it costs somebody their files or their time.

use std::fs;
use std::path::Path;

use tests::hostile::tiny;

use super::{Place, picture, trainer};

/// Learns as little as there is to learn.
const FEW: [&str; 9] = [
    "--device",
    "cpu",
    "--shots",
    "2",
    "--positive-steps=2",
    "--negative-steps=2",
    "--context-tokens=4",
    "--label-pool=0",
    "--batch=4",
];

fn train(place: &Place, more: &[&str]) -> super::Run {
    let run = place.path("run");
    let data = place.path("images");
    let model = place.path("model");
    let own = ["train", "--model", &model, "--data", &data, "--out", &run];
    trainer(&[&own[..], &FEW, more].concat())
}

/// A model with a text tower that can be learned with.
fn model(place: &Place) {
    let folder = place.path("model");
    fs::create_dir(&folder).unwrap();
    for (name, bytes) in tiny::model() {
        fs::write(format!("{folder}/{name}"), bytes).unwrap();
    }
}

#[test]
fn a_folder_of_something_else_is_never_replaced() {
    let place = Place::new();
    let bundle = place.bundle();
    let (photos, models) = (place.path("photos"), place.path("models"));
    picture(&format!("{photos}/holiday.png"), [1, 2, 3], 20);
    fs::create_dir_all(format!("{models}/another")).unwrap();
    let checkpoint = format!("{}/openai_vit.pt", super::FIXTURES);
    for (arguments, held) in [
        (["export", &bundle, "--out", &photos], "holiday.png"),
        (["import", &checkpoint, "--out", &models], "another"),
        (["import", &checkpoint, "--out", &photos], "holiday.png"),
        // Before the checkpoint is looked for.
        (["import", "no-such.pt", "--out", &photos], "holiday.png"),
    ] {
        let text = trainer(&arguments).failure().stderr;
        let said = format!("holds `{held}`, which is not of a ");
        assert!(
            text.contains(&said) && text.contains("another --out"),
            "{text}"
        );
    }
    assert!(Path::new(&photos).join("holiday.png").is_file());
    assert!(Path::new(&models).join("another").is_dir());
    // What this program wrote there itself is replaced.
    for _ in 0..2 {
        let out = place.path("exported");
        trainer(&["export", &bundle, "--out", &out]).success();
    }

    // A run looks at its places before it learns.
    for kept in ["bundle/thesis.pdf", "figures/photo.png"] {
        let file = format!("{}/{kept}", place.path("run"));
        fs::create_dir_all(Path::new(&file).parent().unwrap()).unwrap();
        fs::write(&file, b"mine").unwrap();
        let text = train(&place, &[]).failure().stderr;
        assert!(text.contains(kept.rsplit('/').next().unwrap()), "{text}");
        assert!(!text.contains("encoding"), "{text}");
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        fs::remove_file(&file).unwrap();
    }
}

/// A table of somebody's at the place of features, a report of somebody's, and one of another command.
#[test]
fn a_file_of_something_else_is_never_replaced() {
    let place = Place::new();
    model(&place);
    let (data, model) = (place.images(8), place.path("model"));
    let table = place.write("precious.csv", b"name,age\n");
    let encode = |out: &str| trainer(&["encode", "--model", &model, "--data", &data, "--out", out]);
    let text = encode(&table).failure().stderr;
    assert!(text.contains("precious.csv is there already"), "{text}");
    assert_eq!(fs::read(&table).unwrap(), b"name,age\n");
    let text = encode(&data).failure().stderr;
    assert!(
        text.contains("is a folder") && text.contains("features.safetensors"),
        "{text}"
    );
    let features = place.path("features.safetensors");
    for _ in 0..2 {
        encode(&features).success();
    }

    let run = place.path("run");
    fs::create_dir(&run).unwrap();
    for name in ["report.html", "report.json"] {
        let file = format!("{run}/{name}");
        fs::write(&file, b"{\"mine\": true}").unwrap();
        let text = train(&place, &[]).failure().stderr;
        assert!(
            text.contains(name) && text.contains("not a report of this program"),
            "{text}"
        );
        assert_eq!(fs::read(&file).unwrap(), b"{\"mine\": true}");
        fs::remove_file(&file).unwrap();
    }
    train(&place, &[]).success();
    train(&place, &[]).success();
    let bench = ["bench", "--model", &model, "--data", &data, "--out", &run];
    let text = trainer(&bench).failure().stderr;
    assert!(text.contains("`bundle`, which `train` wrote"), "{text}");
    fs::create_dir(format!("{run}/rows")).unwrap();
    let text = train(&place, &[]).failure().stderr;
    assert!(text.contains("`rows`, which `bench` wrote"), "{text}");
}

/// Files whose names this program uses as well, and whose content it did not write.
#[test]
fn a_name_alone_makes_nothing_ours() {
    let place = Place::new();
    let bundle = place.bundle();
    fs::remove_dir_all(place.path("model")).unwrap();
    model(&place);
    let (data, model) = (place.images(8), place.path("model"));
    let put = |name: &str, bytes: &[u8]| {
        let file = place.path(name);
        fs::create_dir_all(Path::new(&file).parent().unwrap()).unwrap();
        fs::write(&file, bytes).unwrap();
        file
    };
    let header = br#"{"features":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let mut arrays = (header.len() as u64).to_le_bytes().to_vec();
    arrays.extend_from_slice(header);
    arrays.push(7);

    for name in ["run/figures/overview.svg", "run/figures/overview.png"] {
        put(name, b"mine");
    }
    let text = train(&place, &[]).failure().stderr;
    assert!(text.contains("lies beside no report"), "{text}");
    assert_eq!(fs::read_dir(place.path("run/figures")).unwrap().count(), 2);
    fs::remove_dir_all(place.path("run")).unwrap();
    let kept = put("run/features/id.safetensors", &arrays);
    let text = train(&place, &[]).failure().stderr;
    assert!(text.contains("is no feature file"), "{text}");
    assert_eq!(fs::read(&kept).unwrap(), arrays);

    let table = put("suite/table.tex", b"mine");
    let out = place.path("suite");
    let bench = ["bench", "--model", &model, "--data", &data, "--out", &out];
    let text = trainer(&bench).failure().stderr;
    assert!(text.contains("table.tex lies beside no report"), "{text}");
    assert_eq!(fs::read(&table).unwrap(), b"mine");

    let out = place.path("h.safetensors");
    let encode = [
        "encode", "--model", &model, "--data", &data, "--device", "cpu", "--out", &out,
    ];
    for (name, more) in [
        ("h.safetensors", &[][..]),
        ("h.00000-of-00002.safetensors", &["--shard", "0/2"]),
        ("h.safetensors.partial", &[]),
        ("h.safetensors.journal.partial", &[]),
    ] {
        let file = put(name, &arrays);
        let text = trainer(&[&encode[..], more].concat()).failure().stderr;
        assert!(
            text.contains(name) && text.contains("another --out"),
            "{text}"
        );
        assert_eq!(fs::read(&file).unwrap(), arrays);
        fs::remove_file(&file).unwrap();
    }
    #[cfg(unix)]
    {
        let target = place.path("elsewhere.safetensors");
        std::os::unix::fs::symlink(&target, &out).unwrap();
        trainer(&encode).success();
        assert!(fs::symlink_metadata(&out).unwrap().is_symlink());
        assert!(Path::new(&target).is_file());
    }

    let manifest = put("js/bundle.json", br#"{"entry":"main.js"}"#);
    put("js/notes-0123456789abcdef.txt", b"mine");
    let out = place.path("js");
    let text = trainer(&["export", &bundle, "--out", &out])
        .failure()
        .stderr;
    assert!(text.contains("nothing says that it is a bundle"), "{text}");
    assert!(Path::new(&manifest).is_file());
    put("own/config.json", br#"{"theme":"dark"}"#);
    let (checkpoint, out) = (
        format!("{}/openai_vit.pt", super::FIXTURES),
        place.path("own"),
    );
    let text = trainer(&["import", &checkpoint, "--out", &out])
        .failure()
        .stderr;
    assert!(text.contains("nothing says that it is a model"), "{text}");
    let kept = put("tune/tune.json", b"{\"editor\": 1}");
    let out = place.path("tune");
    let tune = ["tune", "--try", "delta=0", "--device", "cpu", "--out", &out];
    let text = trainer(&tune).failure().stderr;
    assert!(text.contains("tune.json is not of this command"), "{text}");
    assert_eq!(fs::read(&kept).unwrap(), b"{\"editor\": 1}");
}

/// A result in the place of what it is made from.
#[test]
fn what_is_read_is_not_written_over() {
    let place = Place::new();
    let (bundle, data) = (place.bundle(), place.images(2));
    let other = place.path("other");
    picture(&format!("{other}/1.png"), [9, 9, 9], 30);
    let set = format!("other={other}");
    let eval = ["eval", "--bundle", &bundle, "--id", &data, "--ood", &set];
    for file in [
        format!("{bundle}/bundle.json"),
        format!("{data}/red/0.png"),
        format!("{other}/1.png"),
        format!("{other}/missing/table.json"),
    ] {
        for option in ["--json", "--html"] {
            let text = trainer(&[&eval[..], &[option, &file]].concat()).failure();
            assert!(text.stderr.contains("which is read"), "{}", text.stderr);
        }
    }
    let text = trainer(&["export", &bundle, "--out", &bundle, "--precision", "int8"]);
    let text = text.failure().stderr;
    assert!(text.contains("this is the bundle that is read"), "{text}");
}

#[test]
fn what_would_fail_at_the_end_of_a_run_fails_at_its_start() {
    let place = Place::new();
    model(&place);
    let data = place.images(8);
    let other = place.path("other");
    picture(&format!("{other}/1.png"), [200, 200, 0], 30);
    let set = |name: &str| format!("{name}={other}");
    for (sets, said) in [
        (["scenes", "scenes"], "two sets are called `scenes`"),
        (["scenes", "Average"], "no set can be called `Average`"),
    ] {
        let [first, second] = sets.map(set);
        let both = ["--ood", &first, "--ood", &second];
        let bundle = place.path("bundle");
        let eval = ["eval", "--bundle", &bundle, "--id", &data];
        let out = place.path("suite");
        let bench = ["bench", "--data", &data, "--out", &out];
        for run in [
            train(&place, &both),
            trainer(&[&bench[..], &both].concat()),
            trainer(&[&eval[..], &both].concat()),
        ] {
            let text = run.failure().stderr;
            assert!(text.contains(said), "{text}");
        }
    }

    // An image that a table puts in no half would be learned from and measured on.
    let table = "path,label,split\nimages/red/0.png,red,train\nimages/blue/0.png,blue,test\nimages/red/1.png,red,\n";
    let table = place.write("table.csv", table.as_bytes());
    let text = train(&place, &["--data", &table]).stderr;
    assert!(text.contains("--data"), "{text}");
    let (model, out) = (place.path("model"), place.path("table.safetensors"));
    let encode = [
        "encode", "--model", &model, "--out", &out, "--split", "train",
    ];
    let text = trainer(&[&encode[..], &["--data", &table]].concat());
    let text = text.failure().stderr;
    assert!(text.contains("`images/red/1.png` has no split"), "{text}");
    let text = trainer(&[&encode[..], &["--data", &data]].concat());
    let text = text.failure().stderr;
    assert!(text.contains("is not split"), "{text}");

    picture(&format!("{data}/dark_red/1.png"), [90, 0, 0], 30);
    picture(&format!("{data}/dark red/1.png"), [90, 0, 0], 30);
    let text = train(&place, &[]).failure().stderr;
    assert!(
        text.contains("`dark red` and `dark_red`") && text.contains("rename"),
        "{text}"
    );
}

/// Nobody asked to go on with what was begun for other classes, so nobody is told to leave
/// `--resume` out.
#[test]
fn a_run_begins_anew_where_an_earlier_one_was_of_other_classes() {
    let place = Place::new();
    model(&place);
    let data = place.images(8);
    fs::write(format!("{data}/red/broken.png"), b"no image").unwrap();
    train(&place, &[]).success();
    let features = place.path("run/features/id.safetensors");
    // As a killed run leaves it.
    fs::rename(&features, format!("{features}.partial")).unwrap();
    let begun = "{\"classes\":[\"a\",\"b\"],\"model\":\"m\",\"key\":\"k\",\"width\":16,\"precision\":\"f16\",\"shard\":null}\n";
    fs::write(format!("{features}.journal.partial"), begun).unwrap();
    let run = train(&place, &[]).success();
    assert!(run.stderr.contains("it is begun anew"), "{}", run.stderr);
    let report: serde_json::Value = super::read_json(&place.path("run/report.json"));
    assert_eq!(report["data"][0]["skipped"], 1);
}

#[test]
fn tune_refuses_what_it_would_not_do() {
    let out = Place::new();
    let folder = out.path("tune");
    let tune = |more: &[&str]| {
        let own = ["tune", "--out", &folder, "--device", "cpu"];
        trainer(&[&own[..], more].concat()).failure().stderr
    };
    for (arguments, said) in [
        (&["--try", "shots=4,8"][..], "--try shots: "),
        (&["--try", "seed=1"], "--try seed: "),
        (&["--try", "label_pool=0"], "--try label_pool: "),
        (&["--try", "delta=0", "--seed", "3"], "--seeds 3"),
        (&["--try", "delta=0", "--parts", "1"], "--parts 1"),
        (&["--try", "delta=0", "--parts", "0"], "--parts 0"),
        (&["--try", "context_tokens=16,29"], "--context-tokens 29"),
    ] {
        let text = tune(arguments);
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    assert!(!Path::new(&folder).exists());
}

/// `--resume` takes the stages of the same images only: their number is not enough.
#[test]
fn other_images_are_another_run() {
    let place = Place::new();
    model(&place);
    let data = place.images(8);
    // What a run leaves whose last step cannot be taken: the place is lost while it learns.
    let checkpoint = place.path("run/checkpoint/run.txt");
    let report = place.path("run/report.json");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| train(&place, &[]));
        while !Path::new(&checkpoint).is_file() && !run.is_finished() {
            std::thread::yield_now();
        }
        fs::create_dir(&report).unwrap();
        run.join().unwrap().failure();
    });
    assert!(Path::new(&checkpoint).is_file());
    let text = train(&place, &["--resume"]).failure().stderr;
    assert!(text.contains("report.json is a folder"), "{text}");
    fs::remove_dir(&report).unwrap();
    for number in 0..8u32 {
        picture(
            &format!("{data}/red/{number}.png"),
            [255, 80, 80],
            33 + number,
        );
    }
    let text = train(&place, &["--resume"]);
    let text = text.failure().stderr;
    assert!(text.contains("other data"), "{text}");
    train(&place, &[]).success();
    assert!(!Path::new(&checkpoint).exists());
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_are_no_text_and_outputs_that_are_no_file() {
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;
    let place = Place::new();
    let bundle = place.bundle();
    let data = place.images(2);
    let odd = std::path::PathBuf::from(place.path("x"))
        .with_file_name(std::ffi::OsStr::from_bytes(b"odd-\xff"));
    fs::rename(&data, &odd).unwrap();
    let output = place.path("output");
    let table = fs::File::create(&output).unwrap();
    let other = format!("other={}", place.path("other"));
    picture(&format!("{}/1.png", place.path("other")), [9, 9, 9], 30);
    let run = Command::new(super::program())
        .args([
            "eval", "--bundle", &bundle, "--device", "cpu", "--ood", &other,
        ])
        .args(["--json", "/dev/stdout", "--id"])
        .arg(&odd)
        .stdout(table)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{text}");
    assert!(fs::symlink_metadata("/dev/stdout").unwrap().is_symlink());
    // The table, and the report behind it.
    let written = fs::read_to_string(&output).unwrap();
    assert!(
        written.contains("AUROC") && written.trim_end().ends_with('}'),
        "{written}"
    );
}
