//! Feature files that an encoding finds in its place: none of these may lend it a feature.

use serde_json::Value;

use super::Outcome::Either;
use super::{Case, Damage, safetensors_bytes};

/// Damaged copies of `good`, a finished feature file.
pub fn cases(good: &[u8]) -> Vec<Case> {
    let mut damage = Damage::new(11);
    let mut cases: Vec<(String, Vec<u8>)> = safetensors_bytes::broken(good)
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect();
    let header_end = 8 + u64::from_le_bytes(good[..8].try_into().expect("eight bytes")) as usize;
    for (name, value) in [("nan", [0x00, 0x7e]), ("infinity", [0x00, 0x7c])] {
        let mut bytes = good.to_vec();
        bytes[header_end..header_end + 2].copy_from_slice(&value);
        cases.push((format!("a-feature-with-{name}"), bytes));
    }
    // What a stranger would do: another feature for the same photo.
    let mut another = good.to_vec();
    another[header_end + 1] ^= 0x80;
    cases.push(("a-feature-of-another-sign".to_owned(), another));
    let mut last = good.to_vec();
    if let Some(byte) = last.last_mut() {
        *byte ^= 1;
    }
    cases.push(("a-name-altered".to_owned(), last));
    type Change = fn(&mut Value);
    let header: [(&str, Change); 6] = [
        ("of-another-format", |h| {
            h["__metadata__"]["format"] = "other".into()
        }),
        ("of-version-9", |h| {
            h["__metadata__"]["version"] = "9".into()
        }),
        ("of-another-model", |h| {
            h["__metadata__"]["key"] = "0".repeat(64).into()
        }),
        ("classes-no-json", |h| {
            h["__metadata__"]["classes"] = "[".into()
        }),
        ("classes-nested", |h| {
            h["__metadata__"]["classes"] = "[".repeat(100_000).into()
        }),
        ("labels-as-floats", |h| h["labels"]["dtype"] = "F32".into()),
    ];
    for (name, change) in header {
        let mut json: Value = serde_json::from_slice(&good[8..header_end]).expect("a header");
        change(&mut json);
        let bytes = safetensors_bytes::file(&json.to_string(), &good[header_end..]);
        cases.push((name.to_owned(), bytes));
    }
    for round in 0..6 {
        cases.push((format!("bent-{round}"), damage.flip(good, 1 + 5 * round)));
    }
    cases
        .into_iter()
        .map(|(name, bytes)| Case::file(&name, "features.safetensors", bytes, Either))
        .collect()
}
