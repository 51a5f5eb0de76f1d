//! Kills, full disks and folders that may not be written to.
//!
//! A few kills run with the other tests; `cargo xtask faults` does a hundred.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use tests::faults::{files_below, jobs, leftovers, prepare};
use tests::hostile::tiny;
use tests::program::trainer;

/// Set to the number of kills of all commands together.
const KILLS: &str = "NEGPROMPT_KILLS";
/// Set to repeat the moments of an earlier run.
const SEED: &str = "NEGPROMPT_FAULT_SEED";

/// Says so past the test harness, which would keep a passing test's output to itself.
fn not_checked(why: &str) {
    let message = format!("faults: NOT CHECKED: {why}\n");
    std::io::stderr()
        .write_all(message.as_bytes())
        .expect("standard error");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn killed_runs_come_to_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let seed = number(SEED).unwrap_or(1);
    let all = number(KILLS).unwrap_or(0) as usize;
    for (index, job) in jobs().iter().enumerate() {
        let kills = match all {
            0 => 3,
            all => all.div_ceil(jobs().len()),
        };
        let started = Instant::now();
        let outcome = job.kill(folder.path(), kills, seed + index as u64);
        println!(
            "{}: {} killed, {} were done before, {:.0} s, all results as undisturbed",
            job.name,
            outcome.killed,
            outcome.too_late,
            started.elapsed().as_secs_f64()
        );
    }
}

#[test]
fn damaged_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let run = folder.path().join("run");
    fs::create_dir(&run).unwrap();
    let train = |more: &[&str]| -> Output {
        let words = "train --model ../model --data ../photos --ood other=../other --out result --device cpu \
                     --shots 8 --context-tokens 4 --positive-steps 2000 --negative-steps 60";
        Command::new(trainer())
            .args(words.split_whitespace())
            .args(more)
            .current_dir(&run)
            .output()
            .unwrap()
    };
    let mut child = Command::new(trainer())
        .args(
            "train --model ../model --data ../photos --ood other=../other --out result --device cpu \
             --shots 8 --context-tokens 4 --positive-steps 2000 --negative-steps 60"
                .split_whitespace(),
        )
        .current_dir(&run)
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let stage = run.join("result/checkpoint/stage 1.checkpoint");
    while !stage.is_file() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let whole = fs::read(&stage).expect("killed behind its first checkpoint and before its end");
    let mut off = whole.clone();
    off[whole.len() / 2] ^= 1;
    for (what, bytes) in [
        ("one bit off", off),
        ("cut", whole[..whole.len() - 9].to_vec()),
        ("empty", Vec::new()),
        ("foreign", vec![7; whole.len()]),
    ] {
        fs::write(&stage, bytes).unwrap();
        let output = train(&["--resume"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{what}: {text}");
        assert!(
            text.contains("stage 1.checkpoint is damaged") && text.contains("without --resume"),
            "{what}: {text}"
        );
    }
    fs::write(&stage, &whole).unwrap();
    assert!(train(&["--resume"]).status.success());
}

/// The commands that write, with the folder they write to as `OUT`.
const WRITERS: [(&str, &str); 7] = [
    ("import", "import checkpoint.safetensors --out OUT/model"),
    (
        "encode",
        "encode --model model --data photos --out OUT/features.safetensors --device cpu",
    ),
    (
        "train",
        "train --model model --data photos --ood other=other --out OUT/run --device cpu --shots 8 --context-tokens 4 --positive-steps 2 --negative-steps 2",
    ),
    ("export", "export bundle --out OUT/exported"),
    (
        "eval",
        "eval --bundle bundle --id photos --ood other=other --device cpu --json OUT/table.json",
    ),
    (
        "tune",
        "tune --model model --data photos --out OUT/tuned --device cpu --shots 8 --context-tokens 4 --positive-steps 2 --negative-steps 2 --parts 2 --try delta=0,0.1",
    ),
    (
        "bench",
        "bench --model model --data photos --ood other=other --out OUT/bench --device cpu --shots 8 --context-tokens 4 --positive-steps 2 --negative-steps 2 --seeds 0",
    ),
];

/// Runs a writer behind a piece of shell, with an empty folder to write to.
fn write_behind(folder: &Path, shell: &str, arguments: &str) -> (Output, std::path::PathBuf) {
    let out = folder.join("out");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).unwrap();
    let arguments = arguments.replace("OUT", "out");
    let script = format!("{shell} exec \"$0\" {arguments}");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(trainer())
        .current_dir(folder)
        .output()
        .unwrap();
    (output, out)
}

fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    fs::create_dir(folder.path().join("bundle")).unwrap();
    for (name, bytes) in tiny::bundle() {
        fs::write(folder.path().join("bundle").join(name), bytes).unwrap();
    }
    folder
}

#[track_caller]
fn assert_named(name: &str, output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{name}: {text}");
    assert!(
        text.contains("error: ") && text.contains("out"),
        "{name}: {text}"
    );
    assert!(
        words.iter().any(|word| text.contains(word)),
        "{name}: {text}"
    );
}

#[test]
fn files_that_may_not_grow_leave_nothing_behind() {
    let folder = place();
    for (name, arguments) in WRITERS {
        // Without the trap the system ends the program itself, as it does any other.
        let (output, out) = write_behind(folder.path(), "trap '' XFSZ; ulimit -f 4;", arguments);
        assert_named(name, &output, &["takes no file this large"]);
        let left: Vec<_> = leftovers(&out)
            .into_iter()
            // An unfinished encoding is kept on purpose, for --resume.
            .filter(|file| !file.to_string_lossy().contains(".safetensors."))
            .collect();
        assert!(left.is_empty(), "{name}: {left:?}");
        for result in [
            "model",
            "features.safetensors",
            "run/bundle",
            "run/report.json",
            "exported",
            "table.json",
            "tuned/tune.json",
            "bench/report.json",
        ] {
            assert!(!out.join(result).exists(), "{name}: {result}");
        }
    }
}

/// A folder in memory of a size, in a mount namespace of its own; none where that is not allowed.
fn mounted(options: &str) -> Option<String> {
    let probe = Command::new("unshare")
        .args([
            "--mount",
            "--map-root-user",
            "sh",
            "-c",
            "mount -t tmpfs none /mnt",
        ])
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        not_checked(&format!(
            "with {options}: this machine allows no mount namespace"
        ));
        return None;
    }
    Some(format!("mount -t tmpfs -o {options} none out &&"))
}

fn write_in_namespace(folder: &Path, shell: &str, arguments: &str) -> Output {
    let out = folder.join("out");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).unwrap();
    let arguments = arguments.replace("OUT", "out");
    // What is left is counted inside, where the folder can be seen.
    let script = format!(
        "{shell} \"$0\" {arguments}; code=$?; find out -type f | sed 's/^/left: /' >&2; exit $code"
    );
    Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .arg(trainer())
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn a_full_disk_is_named() {
    let Some(mount) = mounted("size=16k") else {
        return;
    };
    let folder = place();
    for (name, arguments) in WRITERS {
        let output = write_in_namespace(folder.path(), &mount, arguments);
        assert_named(name, &output, &["the disk is full"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let left: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("left: "))
            // Whole features of the first photos and checkpoints are kept for --resume, and the lock of a
            // folder, which is empty.
            .filter(|file| {
                !["/features/", ".partial", "/checkpoint/", "/run.lock"]
                    .iter()
                    .any(|kept| file.contains(kept))
            })
            .collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

#[test]
fn a_read_only_folder_is_named() {
    let Some(mount) = mounted("ro") else { return };
    let folder = place();
    for (name, arguments) in WRITERS {
        let output = write_in_namespace(folder.path(), &mount, arguments);
        assert_named(name, &output, &["read-only"]);
    }
}

#[test]
fn a_folder_of_somebody_else_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = place();
    // Root may write anywhere, so another account is taken where there is the choice.
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let account = match root {
        true => "setpriv --reuid=65534 --regid=65534 --clear-groups",
        false => "",
    };
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let as_account = |arguments: &str| {
        Command::new("sh")
            .args(["-c", &format!("{account} \"$0\" {arguments}")])
            .arg(trainer())
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    if !as_account("--version").status.success() {
        not_checked("the program cannot be run as another account here");
        return;
    }
    for (name, arguments) in WRITERS {
        let out = folder.path().join("out");
        let _ = fs::remove_dir_all(&out);
        fs::create_dir(&out).unwrap();
        fs::set_permissions(&out, fs::Permissions::from_mode(0o555)).unwrap();
        let output = as_account(&arguments.replace("OUT", "out"));
        assert_named(name, &output, &["this account may not do that"]);
        assert!(files_below(&out).is_empty(), "{name}");
    }
}

/// The time of day is pushed ten years on and back, many times a second, while a command runs; the
/// clock for durations with it.
#[test]
fn a_clock_that_jumps_changes_no_result() {
    let Some(library) = libfaketime() else {
        not_checked("there is no libfaketime here (Debian: apt-get install libfaketime)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let clock = folder.path().join("clock");
    fs::write(&clock, "+0").unwrap();
    let mut all_jumps = 0;
    for job in jobs() {
        let command = |run: &str| {
            let mut command = job.command(&folder.path().join(run), false);
            command.stderr(std::process::Stdio::piped());
            command
        };
        let straight = command("straight").output().unwrap();
        assert!(straight.status.success());
        let mut child = command("jumping")
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .spawn()
            .unwrap();
        let mut jumps = 0;
        while child.try_wait().unwrap().is_none() {
            let offset = ["+3650d", "-3650d", "+0", "+3h", "-1s"][jumps % 5];
            // A new file in its place: one that is being written would read as empty.
            let next = folder.path().join("next");
            fs::write(&next, offset).unwrap();
            fs::rename(&next, &clock).unwrap();
            jumps += 1;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        all_jumps += jumps;
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}", job.name);
        let [straight, jumping] =
            ["straight", "jumping"].map(|run| job.result(&folder.path().join(run)));
        assert!(!straight.is_empty(), "{}", job.name);
        assert!(straight == jumping, "{}: the results differ", job.name);
        println!("{}: {jumps} jumps", job.name);
        for run in ["straight", "jumping"] {
            fs::remove_dir_all(folder.path().join(run)).unwrap();
        }
    }
    // A single one may be done before its clock jumps twice; all of them take seconds.
    assert!(all_jumps > 20, "{all_jumps} jumps");
}

fn libfaketime() -> Option<std::path::PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut files = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.is_file())
}

/// One file of a checkpoint, of a bundle or of features at a time, gone while a command reads them:
/// the command ends with the whole result or with an error that names what is missing.
#[test]
fn shards_and_features_that_disappear_are_named_or_not_missed() {
    let folder = place();
    let run = folder.path();
    split_checkpoint(&run.join("sharded"));
    let commands = [
        (
            "import sharded --out result --precision f32",
            "sharded/model-00002-of-00002.safetensors",
            "result",
        ),
        (
            "predict --bundle bundle --device cpu photos",
            "bundle",
            "nothing",
        ),
        (
            "train --model model --data photos --ood other=other --out result --device cpu --shots 8 \
             --context-tokens 4 --positive-steps 20 --negative-steps 20",
            "result/features",
            "result/bundle",
        ),
    ];
    for (arguments, gone, result) in commands {
        let start = || {
            let mut command = Command::new(trainer());
            command
                .args(arguments.split_whitespace())
                .current_dir(run)
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            command
        };
        let aside = run.join("aside");
        let started = Instant::now();
        let whole = start().output().unwrap();
        let time = started.elapsed();
        assert!(whole.status.success(), "{arguments}");
        let expected = files_below(&run.join(result));
        let (mut missed, mut unmissed) = (0, 0);
        for moment in 0..12 {
            let _ = fs::remove_dir_all(run.join("result"));
            let child = start().spawn().unwrap();
            std::thread::sleep(time.mul_f64(f64::from(moment) / 12.0));
            let taken = fs::rename(run.join(gone), &aside).is_ok();
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                Some(0) => {
                    assert_eq!(output.stdout, whole.stdout, "{gone}");
                    assert!(
                        files_below(&run.join(result)) == expected,
                        "{gone}: {result}"
                    );
                    unmissed += 1;
                }
                Some(1) => {
                    let name = gone.rsplit('/').next().unwrap();
                    assert!(
                        text.contains("error: ") && text.contains(name),
                        "{gone}: {text}"
                    );
                    assert!(!text.contains("fault in this program"), "{gone}: {text}");
                    assert!(files_below(&run.join(result)).is_empty(), "{gone}: {text}");
                    missed += 1;
                }
                other => panic!("{gone}: {other:?}: {text}"),
            }
            if taken && !gone.starts_with("result") {
                fs::rename(&aside, run.join(gone)).unwrap();
            } else {
                let _ = fs::remove_dir_all(&aside);
            }
        }
        println!("{gone}: missed {missed} times, not missed {unmissed} times");
    }
}

/// The tiny checkpoint in two files with an index, as `transformers` splits large ones.
fn split_checkpoint(folder: &Path) {
    use shared::bundle::{Precision, Tensors, decode_tensors, encode_tensors};
    let tensors = decode_tensors("checkpoint", &tiny::checkpoint()).unwrap();
    let (first, second): (Tensors, Tensors) = tensors
        .into_iter()
        .partition(|(name, _)| name.starts_with("visual."));
    fs::create_dir_all(folder).unwrap();
    let mut map = std::collections::BTreeMap::new();
    for (number, part) in [(1, first), (2, second)] {
        let file = format!("model-0000{number}-of-00002.safetensors");
        map.extend(part.keys().map(|name| (name.clone(), file.clone())));
        let bytes = encode_tensors(&part, Precision::F32).unwrap();
        fs::write(folder.join(file), bytes).unwrap();
    }
    let index = serde_json::json!({ "weight_map": map });
    let path = folder.join("model.safetensors.index.json");
    fs::write(path, index.to_string()).unwrap();
}

/// Photos and checkpoints that go away while they are in use.
#[test]
fn what_disappears_midway_is_named_or_not_missed() {
    let folder = place();
    for gone in ["photos/train/red", "run/checkpoint", "run/features"] {
        let run = folder.path();
        let mut child = Command::new(trainer())
            .args("train --model model --data photos --ood other=other --out run --device cpu --shots 8 --context-tokens 4 --positive-steps 400 --negative-steps 40".split_whitespace())
            .current_dir(run)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let target = run.join(gone);
        while !target.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let _ = fs::remove_dir_all(&target);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{gone}: {text}"
        );
        assert!(!text.contains("fault in this program"), "{gone}: {text}");
        assert!(
            output.status.success() || text.contains("error: "),
            "{gone}: {text}"
        );
        let _ = fs::remove_dir_all(run.join("run"));
        prepare(run);
    }
}
