//! Malformed files through the program: every one ends in an error that names the file, the cause
//! and the way out, with a non-zero exit, nothing half-written, and memory and time below a lid.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::hostile::{
    Case, Outcome, bundles, checkpoints, features, images, models, shows_a_way_out, tables, tiny,
};
use tests::program::{Lid, Run, run, side_by_side};

#[test]
fn images() {
    let place = Place::new();
    let bundle = place.folder("bundle", &tiny::bundle());
    let cases = images::cases();
    let mut arguments = vec![
        "predict".to_owned(),
        "--bundle".to_owned(),
        bundle,
        "--device".to_owned(),
        "cpu".to_owned(),
    ];
    let paths: Vec<String> = cases
        .iter()
        .map(|case| place.case("images", case))
        .collect();
    arguments.extend(paths.iter().cloned());
    let ran = run(place.path(), &arguments, Lid::default());
    assert_eq!(ran.fault(), None);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), cases.len());
    let mut wrong = Vec::new();
    for ((case, path), line) in cases.iter().zip(&paths).zip(&lines) {
        assert_eq!(line["file"], path.as_str());
        let said = line["error"].as_str();
        let fine = match (case.outcome, said) {
            (Outcome::Used | Outcome::Either, None) => line["verdict"].is_string(),
            (Outcome::Used, Some(_)) => false,
            (Outcome::Refused(_), None) => false,
            (Outcome::Refused(causes), Some(said)) => {
                causes.iter().any(|cause| said.contains(cause)) && shows_a_way_out(said)
            }
            (Outcome::Either, Some(said)) => shows_a_way_out(said),
        };
        if !fine {
            wrong.push(format!("{}: {line}", case.name));
        }
    }
    report("images", cases.len(), wrong);
}

#[test]
fn paths_that_are_no_files() {
    let place = Place::new();
    let bundle = place.folder("bundle", &tiny::bundle());
    let folder = place.path().join("odd");
    fs::create_dir_all(folder.join("a folder.png")).unwrap();
    let mut made = std::process::Command::new("mkfifo");
    assert!(
        made.arg(folder.join("pipe.png"))
            .status()
            .unwrap()
            .success()
    );
    for (link, target) in [
        ("zero.png", "/dev/zero"),
        ("itself.png", "itself.png"),
        ("nowhere.png", "nowhere"),
        ("terminal.png", "/dev/tty"),
    ] {
        std::os::unix::fs::symlink(target, folder.join(link)).unwrap();
    }
    let odd = folder.to_str().unwrap();
    let ran = run(
        place.path(),
        &["predict", "--bundle", &bundle, "--device", "cpu", odd],
        Lid::default(),
    );
    assert_eq!(ran.fault(), None);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stdout.lines().count(), 5, "{}", ran.stdout);
    for line in ran.stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(shows_a_way_out(line["error"].as_str().unwrap()), "{line}");
    }
    // A bundle, a model and a checkpoint that are pipes: nothing waits for a writer.
    let pipe = folder.join("pipe.png").to_str().unwrap().to_owned();
    for arguments in [
        vec!["predict", "--bundle", &pipe, "a.png"],
        vec!["import", &pipe, "--out", "model"],
        vec!["encode", "--model", &pipe, "--data", odd, "--out", "x"],
        vec!["train", "--data", &pipe],
    ] {
        let ran = run(place.path(), &arguments, Lid::default());
        assert_eq!((ran.fault(), ran.code), (None, 1), "{arguments:?}");
    }
}

#[test]
fn bundles() {
    let place = Place::new();
    let photos = place.photos();
    let photo = format!("{photos}/red/0.png");
    let cases = bundles::cases();
    let wrong = side_by_side(&cases, |case| {
        let bundle = place.case("bundles", case);
        let ran = run(
            place.path(),
            &["predict", "--bundle", &bundle, "--device", "cpu", &photo],
            Lid::default(),
        );
        // What a bundle's weights do wrong shows on a photo, and is told on its line.
        let names = match ran.stdout.is_empty() {
            true => &bundle,
            false => &photo,
        };
        judge(case, &ran, names)
    });
    let mut wrong: Vec<String> = wrong.into_iter().flatten().collect();
    // Other commands read bundles through the same door; a sample of the cases shows that they do.
    let sample: Vec<&Case> = cases.iter().skip(1).step_by(12).collect();
    wrong.extend(
        side_by_side(&sample, |case| {
            let bundle = place.case("bundles", case);
            let (out, json) = (place.fresh("export"), place.fresh("table.json"));
            let ood = format!("other={photos}");
            let exported = run(
                place.path(),
                &["export", &bundle, "--out", &out],
                Lid::default(),
            );
            let measured = run(
                place.path(),
                &[
                    "eval", "--bundle", &bundle, "--id", &photos, "--ood", &ood, "--json", &json,
                    "--device", "cpu",
                ],
                Lid::default(),
            );
            let written = [(&exported, &out), (&measured, &json)]
                .into_iter()
                .find(|(_, path)| Path::new(path).exists())
                .map(|(ran, path)| match ran.code {
                    1 => format!("was refused and left {path}"),
                    _ => format!("was taken and wrote {path}"),
                });
            [exported.fault().or(measured.fault()), written]
                .into_iter()
                .flatten()
                .map(|wrong| format!("{} in export or eval: {wrong}", case.name))
                .next()
        })
        .into_iter()
        .flatten(),
    );
    report("bundles", cases.len(), wrong);
}

#[test]
fn checkpoints() {
    let place = Place::new();
    let cases = checkpoints::cases();
    let wrong = side_by_side(&cases, |case| {
        let folder = place.case_folder("checkpoints", case);
        let source = match case.files.as_slice() {
            [(only, _)] if !only.ends_with(".json") => folder.join(only),
            _ => folder.clone(),
        };
        let source = source.to_str().unwrap();
        let out = place.fresh("models/model");
        let ran = run(&folder, &["import", source, "--out", &out], Lid::default());
        let written = Path::new(&out).exists();
        if case
            .files
            .iter()
            .any(|_| folder.join(checkpoints::CANARY).exists())
        {
            return Some(format!("{}: the pickle was run", case.name));
        }
        judge(case, &ran, folder.to_str().unwrap()).or_else(|| {
            (written != (ran.code == 0))
                .then(|| format!("{}: status {} and written: {written}", case.name, ran.code))
        })
    });
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert_eq!(place.hidden("models"), Vec::<String>::new());
    report("checkpoints", cases.len(), wrong);
}

#[test]
fn models() {
    let place = Place::new();
    let photos = place.photos();
    let cases = models::image_cases();
    let wrong = side_by_side(&cases, |case| {
        let model = place.case("models", case);
        let out = place.fresh("features/f.safetensors");
        let ran = run(
            place.path(),
            &[
                "encode", "--model", &model, "--data", &photos, "--out", &out, "--device", "cpu",
            ],
            Lid::default(),
        );
        let folder = Path::new(&out).parent().unwrap();
        let left = fs::read_dir(folder).map_or(0, |entries| entries.count());
        judge(case, &ran, &place.path().display().to_string()).or_else(|| {
            (left != usize::from(ran.code == 0))
                .then(|| format!("{}: {left} files are left", case.name))
        })
    });
    report("models", cases.len(), wrong.into_iter().flatten().collect());

    let cases = models::text_cases();
    let wrong = side_by_side(&cases, |case| {
        let model = place.case("models", case);
        let out = place.fresh("runs/run");
        let ran = run(
            place.path(),
            &[
                "train",
                "--model",
                &model,
                "--data",
                &photos,
                "--out",
                &out,
                "--shots",
                "1",
                "--context-tokens",
                "4",
                "--device",
                "cpu",
            ],
            Lid::default(),
        );
        judge(case, &ran, &model).or_else(|| no_results(case, &out))
    });
    report(
        "text towers",
        cases.len(),
        wrong.into_iter().flatten().collect(),
    );
}

#[test]
fn tables() {
    let place = Place::new();
    let model = place.folder("model", &tiny::model());
    let cases = tables::cases();
    let wrong = side_by_side(&cases, |case| {
        let folder = place.case_folder("tables", case);
        let table = match case.files[0].0.as_str() {
            within if within.contains('/') => folder.clone(),
            file => folder.join(file),
        };
        let table = table.to_str().unwrap();
        let out = place.fresh("out");
        let ran = if case.outcome == Outcome::Used {
            let out = format!("{out}/features.safetensors");
            let arguments = [
                "encode", "--model", &model, "--data", table, "--out", &out, "--device", "cpu",
            ];
            run(place.path(), &arguments, Lid::default())
        } else {
            let arguments = [
                "train",
                "--model",
                &model,
                "--data",
                table,
                "--out",
                &out,
                "--device",
                "cpu",
                "--positive-steps",
                "1",
                "--negative-steps",
                "1",
                "--context-tokens",
                "4",
            ];
            run(place.path(), &arguments, Lid::default())
        };
        // What is said of a set of images names no folder above it.
        let name = Path::new(table).file_name().unwrap();
        judge(case, &ran, name.to_str().unwrap()).or_else(|| {
            matches!(case.outcome, Outcome::Refused(_))
                .then(|| no_results(case, &out))
                .flatten()
        })
    });
    report("tables", cases.len(), wrong.into_iter().flatten().collect());
}

#[test]
fn feature_files_lend_nothing_when_damaged() {
    let place = Place::new();
    let model = place.folder("model", &tiny::model());
    let photos = place.photos();
    let encode = |out: &str, more: &[&str]| {
        let arguments = [
            "encode", "--model", &model, "--data", &photos, "--out", out, "--device", "cpu",
        ];
        run(place.path(), &[&arguments, more].concat(), Lid::default())
    };
    let clean = place.fresh("clean/features.safetensors");
    assert_eq!(encode(&clean, &[]).fault(), None);
    let good = fs::read(&clean).unwrap();
    let cases = features::cases(&good);
    let wrong = side_by_side(&cases, |case| {
        let folder = place.case_folder("features", case);
        let out = folder.join("features.safetensors");
        let ran = encode(out.to_str().unwrap(), &[]);
        if let Some(fault) = ran.fault() {
            return Some(format!("{}: {fault}", case.name));
        }
        // A header that can be read and is not of features is somebody's file, which stays.
        let bytes = &case.files[0].1;
        let format = b"negprompt-features";
        let is_features = bytes.windows(format.len()).any(|part| part == format);
        let refused = ran.code == 1 && !is_features;
        let (code, expected) = if refused { (1, bytes) } else { (0, &good) };
        (ran.code != code || fs::read(&out).ok().as_ref() != Some(expected))
            .then(|| format!("{}: not the features of a clean run", case.name))
    });
    report(
        "features",
        cases.len(),
        wrong.into_iter().flatten().collect(),
    );

    // What a killed run left, and somebody bent: the journal, the features, or both.
    let cases = features::cases(&good);
    let wrong = side_by_side(&cases[..12], |case| {
        let folder = place.case_folder("unfinished", case);
        let out = folder.join("features.safetensors");
        let name = |suffix: &str| folder.join(format!("features.safetensors{suffix}"));
        fs::rename(&out, name(".partial")).unwrap();
        let journal: &[u8] = match case.name.len() % 3 {
            0 => b"",
            1 => b"{\"classes\":[]}\n",
            _ => &case.files[0].1,
        };
        fs::write(name(".journal.partial"), journal).unwrap();
        let ran = encode(out.to_str().unwrap(), &["--resume"]);
        if let Some(fault) = ran.fault() {
            return Some(format!("{}: {fault}", case.name));
        }
        (ran.code == 0 && fs::read(&out).ok().as_ref() != Some(&good))
            .then(|| format!("{}: not the features of a clean run", case.name))
    });
    report(
        "unfinished features",
        12,
        wrong.into_iter().flatten().collect(),
    );
}

#[test]
fn numbers_on_the_command_line() {
    let place = Place::new();
    let model = place.folder("model", &tiny::model());
    let photos = place.photos();
    let bundle = place.folder("bundle", &tiny::bundle());
    let photo = format!("{photos}/red/0.png");
    let train = [
        "train", "--model", &model, "--data", &photos, "--device", "cpu", "--shots", "1",
    ];
    let bench = [
        "bench",
        "--model",
        &model,
        "--data",
        &photos,
        "--device",
        "cpu",
        "--shots",
        "1",
        "--seeds=0",
    ];
    let predict = ["predict", "--bundle", &bundle, "--device", "cpu", &photo];
    let mut cases: Vec<(Vec<&str>, [&str; 2])> = Vec::new();
    for wrong in [
        ["--shots", "0"],
        ["--batch", "0"],
        ["--negatives", "0"],
        ["--negatives", "99999999"],
        ["--context-tokens", "0"],
        ["--context-tokens", "99999999999"],
        ["--positive-rate", "nan"],
        ["--negative-rate", "inf"],
        ["--positive-rate", "-1"],
        ["--beta", "nan"],
        ["--epsilon", "-inf"],
        ["--positive-steps", "99999999999999999999"],
        ["--max-megapixels", "nan"],
        ["--max-megapixels", "0"],
    ] {
        cases.push((train.to_vec(), wrong));
        cases.push((bench.to_vec(), wrong));
    }
    for wrong in [
        ["--threshold", "nan"],
        ["--threshold", "inf"],
        ["--batch", "0"],
        ["--method", "\u{1b}[31m"],
        ["--max-megapixels", "-4"],
        ["--max-megapixels", "1e300"],
    ] {
        cases.push((predict.to_vec(), wrong));
    }
    let wrong = side_by_side(&cases, |(arguments, wrong)| {
        let out = place.fresh("run");
        let mut arguments = arguments.clone();
        if arguments[0] != "predict" {
            arguments.extend(["--out", &out]);
            arguments
                .retain(|argument| !(wrong[0] == "--shots" && ["--shots", "1"].contains(argument)));
        }
        arguments.extend(wrong);
        let ran = run(place.path(), &arguments, Lid::default());
        // What clap itself refuses it names by the value.
        let option = wrong[0].trim_start_matches('-');
        let said = ran.stderr.contains("error: ")
            && (ran.stderr.contains(option) || ran.stderr.contains(&wrong[1][..2]));
        (ran.fault().is_some() || ran.code == 0 || !said)
            .then(|| format!("{wrong:?}: {:?} {} {}", ran.fault(), ran.code, ran.stderr))
    });
    report(
        "numbers",
        cases.len(),
        wrong.into_iter().flatten().collect(),
    );
}

#[test]
fn a_larger_image_is_taken_on_request() {
    let place = Place::new();
    let bundle = place.folder("bundle", &tiny::bundle());
    let large = images::cases();
    let large = large
        .iter()
        .find(|case| case.name == "png-of-25-megapixels-of-nothing")
        .unwrap();
    let photo = place.case("images", large);
    let predict = |limit: &str| {
        run(
            place.path(),
            &[
                "predict",
                "--bundle",
                &bundle,
                "--device",
                "cpu",
                "--max-megapixels",
                limit,
                &photo,
            ],
            Lid::default(),
        )
    };
    let refused = predict("24.9");
    assert_eq!(refused.code, 1);
    assert!(
        refused.stdout.contains("the limit is 24900000"),
        "{}",
        refused.stdout
    );
    assert_eq!(predict("25").code, 0);
}

/// What is wrong with a run, if anything.
/// The most of a message: what a person reads, with the file's paths in it.
const MOST_MESSAGE_BYTES: usize = 4000;

fn judge(case: &Case, ran: &Run, names: &str) -> Option<String> {
    if let Some(fault) = ran.fault() {
        return Some(format!("{}: {fault}", case.name));
    }
    let text = ran.text();
    let failed = |what: &str| Some(format!("{}: {what}: {}", case.name, text.trim()));
    if ran.code != 0 {
        if !ran.stderr.contains("error: ") {
            return failed("no error");
        }
        if !text.contains(names) {
            return failed("the file is not named");
        }
        if !shows_a_way_out(&text) {
            return failed("no way out");
        }
        if ran.stderr.len() > MOST_MESSAGE_BYTES {
            let bytes = ran.stderr.len();
            return Some(format!("{}: a message of {bytes} bytes", case.name));
        }
    }
    match case.outcome {
        Outcome::Used if ran.code != 0 => failed("refused"),
        Outcome::Refused(_) if ran.code == 0 => failed("accepted"),
        Outcome::Refused(causes) if !causes.iter().any(|cause| text.contains(cause)) => {
            failed("another cause")
        }
        _ => None,
    }
}

fn no_results(case: &Case, out: &str) -> Option<String> {
    ["bundle", "report.json", "report.html"]
        .iter()
        .find(|file| Path::new(out).join(file).exists())
        .map(|file| format!("{}: {file} was written", case.name))
}

#[track_caller]
fn report(what: &str, cases: usize, wrong: Vec<String>) {
    println!("{what}: {cases} cases, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

/// A folder that goes away with the test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        // In memory where there is such a folder: thousands of small files are flushed to it.
        let memory = Path::new("/dev/shm");
        Self(match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        })
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn folder(&self, name: &str, files: &[(String, Vec<u8>)]) -> String {
        let folder = self.path().join(name);
        put(&folder, files);
        folder.to_str().unwrap().to_owned()
    }

    fn case_folder(&self, kind: &str, case: &Case) -> PathBuf {
        let folder = self.path().join(kind).join(&case.name);
        put(&folder, &case.files);
        folder
    }

    /// The case's folder, or its file where it is one image.
    fn case(&self, kind: &str, case: &Case) -> String {
        let folder = self.case_folder(kind, case);
        let path = match case.files.as_slice() {
            [(only, _)] => folder.join(only),
            _ => folder,
        };
        path.to_str().unwrap().to_owned()
    }

    /// A path in a folder of its own, where nothing is yet.
    fn fresh(&self, name: &str) -> String {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (folder, file) = name.rsplit_once('/').unwrap_or(("fresh", name));
        let folder = self.path().join(folder).join(number.to_string());
        fs::create_dir_all(&folder).unwrap();
        folder.join(file).to_str().unwrap().to_owned()
    }

    /// Hidden files at any depth below a folder.
    fn hidden(&self, name: &str) -> Vec<String> {
        let mut hidden = Vec::new();
        let mut open = vec![self.path().join(name)];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with('.') {
                    hidden.push(name);
                }
                if entry.path().is_dir() {
                    open.push(entry.path());
                }
            }
        }
        hidden
    }

    /// Three classes of four pictures.
    fn photos(&self) -> String {
        for (class, colour) in [
            ("blue", [20, 30, 220]),
            ("green", [30, 200, 40]),
            ("red", [220, 30, 20]),
        ] {
            for number in 0..4u32 {
                let path = self.path().join(format!("photos/{class}/{number}.png"));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                image::RgbImage::from_fn(24, 24, |x, y| {
                    image::Rgb(if x + y < 8 + number {
                        [0, 0, 0]
                    } else {
                        colour
                    })
                })
                .save(path)
                .unwrap();
            }
        }
        self.path().join("photos").to_str().unwrap().to_owned()
    }
}

fn put(folder: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
