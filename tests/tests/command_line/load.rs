//! `trainer predict` on many images: its memory does not grow with them.
//!
//! A few thousand run with the other tests; `NEGPROMPT_IMAGES=100000` is a long run.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tests::hostile::tiny;
use tests::program::trainer;

/// Set to the number of images.
const IMAGES: &str = "NEGPROMPT_IMAGES";
/// What a process may gain once it is warm, in KiB: allocators keep some of what they were given.
const SLACK: u64 = 8 << 10;

#[test]
fn the_memory_of_predict_does_not_grow_with_the_images() {
    let count = std::env::var(IMAGES).ok();
    let count: usize = count.map_or(4_000, |count| count.parse().expect("a number of images"));
    let memory = Path::new("/dev/shm");
    let place = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let put = |name: String, bytes: &[u8]| {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    for (name, bytes) in tiny::bundle() {
        put(format!("bundle/{name}"), &bytes);
    }
    let pictures: Vec<Vec<u8>> = (0..32).map(picture).collect();
    for number in 0..count {
        let bytes = &pictures[number % pictures.len()];
        put(format!("photos/{}/{number}.png", number % 100), bytes);
    }

    let mut child = Command::new(trainer())
        .args(["predict", "--bundle", "bundle", "--device", "cpu", "photos"])
        .current_dir(place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut curve = Vec::new();
    let every = (count / 40).max(1);
    let mut lines = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        assert!(line.unwrap().contains("\"verdict\""));
        lines += 1;
        if lines % every == 0 {
            curve.extend(resident(child.id()));
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(lines, count);
    println!("resident KiB after each {every} images: {curve:?}");
    let (warm, rest) = curve.split_at(curve.len() / 4);
    let (warm, rest) = (warm.iter().max().unwrap(), rest.iter().max().unwrap());
    assert!(
        rest <= &(warm + SLACK),
        "from {warm} to {rest} KiB: {curve:?}"
    );
}

/// KiB of memory that a process holds; none when it has ended.
fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn picture(number: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(48, 40, |x, y| {
        image::Rgb([(x * 5) as u8, (y * 6) as u8, number.wrapping_mul(8)])
    })
    .write_to(&mut bytes, image::ImageFormat::Png)
    .unwrap();
    bytes.into_inner()
}
