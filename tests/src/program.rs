//! The trainer as a process of its own, with a lid on memory and time.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a process may take before it counts as a fault.
#[derive(Clone, Copy, Debug)]
pub struct Lid {
    /// Address space in KiB: an allocation beyond it fails, and aborts a program that did not ask
    /// first whether there is room.
    pub address_space: u64,
    /// Seconds until it is killed as hanging. Not a measure of speed: a hundred times what any case
    /// takes on a slow machine.
    pub seconds: u32,
}

impl Default for Lid {
    fn default() -> Self {
        Self {
            address_space: 6 << 20,
            seconds: 300,
        }
    }
}

/// What a run of the program gave.
#[derive(Debug)]
pub struct Run {
    /// The exit status; 128 and the signal's number for a process that was killed.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Run {
    /// Everything it said and printed.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Why this is a fault of the program, if it is one: a panic, a signal, a refused allocation, a
    /// hang.
    pub fn fault(&self) -> Option<String> {
        const SIGNS: [&str; 6] = [
            "panicked",
            "fault in this program",
            "memory allocation of",
            "has overflowed its stack",
            "RUST_BACKTRACE",
            "Segmentation",
        ];
        let text = self.text();
        let sign = SIGNS.iter().find(|sign| text.contains(**sign));
        match (self.code, sign) {
            (0..=2, None) => None,
            (124, _) => Some("it hangs".to_owned()),
            (code, _) => Some(format!("exit status {code}: {}", self.stderr.trim())),
        }
    }
}

/// The program beside the folder that this test was built into.
pub fn trainer() -> PathBuf {
    let test = std::env::current_exe().expect("a path of this test");
    let program = test
        .ancestors()
        .nth(2)
        .expect("target/PROFILE/deps/TEST")
        .join(format!("trainer{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is not built: run `cargo build --release -p trainer` first",
        program.display()
    );
    program
}

/// Runs the trainer below a lid, in `folder`.
pub fn run<S: AsRef<OsStr>>(folder: &Path, arguments: &[S], lid: Lid) -> Run {
    let output = lidded(folder, lid)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("sh and timeout are there");
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn lidded(folder: &Path, lid: Lid) -> Command {
    // A shell sets the limit, as no safe function of the standard library does.
    let script = format!(
        "ulimit -v {} && exec timeout {} \"$0\" \"$@\"",
        lid.address_space, lid.seconds
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .arg(trainer())
        .current_dir(folder)
        .env("RAYON_NUM_THREADS", "2");
    command
}

/// Calls `work` for every item, on as many threads as the machine has, and gives what it returned.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let done = std::sync::Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let result = work(item);
                    done.lock().expect("no thread panics").push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panics");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
