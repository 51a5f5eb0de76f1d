//! The feature file, written and read, whole and damaged, in one go and after a kill.

use std::fs;
use std::path::{Path, PathBuf};

use super::cache::FeatureCache;
use super::journal::Entry;
use super::key::hexadecimal;
use super::layout::{CacheHeader, FeaturePrecision};
use super::writer::{CacheWriter, unfit};

const WIDTH: usize = 6;

fn header(precision: FeaturePrecision) -> CacheHeader {
    CacheHeader {
        classes: vec!["ant".into(), "sea \"horse\"".into()],
        model: "tiny".into(),
        key: "abc".into(),
        width: WIDTH,
        precision,
        shard: None,
    }
}

fn feature(image: usize) -> Vec<f32> {
    (0..WIDTH)
        .map(|i| (image * WIDTH + i) as f32 / 8.0 - 3.0)
        .collect()
}

fn hash(image: usize) -> String {
    hexadecimal(&[image as u8; 32])
}

fn name(image: usize) -> String {
    format!("ant/Bild {image} ü.jpg")
}

fn push(writer: &mut CacheWriter, images: std::ops::Range<usize>) {
    for image in images {
        if image == 3 {
            writer
                .skip(&name(image), Some(0), &hash(image), "damaged")
                .unwrap();
        } else {
            let label = [None, Some(0), Some(1)][image % 3];
            writer
                .push(&name(image), label, &hash(image), &feature(image))
                .unwrap();
        }
    }
}

/// Ten images, the fourth of them unreadable.
fn write(path: &Path, precision: FeaturePrecision) {
    let mut writer = CacheWriter::create(path, header(precision)).unwrap();
    push(&mut writer, 0..10);
    writer.finish().unwrap();
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("within/features.safetensors");
    (folder, path)
}

#[test]
fn what_is_written_is_read() {
    for precision in [FeaturePrecision::F16, FeaturePrecision::F32] {
        let (_folder, path) = place();
        write(&path, precision);
        let cache = FeatureCache::open(&path).unwrap();
        assert_eq!(cache.len(), 9);
        assert_eq!(cache.header(), &header(precision));
        let images: Vec<_> = (0..10).filter(|&image| image != 3).collect();
        let names: Vec<_> = images.iter().map(|&image| name(image)).collect();
        let bytes = fs::read(&path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let files = tensors.tensor("files").unwrap();
        assert_eq!(files.data(), names.join("\n").as_bytes());
        assert_eq!(tensors.tensor("features").unwrap().shape(), [9, WIDTH]);
        assert_eq!(
            cache.labels().take(3).collect::<Vec<_>>(),
            [None, Some(0), Some(1)]
        );
        assert_eq!(cache.hash(3), Some(&[4u8; 32][..]));
        assert_eq!(cache.gather([8, 0]), [feature(9), feature(0)].concat());
        cache.require_key("abc", "tiny").unwrap();
        let error = cache.require_key("def", "other").unwrap_err().to_string();
        assert!(error.contains("another model (`tiny`"), "{error}");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

/// A run killed in many ways goes on to the same file.
#[test]
fn a_killed_run_goes_on_to_the_same_file() {
    let (folder, path) = place();
    let whole = folder.path().join("whole");
    write(&whole, FeaturePrecision::F16);
    let expected = fs::read(&whole).unwrap();
    let partial = PathBuf::from(format!("{}.partial", path.display()));
    let journal = PathBuf::from(format!("{}.journal.partial", path.display()));
    for (lost_features, lost_record) in [
        (0, 0),
        (1, 0),
        (5, 0),
        (0, 1),
        (0, 40),
        (1000, 0),
        (0, 9000),
    ] {
        let mut writer = CacheWriter::create(&path, header(FeaturePrecision::F16)).unwrap();
        push(&mut writer, 0..7);
        writer.flush().unwrap();
        drop(writer);
        cut(&partial, lost_features);
        cut(&journal, lost_record);

        let mut next = 0;
        let mut confirm = |entry: &Entry| {
            let same = entry.name == name(next) && entry.hash == hash(next);
            next += 1;
            same
        };
        let mut writer =
            CacheWriter::resume(&path, header(FeaturePrecision::F16), &mut confirm).unwrap();
        // The fourth image has no feature.
        let images = writer.images() as usize;
        let from = if images > 3 || (images == 3 && next > 3) {
            images + 1
        } else {
            images
        };
        push(&mut writer, from..10);
        writer.finish().unwrap();
        assert_eq!(
            fs::read(&path).unwrap(),
            expected,
            "after losing {lost_features} and {lost_record} bytes"
        );
        assert!(!partial.exists() && !journal.exists());
    }
}

#[test]
fn a_changed_image_is_computed_again_with_all_that_follow() {
    let (_folder, path) = place();
    let mut writer = CacheWriter::create(&path, header(FeaturePrecision::F32)).unwrap();
    push(&mut writer, 0..3);
    writer.flush().unwrap();
    drop(writer);
    let mut confirm = |entry: &Entry| entry.name != name(1);
    let writer = CacheWriter::resume(&path, header(FeaturePrecision::F32), &mut confirm).unwrap();
    assert_eq!(writer.images(), 1);
}

#[test]
fn another_model_does_not_go_on() {
    let (_folder, path) = place();
    drop(CacheWriter::create(&path, header(FeaturePrecision::F32)).unwrap());
    let other = CacheHeader {
        key: "other".into(),
        ..header(FeaturePrecision::F32)
    };
    let error = CacheWriter::resume(&path, other, &mut |_: &Entry| true)
        .err()
        .unwrap();
    assert!(error.to_string().contains("without --resume"), "{error}");
}

#[test]
fn two_runs_do_not_write_one_file() {
    let (_folder, path) = place();
    let _first = CacheWriter::create(&path, header(FeaturePrecision::F32)).unwrap();
    let error = CacheWriter::create(&path, header(FeaturePrecision::F32))
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("another run is writing"),
        "{error}"
    );
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let (_folder, path) = place();
    let mut writer = CacheWriter::create(&path, header(FeaturePrecision::F32)).unwrap();
    let error = writer
        .push("a.jpg", None, &hash(1), &[f32::NAN; WIDTH])
        .unwrap_err()
        .to_string();
    assert!(error.contains("a.jpg") && error.contains("NaN"), "{error}");
    writer.abandon();
    assert!(!path.exists());
}

#[test]
fn damage_is_found_and_explained() {
    let (_folder, path) = place();
    write(&path, FeaturePrecision::F32);
    let whole = fs::read(&path).unwrap();
    let failure = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        format!("{:#}", FeatureCache::open(&path).err().unwrap())
    };
    assert!(failure(&whole[..whole.len() - 1]).contains("cut short"));
    assert!(failure(&whole[..40]).contains("cut short"));
    assert!(failure(b"").contains("is empty"));
    assert!(failure(b"not a tensor file at all, but quite long").contains("safetensors"));
    let at = |needle: &[u8]| {
        whole
            .windows(needle.len())
            .position(|part| part == needle)
            .unwrap()
    };
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        failure(&bytes)
    };
    let text = changed(at(b"negprompt-features"), b"something--features");
    assert!(text.contains("something else"), "{text}");
    let text = changed(at(b"\"version\":\"1\"") + 11, b"9");
    assert!(text.contains("version 9"), "{text}");
    let text = changed(at(b"ant"), b"bee");
    assert!(text.contains("metadata is not what was written"), "{text}");
    let data = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let text = changed(data + 4 * WIDTH, &[1]);
    assert!(text.contains("not those that were written"), "{text}");
    let text = changed(whole.len() - 1, b"x");
    assert!(text.contains("not those that were written"), "{text}");

    // Files without a checksum, as earlier versions wrote them.
    let (sealed, about) = (at(b"checksum"), at(b"metadata_checksum"));
    let unsealed = |at: usize, with: &[u8]| {
        let mut bytes = whole.clone();
        bytes[sealed..sealed + 8].copy_from_slice(b"nothing-");
        bytes[about..about + 17].copy_from_slice(b"nothing_of_header");
        bytes[at..at + with.len()].copy_from_slice(with);
        failure(&bytes)
    };
    let text = unsealed(data + 4 * WIDTH, &f32::INFINITY.to_le_bytes());
    assert!(
        text.contains("image 1") && text.contains("holds inf"),
        "{text}"
    );
    let text = unsealed(data + 4 * WIDTH, &[0; 4 * WIDTH]);
    assert!(
        text.contains("image 1") && text.contains("all zeros"),
        "{text}"
    );
    let text = unsealed(data + 9 * WIDTH * 4, &7i32.to_le_bytes());
    assert!(text.contains("label 7"), "{text}");
}

#[test]
fn an_unfinished_file_says_what_it_was_begun_with() {
    let (_folder, path) = place();
    assert_eq!(unfit(&path, &header(FeaturePrecision::F16)), None);
    let writer = CacheWriter::create(&path, header(FeaturePrecision::F16)).unwrap();
    assert_eq!(unfit(&path, &header(FeaturePrecision::F16)), None);
    drop(writer);
    let other = CacheHeader {
        classes: vec!["bee".into()],
        ..header(FeaturePrecision::F16)
    };
    assert_eq!(unfit(&path, &other), Some("other classes".to_owned()));
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(bytes)).unwrap();
}
