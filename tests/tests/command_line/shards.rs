//! Jobs that encode a part each and do not know of each other.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Place, program, trainer};

const SHARDS: u32 = 4;

/// A model, images (two of them unreadable), and where the merged file goes.
struct Job {
    place: Place,
    model: String,
    data: String,
    out: String,
}

impl Job {
    fn new(each: u8) -> Self {
        let place = Place::new();
        let (model, data) = (place.model(), place.images(each));
        fs::write(format!("{data}/red/broken.jpg"), b"\xff\xd8\xff\xe0 cut").unwrap();
        fs::write(format!("{data}/blue/text.png"), b"hello").unwrap();
        let out = place.path("shards/features.safetensors");
        Self {
            place,
            model,
            data,
            out,
        }
    }

    fn arguments(&self, out: &str) -> Vec<String> {
        [
            "encode",
            "--model",
            &self.model,
            "--data",
            &self.data,
            "--out",
            out,
            "--device",
            "cpu",
            "--batch",
            "1",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn of_shard(&self, index: u32) -> Vec<String> {
        let shard = format!("{index}/{SHARDS}");
        let mut arguments = self.arguments(&self.out);
        arguments.extend(["--shard", &shard, "--resume"].map(str::to_owned));
        arguments
    }

    fn file(&self, index: u32) -> String {
        let stem = self.out.trim_end_matches(".safetensors");
        format!("{stem}.{index:05}-of-{SHARDS:05}.safetensors")
    }

    fn merge(&self) -> super::Run {
        trainer(&["encode", "--merge", "--out", &self.out])
    }

    /// What one run over all images writes.
    fn whole(&self) -> Vec<u8> {
        let whole = self.place.path("whole.safetensors");
        trainer(&self.arguments(&whole)).success();
        fs::read(whole).unwrap()
    }
}

#[test]
fn shards_make_the_file_of_one_run() {
    let job = Job::new(20);
    let mut images = 0;
    for index in 0..SHARDS {
        let run = trainer(&job.of_shard(index)).success();
        assert!(
            run.stderr.contains(&format!("shard {index}/4 of 62")),
            "{}",
            run.stderr
        );
        let bytes = fs::read(job.file(index)).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let here = tensors.tensor("features").unwrap().shape()[0];
        assert_eq!(tensors.tensor("positions").unwrap().shape(), [here]);
        images += here;
    }
    assert_eq!(images, 60);
    let run = job.merge().success();
    assert!(
        run.stderr.contains("60 features of 4 shards"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("2 of 62 images could not be read"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("red/broken.jpg"), "{}", run.stderr);
    assert!(fs::read(&job.out).unwrap() == job.whole());

    // A finished shard is left alone.
    let before = fs::metadata(job.file(1)).unwrap().modified().unwrap();
    let again = trainer(&job.of_shard(1)).success();
    assert!(
        again.stderr.contains("is finished already"),
        "{}",
        again.stderr
    );
    assert_eq!(
        fs::metadata(job.file(1)).unwrap().modified().unwrap(),
        before
    );

    // One of another precision, or one that left out an image which is allowed by now, is not finished.
    let mut exact = job.of_shard(1);
    exact.extend(["--precision", "f32"].map(str::to_owned));
    trainer(&exact).success();
    let bytes = fs::read(job.file(1)).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let kept = tensors.tensor("features").unwrap().dtype();
    assert_eq!(kept, safetensors::Dtype::F32);
    let few = |limit: &str| {
        let mut arguments = job.of_shard(1);
        arguments.extend(["--max-megapixels", limit].map(str::to_owned));
        trainer(&arguments).success().stderr
    };
    let text = few("0.0006");
    assert!(text.contains("raise the limit"), "{text}");
    let text = few("100");
    assert!(!text.contains("is finished already"), "{text}");
    assert!(few("100").contains("is finished already"));
    let text = trainer(&["encode", "--merge", "--out", &job.out, "--batch", "2"]);
    let text = text.failure_of_usage();
    assert!(text.contains("--batch"), "{text}");
}

#[test]
fn a_killed_shard_goes_on() {
    let job = Job::new(60);
    for index in [0, 1, 3] {
        trainer(&job.of_shard(index)).success();
    }
    let journal = format!("{}.journal.partial", job.file(2));
    let mut child = Command::new(program())
        .args(job.of_shard(2))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines =
        || fs::read(&journal).map_or(0, |text| text.iter().filter(|&&b| b == b'\n').count());
    while lines() < 12 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !Path::new(&job.file(2)).exists(),
        "it was over before it was killed"
    );
    let early = job.merge().failure();
    assert!(
        early.stderr.contains("1 of 4 shards") && early.stderr.contains("2/4"),
        "{}",
        early.stderr
    );
    let run = trainer(&job.of_shard(2)).success();
    assert!(run.stderr.contains("taken over"), "{}", run.stderr);
    job.merge().success();
    assert!(fs::read(&job.out).unwrap() == job.whole());
}

#[test]
fn a_finished_shard_is_made_anew_when_a_class_has_another_name() {
    let mut job = Job::new(2);
    let table = format!("{}/table.csv", job.data);
    let write = |red: &str| {
        let rows = ["blue", "green", "red"].map(|colour| {
            let label = if colour == "red" { red } else { colour };
            format!("{colour}/0.png,{label}\n{colour}/1.png,{label}\n")
        });
        fs::write(&table, format!("path,label\n{}", rows.concat())).unwrap();
    };
    job.data = table.clone();
    write("red");
    let run = || trainer(&job.of_shard(0)).success().stderr;
    assert!(!run().contains("finished already"));
    assert!(run().contains("finished already"));
    write("rose");
    assert!(!run().contains("finished already"));
    let bytes = fs::read(job.file(0)).unwrap();
    let header = String::from_utf8_lossy(&bytes[..2000.min(bytes.len())]).into_owned();
    assert!(header.contains("rose"), "{header}");
    assert!(run().contains("finished already"));
}

#[test]
fn shards_that_do_not_belong_together_are_refused() {
    let job = Job::new(6);
    let text = job.merge().failure().stderr;
    assert!(text.contains("shards"), "{text}");
    for index in 0..SHARDS {
        trainer(&job.of_shard(index)).success();
    }
    let says = |part: &str| {
        let text = job.merge().failure().stderr;
        assert!(text.contains(part), "{part}: {text}");
        assert!(!Path::new(&job.out).exists());
    };

    // One bit of a feature.
    let file = job.file(2);
    let good = fs::read(&file).unwrap();
    let mut bad = good.clone();
    let data = 8 + u64::from_le_bytes(bad[..8].try_into().unwrap()) as usize;
    bad[data + 3] ^= 1;
    fs::write(&file, &bad).unwrap();
    says("is damaged");
    fs::write(&file, &good[..good.len() - 1]).unwrap();
    says("cut short");
    // One shard under another's name.
    fs::copy(job.file(1), &file).unwrap();
    says("it was renamed");
    fs::write(&file, &good).unwrap();

    // An image that came between two shards.
    let added = format!("{}/red/added.png", job.data);
    super::picture(&added, [1, 2, 3], 30);
    let run = trainer(&job.of_shard(2)).success();
    assert!(
        !run.stderr.contains("is finished already"),
        "{}",
        run.stderr
    );
    says("different lists of images");
    fs::remove_file(added).unwrap();
    fs::write(&file, &good).unwrap();
    job.merge().success();

    let wrong =
        trainer(&["encode", "--merge", "--out", &job.out, "--shard", "1/4"]).failure_of_usage();
    assert!(wrong.contains("--shard"), "{wrong}");
    let text = trainer(&[
        "encode", "--model", &job.model, "--data", &job.data, "--out", &job.out, "--shard", "4/4",
    ])
    .failure_of_usage();
    assert!(text.contains("from 0 to N-1"), "{text}");
}

/// More shards than images: some have none, and nothing is lost.
#[test]
fn a_shard_may_be_empty() {
    let job = Job::new(1);
    for index in 0..40 {
        let shard = format!("{index}/40");
        let mut arguments = job.arguments(&job.out);
        arguments.extend(["--shard".to_owned(), shard]);
        trainer(&arguments).success();
    }
    job.merge().success();
    assert!(fs::read(&job.out).unwrap() == job.whole());
}

/// Several devices share every batch, and the file is that of one.
#[test]
fn several_devices_encode_and_do_not_learn() {
    let job = Job::new(5);
    let whole = job.whole();
    let mut arguments = job.arguments(&job.out);
    let at =
        |arguments: &[String], name: &str| arguments.iter().position(|a| a == name).unwrap() + 1;
    let (device, batch) = (at(&arguments, "--device"), at(&arguments, "--batch"));
    arguments[device] = "cpu,cpu,cpu".into();
    arguments[batch] = "7".into();
    trainer(&arguments).success();
    assert!(fs::read(&job.out).unwrap() == whole);
    let text = trainer(&[
        "train",
        "--device",
        "cpu,cpu",
        "--out",
        &job.place.path("run"),
    ]);
    let text = text.failure().stderr;
    assert!(text.contains("distributed strategy"), "{text}");
}
