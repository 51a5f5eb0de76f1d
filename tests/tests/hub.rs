//! `trainer import OWNER/NAME`, against a hub on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use safetensors::SafeTensors;
use serde_json::json;
use sha2::Digest;
use tests::hub::{COMMIT, Faults, Hub};
use tests::program;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clip");
const ID: &str = "somebody/tiny-clip";
const WEIGHTS: &str = "model.safetensors";

#[test]
fn a_checkpoint_is_fetched_into_the_shared_cache_and_imported() {
    let place = Place::new();
    let hub = Hub::start(ID, transformers());
    let imported = place.run(&hub, &["import", ID, "--out", "model"]);
    imported.succeeds();
    assert!(imported.says("agree to a cosine of 1.00000"));

    // The same files from the disk make the same model; the card names where it came from.
    let from_disk = format!("{FIXTURES}/transformers");
    place
        .run(
            &hub,
            &[
                "import",
                &from_disk,
                "--out",
                "other",
                "--name",
                "tiny-clip",
            ],
        )
        .succeeds();
    for file in ["config.json", "image.safetensors", "text.safetensors"] {
        assert!(place.read(&format!("model/{file}")) == place.read(&format!("other/{file}")));
    }
    let card = String::from_utf8(place.read("model/MODEL_CARD.md")).unwrap();
    assert!(card.contains(ID) && card.contains(COMMIT), "{card}");

    // As `huggingface_hub` lays it out.
    let repository = "hf/hub/models--somebody--tiny-clip";
    assert_eq!(
        place.read(&format!("{repository}/refs/main")),
        COMMIT.as_bytes()
    );
    let snapshot = format!("{repository}/snapshots/{COMMIT}");
    assert!(place.read(&format!("{snapshot}/{WEIGHTS}")) == transformers()[WEIGHTS]);
    #[cfg(unix)]
    assert!(place.path(&snapshot).join(WEIGHTS).is_symlink());

    // From now on it needs no network, and asks none when it is told so.
    hub.set(Faults::default());
    let offline = ["import", ID, "--out", "offline"];
    place
        .run_with(&hub, &[("HF_HUB_OFFLINE", "1")], &offline)
        .succeeds();
    assert!(hub.requests().is_empty());
    hub.set(Faults {
        status: Some(502),
        ..Faults::default()
    });
    let down = place.run(&hub, &["import", ID, "--out", "down"]);
    down.succeeds();
    assert!(down.says("the cached version"));
}

#[test]
fn a_model_on_the_hub_is_named_like_a_directory() {
    let place = Place::new();
    let hub = Hub::start(ID, transformers());
    let photo = place.path("photos/a/1.ppm");
    fs::create_dir_all(photo.parent().unwrap()).unwrap();
    fs::write(photo, [b"P6 2 2 255\n".as_slice(), &[90; 12]].concat()).unwrap();
    let encode = [
        "encode",
        "--model",
        ID,
        "--data",
        "photos",
        "--out",
        "f.safetensors",
        "--device",
        "cpu",
    ];
    let first = place.run(&hub, &encode);
    first.succeeds();
    assert!(first.says("imported now"));
    assert!(
        place
            .path("models/somebody/tiny-clip/config.json")
            .is_file()
    );
    hub.set(Faults::default());
    place.run(&hub, &encode).succeeds();
    assert!(hub.requests().is_empty(), "it was there already");
    // Without --out, `import` puts it where --model looks.
    fs::remove_dir_all(place.path("models")).unwrap();
    place.run(&hub, &["import", ID]).succeeds();
    assert!(
        place
            .path("models/somebody/tiny-clip/config.json")
            .is_file()
    );
}

#[test]
fn a_broken_download_goes_on_where_it_was() {
    let place = Place::new();
    let hub = Hub::start(ID, transformers());
    let size = transformers()[WEIGHTS].len();
    let cut = size * 2 / 5;
    hub.set(Faults {
        cut_after: Some(cut),
        ..Faults::default()
    });
    place
        .run(&hub, &["import", ID, "--out", "model"])
        .succeeds();
    assert_eq!(bodies(&hub), [0, cut], "it goes on in the same run");

    // The network goes away; another run, later, goes on.
    let place = Place::new();
    hub.set(Faults {
        cut_after: Some(cut),
        then_gone: true,
        ..Faults::default()
    });
    let broken = place.run(&hub, &["import", ID, "--out", "model"]);
    broken.fails(&["cannot fetch somebody/tiny-clip", "503"]);
    assert!(!place.path("model").exists());
    hub.set(Faults::default());
    let again = place.run(&hub, &["import", ID, "--out", "model"]);
    again.succeeds();
    assert!(again.says("going on after"));
    assert_eq!(bodies(&hub), [cut]);

    // Killed when all bytes were there and the file had not been renamed.
    let place = Place::new();
    place
        .run(&hub, &["import", ID, "--out", "model"])
        .succeeds();
    let snapshot = place.path(&format!(
        "hf/hub/models--somebody--tiny-clip/snapshots/{COMMIT}/{WEIGHTS}"
    ));
    let blob = fs::canonicalize(&snapshot).unwrap();
    fs::remove_file(&snapshot).unwrap();
    fs::rename(&blob, blob.with_extension("incomplete")).unwrap();
    hub.set(Faults::default());
    place
        .run(&hub, &["import", ID, "--out", "model"])
        .succeeds();
    assert!(bodies(&hub).is_empty(), "all of it was there");
}

#[test]
fn what_has_another_hash_is_refused() {
    let place = Place::new();
    let hub = Hub::start(ID, transformers());
    hub.set(Faults {
        corrupt: true,
        ..Faults::default()
    });
    let wrong = place.run(&hub, &["import", ID, "--out", "model"]);
    wrong.fails(&[
        WEIGHTS,
        "did not arrive whole",
        "its hash is",
        "HF_ENDPOINT",
    ]);
    assert!(!place.path("model").exists());
    hub.set(Faults::default());
    place
        .run(&hub, &["import", ID, "--out", "model"])
        .succeeds();

    // Damage on the disk, later: found, and fetched again.
    let snapshot = place.path(&format!(
        "hf/hub/models--somebody--tiny-clip/snapshots/{COMMIT}/{WEIGHTS}"
    ));
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[5000] ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    let offline = place.run_with(&hub, &[("HF_HUB_OFFLINE", "1")], &["import", ID]);
    offline.fails(&["is damaged", "HF_HUB_OFFLINE"]);
    let mended = place.run(&hub, &["import", ID, "--out", "model"]);
    mended.succeeds();
    assert!(mended.says("fetched again"));
}

#[test]
fn more_than_was_told_is_not_taken() {
    let place = Place::new();
    let hub = Hub::start(ID, transformers());
    hub.set(Faults {
        endless: true,
        ..Faults::default()
    });
    let endless = place.run(&hub, &["import", ID, "--out", "model"]);
    endless.fails(&[WEIGHTS, "sends more than the", "HF_ENDPOINT"]);
    let blobs = place.path("hf/hub/models--somebody--tiny-clip/blobs");
    let most = transformers()[WEIGHTS].len() as u64;
    for blob in fs::read_dir(blobs).unwrap().flatten() {
        assert!(blob.metadata().unwrap().len() <= most, "{blob:?}");
    }
    hub.set(Faults::default());
    place
        .run(&hub, &["import", ID, "--out", "model"])
        .succeeds();
}

/// Opening a pipe would wait for ever.
#[cfg(unix)]
#[test]
fn a_pipe_in_the_cache_is_not_written_to() {
    let place = Place::new();
    let hub = Hub::start(ID, transformers());
    let hash = tests::hub::hexadecimal(&sha2::Sha256::digest(&transformers()[WEIGHTS]));
    let blobs = place.path("hf/hub/models--somebody--tiny-clip/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let pipe = blobs.join(hash).with_extension("incomplete");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    place.run(&hub, &["import", ID, "--out", "model"]).fails(&[
        "incomplete",
        "no ordinary file",
        "move it away",
    ]);
}

#[test]
fn a_password_in_the_address_is_not_shown() {
    let place = Place::new();
    let hub = Hub::start(ID, transformers());
    let address = hub.address().replace("://", "://ann:secret@");
    for status in [404, 500] {
        hub.set(Faults {
            status: Some(status),
            ..Faults::default()
        });
        let import = ["import", ID, "--out", "model"];
        let failed = place.run_with(&hub, &[("HF_ENDPOINT", &address)], &import);
        failed.fails(&[hub.address()]);
        assert!(
            !failed.says("secret") && !failed.says("@"),
            "{}",
            failed.text
        );
    }
}

#[test]
fn a_token_is_shown_to_the_hub_and_to_nobody_else() {
    let place = Place::new();
    let hub = Hub::start(ID, transformers());
    let closed = Faults {
        token: Some("hf_secret".into()),
        ..Faults::default()
    };
    hub.set(closed.clone());
    let import = ["import", ID, "--out", "model"];
    place
        .run(&hub, &import)
        .fails(&[ID, "set HF_TOKEN", "no such folder here"]);
    let wrong = place.run_with(&hub, &[("HF_TOKEN", "hf_wrong")], &import);
    wrong.fails(&["does not let this token read it"]);
    assert!(!wrong.says("hf_wrong"), "a token is not repeated");
    hub.set(closed);
    place
        .run_with(&hub, &[("HF_TOKEN", "hf_secret")], &import)
        .succeeds();
    for request in hub.requests() {
        assert_eq!(
            request.authorization.is_some(),
            request.host == "127.0.0.1",
            "{request:?}"
        );
    }
}

#[test]
fn what_cannot_be_fetched_says_why_and_what_to_do() {
    let place = Place::new();
    let hub = Hub::start(ID, transformers());
    let unknown = place.run(&hub, &["import", "somebody/else", "--out", "model"]);
    unknown.fails(&["somebody/else", "no such repository", "no such folder here"]);

    // Whatever takes a model asks the hub for it.
    let clipn = [
        "clipn",
        "--model",
        "somebody/else",
        "--data",
        ".",
        "--out",
        "m",
    ];
    place
        .run(&hub, &clipn)
        .fails(&["somebody/else", "no such repository"]);

    let nowhere = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    let unreachable = place.run_with(&hub, &nowhere, &["import", ID, "--out", "model"]);
    unreachable.fails(&[
        "127.0.0.1:9 cannot be reached",
        "no such folder here",
        "HF_ENDPOINT",
        "import DIR",
    ]);

    let offline = [("HF_HUB_OFFLINE", "1")];
    let absent = place.run_with(
        &hub,
        &offline,
        &["encode", "--model", ID, "--data", ".", "--out", "f"],
    );
    absent.fails(&[
        "HF_HUB_OFFLINE",
        "does not hold all of",
        "no such folder here",
        "import DIR",
    ]);

    let empty = Hub::start(
        ID,
        BTreeMap::from([("README.md".into(), b"hello".to_vec())]),
    );
    let nothing = place.run(&empty, &["import", ID, "--out", "model"]);
    nothing.fails(&["holds no checkpoint", WEIGHTS]);

    // A mirror may be anybody's: what it names stays below the cache.
    hub.set(Faults {
        etag: Some("../../../../escaped".into()),
        ..Faults::default()
    });
    let escape = place.run(&hub, &["import", ID, "--out", "model"]);
    escape.fails(&["a strange name to the content"]);
    assert!(!place.path("model").exists() && !place.path("escaped").exists());
}

#[test]
fn a_model_that_is_refused_is_not_fetched() {
    let place = Place::new();
    let mut files = transformers();
    files.insert(
        "config.json".into(),
        br#"{"model_type": "clip_vision_model"}"#.to_vec(),
    );
    let hub = Hub::start(ID, files);
    let refused = place.run(&hub, &["import", ID, "--out", "model"]);
    refused.fails(&[ID, "cannot be imported", "clip_vision_model"]);
    let requests = hub.requests();
    assert!(
        !requests
            .iter()
            .any(|request| request.path.contains(WEIGHTS)),
        "{requests:?}"
    );
    assert!(bodies(&hub).is_empty());
}

#[test]
fn shards_are_fetched_by_their_index() {
    let place = Place::new();
    let sharded = shards();
    let hub = Hub::start(ID, sharded.clone());
    place
        .run(&hub, &["import", ID, "--out", "model"])
        .succeeds();
    let whole = format!("{FIXTURES}/transformers");
    place
        .run(&hub, &["import", &whole, "--out", "whole"])
        .succeeds();
    for file in ["image.safetensors", "text.safetensors"] {
        assert!(place.read(&format!("model/{file}")) == place.read(&format!("whole/{file}")));
    }

    // An index that lists a weight which is in no shard, from the disk.
    let folder = place.path("mixed");
    fs::create_dir(&folder).unwrap();
    for (name, content) in sharded {
        fs::write(folder.join(name), content).unwrap();
    }
    let index = folder.join("model.safetensors.index.json");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replacen("logit_scale", "logit_scales", 1)).unwrap();
    place
        .run(&hub, &["import", "mixed", "--out", "mixed-model"])
        .fails(&["logit_scales", "is not"]);
}

/// First bytes of the large answers.
fn bodies(hub: &Hub) -> Vec<usize> {
    let large = |path: &str| path.starts_with("/cdn/");
    hub.requests()
        .iter()
        .filter(|request| large(&request.path) && !request.head)
        .map(|request| request.from)
        .collect()
}

fn transformers() -> BTreeMap<String, Vec<u8>> {
    ["config.json", WEIGHTS]
        .into_iter()
        .map(|name| {
            let path = format!("{FIXTURES}/transformers/{name}");
            (name.to_owned(), fs::read(path).unwrap())
        })
        .collect()
}

/// The same checkpoint in two shards.
fn shards() -> BTreeMap<String, Vec<u8>> {
    let mut files = transformers();
    let whole = files.remove(WEIGHTS).unwrap();
    let tensors = SafeTensors::deserialize(&whole).unwrap();
    let mut weight_map = serde_json::Map::new();
    let mut halves = [Vec::new(), Vec::new()];
    for (index, (name, view)) in tensors.iter().enumerate() {
        let half = index % 2;
        let file = format!("model-0000{}-of-00002.safetensors", half + 1);
        weight_map.insert(name.to_owned(), json!(file));
        halves[half].push((name.to_owned(), view));
    }
    for (half, tensors) in halves.into_iter().enumerate() {
        let bytes = safetensors::serialize(tensors, None).unwrap();
        files.insert(
            format!("model-0000{}-of-00002.safetensors", half + 1),
            bytes,
        );
    }
    let index = json!({"metadata": {"total_size": whole.len()}, "weight_map": weight_map});
    files.insert(
        "model.safetensors.index.json".into(),
        index.to_string().into_bytes(),
    );
    files
}

/// A folder with a cache and models of its own.
struct Place {
    folder: tempfile::TempDir,
}

struct Run {
    success: bool,
    text: String,
}

impl Run {
    #[track_caller]
    fn succeeds(&self) {
        assert!(self.success, "{}", self.text);
    }

    #[track_caller]
    fn fails(&self, says: &[&str]) {
        assert!(!self.success, "it should fail: {}", self.text);
        for part in says {
            assert!(self.says(part), "{part}: {}", self.text);
        }
    }

    fn says(&self, part: &str) -> bool {
        self.text.contains(part)
    }
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn run(&self, hub: &Hub, arguments: &[&str]) -> Run {
        self.run_with(hub, &[], arguments)
    }

    fn run_with(&self, hub: &Hub, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
        let folder: &Path = self.folder.path();
        let mut command = Command::new(program::trainer());
        command.args(arguments).current_dir(folder);
        for (name, _) in std::env::vars() {
            if name.starts_with("HF_") || name.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        let output = command
            .env("HF_ENDPOINT", hub.address())
            .env("HF_HOME", folder.join("hf"))
            .env("NEGPROMPT_MODELS", folder.join("models"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the trainer runs");
        Run {
            success: output.status.success(),
            text: format!(
                "{}{}",
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&output.stdout)
            ),
        }
    }
}
