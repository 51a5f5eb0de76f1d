//! Commands that are killed at random points, and what they must come to all the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::hostile::{Damage, tiny, tower};
use crate::program::trainer;

/// A command that writes something, and how to tell that it did.
pub struct Job {
    /// The subcommand.
    pub name: &'static str,
    arguments: Vec<String>,
    resumes: bool,
    /// Files of the result, below the folder of the run.
    result: fn(&Path) -> BTreeMap<PathBuf, Vec<u8>>,
}

/// What came of the kills of one job.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Processes killed while they ran.
    pub killed: usize,
    /// Processes that were done before their time came.
    pub too_late: usize,
}

/// A folder with everything that the jobs read: photos, a model, checkpoints, concepts.
pub fn prepare(folder: &Path) {
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    };
    for (name, bytes) in tiny::model() {
        put(&format!("model/{name}"), &bytes);
    }
    put("checkpoint.safetensors", &tiny::checkpoint());
    put("tower.safetensors", &tower::checkpoint());
    put("concepts.jsonl", tower::concepts().as_bytes());
    let colours = [
        ("blue", [20, 30, 220]),
        ("green", [30, 200, 40]),
        ("red", [220, 30, 20]),
    ];
    for half in ["train", "test"] {
        for (class, colour) in colours {
            let count = if half == "train" { 30 } else { 6 };
            for number in 0..count {
                picture(
                    &folder.join(format!("photos/{half}/{class}/{number}.png")),
                    colour,
                    number,
                );
            }
        }
    }
    for number in 0..12 {
        picture(
            &folder.join(format!("other/{number}.png")),
            [240, 240, 20],
            number,
        );
    }
    // `lit` looks at fewer: its image tower is a whole EfficientNet-Lite0.
    for half in ["train", "test"] {
        for (class, colour) in colours {
            for number in 0..3 {
                picture(
                    &folder.join(format!("few/{half}/{class}/{number}.png")),
                    colour,
                    number,
                );
            }
        }
    }
}

fn picture(path: &Path, colour: [u8; 3], number: u32) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let side = 96 + number;
    image::RgbImage::from_fn(side, side, |x, y| {
        let shade = ((x * 3 + y * number) % 40) as u8;
        image::Rgb(colour.map(|level| level.saturating_sub(shade)))
    })
    .save(path)
    .expect("a picture");
}

/// The commands that write for long enough to be killed.
pub fn jobs() -> Vec<Job> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    vec![
        Job {
            name: "import",
            arguments: words("import ../checkpoint.safetensors --out result/model"),
            resumes: false,
            result: |run| files_below(&run.join("result")),
        },
        Job {
            name: "encode",
            arguments: words(
                "encode --model ../model --data ../photos --out result/features.safetensors --device cpu --batch 2",
            ),
            resumes: true,
            result: |run| files_below(&run.join("result")),
        },
        Job {
            name: "train",
            arguments: words(
                "train --model ../model --data ../photos --ood other=../other --out result --device cpu \
                 --shots 8 --context-tokens 4 --positive-steps 300 --negative-steps 120",
            ),
            resumes: true,
            result: |run| files_below(&run.join("result/bundle")),
        },
        Job {
            name: "bench",
            // It goes on by itself, with features and patches as with rows.
            arguments: words(
                "bench --model ../model --data ../photos --ood other=../other --out result --device cpu --seeds 0 \
                 --shots 8 --context-tokens 4 --positive-steps 20 --negative-steps 10 --label-pool 0",
            ),
            resumes: false,
            result: |run| {
                let mut files = files_below(&run.join("result/features"));
                for (name, bytes) in files_below(&run.join("result/rows")) {
                    files.insert(Path::new("rows").join(name), without_times(&bytes));
                }
                files
            },
        },
        Job {
            name: "lit",
            arguments: words(
                "lit --tower ../tower.safetensors --data ../few --concepts ../concepts.jsonl --joint-width 80 --width 64 \
                 --layers 1 --space-steps 20 --bag-steps 10 --steps 24 --save-every 4 \
                 --out result/compact --work work --device cpu",
            ),
            resumes: true,
            // The model card says how long it took.
            result: |run| {
                let mut files = files_below(&run.join("result"));
                files.retain(|name, _| !name.ends_with("MODEL_CARD.md"));
                files
            },
        },
    ]
}

impl Job {
    /// Kills the command `kills` times, each at another random moment of its undisturbed time, some
    /// runs twice in a row, lets it finish with `--resume`, and compares with the undisturbed run.
    ///
    /// # Panics
    /// When a result differs, a finished-looking result is there and is not whole, a run ends in
    /// anything but success, or something half-written is left.
    pub fn kill(&self, folder: &Path, kills: usize, seed: u64) -> Outcome {
        let undisturbed = folder.join(format!("{}-undisturbed", self.name));
        let started = Instant::now();
        self.finish(&undisturbed, false);
        let time = started.elapsed();
        let expected = self.result(&undisturbed);
        assert!(!expected.is_empty(), "{}: no result", self.name);
        let mut random = Damage::new(seed);
        let mut outcome = Outcome::default();
        while outcome.killed < kills {
            let run = folder.join(format!(
                "{}-{}",
                self.name,
                outcome.killed + outcome.too_late
            ));
            let mut again = false;
            loop {
                let after = time.mul_f64(random.below(1_050) as f64 / 1_000.0);
                if self.kill_after(&run, again, after) {
                    outcome.killed += 1;
                } else {
                    outcome.too_late += 1;
                }
                self.check_whole(&run, &expected);
                again = true;
                // One run in three is killed once more on its way.
                if outcome.killed >= kills || random.below(3) > 0 {
                    break;
                }
            }
            self.finish(&run, true);
            let found = self.result(&run);
            for (name, bytes) in &expected {
                assert!(
                    found.get(name) == Some(bytes),
                    "{}: {} differs from the undisturbed run (seed {seed})",
                    self.name,
                    name.display()
                );
            }
            assert_eq!(
                found.len(),
                expected.len(),
                "{}: {:?}",
                self.name,
                found.keys()
            );
            let left = leftovers(&run);
            assert!(left.is_empty(), "{}: left behind: {left:?}", self.name);
            fs::remove_dir_all(&run).expect("a folder of the test");
        }
        fs::remove_dir_all(&undisturbed).expect("a folder of the test");
        outcome
    }

    /// The command in the folder of a run, which is made; `again` after a run that did not end.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn command(&self, run: &Path, again: bool) -> Command {
        fs::create_dir_all(run).expect("a folder of the test");
        let mut command = Command::new(trainer());
        command
            .args(&self.arguments)
            .current_dir(run)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if again && self.resumes {
            command.arg("--resume");
        }
        command
    }

    /// The files of the result that a run left.
    pub fn result(&self, run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        (self.result)(run)
    }

    /// Whether it was still running when its time came.
    fn kill_after(&self, run: &Path, again: bool, after: Duration) -> bool {
        let mut child = self
            .command(run, again)
            .stderr(Stdio::null())
            .spawn()
            .expect("the trainer starts");
        std::thread::sleep(after);
        let running = child.try_wait().expect("a child").is_none();
        // SIGKILL: nothing in the program can react to it.
        child.kill().expect("a child");
        child.wait().expect("a child");
        running
    }

    fn finish(&self, run: &Path, again: bool) {
        let output = self
            .command(run, again)
            .output()
            .expect("the trainer starts");
        assert!(
            output.status.success(),
            "{}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Whatever stands under the name of a result after a kill is the whole result.
    fn check_whole(&self, run: &Path, expected: &BTreeMap<PathBuf, Vec<u8>>) {
        let mut found = self.result(run);
        found.retain(|name, _| !is_unfinished(name));
        for (name, bytes) in &found {
            assert!(
                expected.get(name) == Some(bytes),
                "{}: a kill left {} that is not whole",
                self.name,
                name.display()
            );
        }
    }
}

fn is_unfinished(name: &Path) -> bool {
    name.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        part.ends_with(".partial") || part.ends_with(".replaced")
    })
}

/// All files below a folder by their path in it; none when it is not there.
pub fn files_below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if let (Ok(name), Ok(bytes)) = (path.strip_prefix(folder), fs::read(&path)) {
                files.insert(name.to_path_buf(), bytes);
            }
        }
    }
    files
}

/// A row of a table without the times that it took; what is no JSON as it is.
fn without_times(row: &[u8]) -> Vec<u8> {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.remove("seconds");
                fields.remove("timings");
                // Of the times as well.
                fields.remove("checksum");
                fields.values_mut().for_each(strip);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    serde_json::from_slice(row).map_or(row.to_vec(), |mut row: serde_json::Value| {
        strip(&mut row);
        row.to_string().into_bytes()
    })
}

/// What is half-written below a folder.
pub fn leftovers(folder: &Path) -> Vec<PathBuf> {
    files_below(folder)
        .into_keys()
        .filter(|name| is_unfinished(name))
        .collect()
}
