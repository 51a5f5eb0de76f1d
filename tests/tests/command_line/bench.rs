//! `trainer bench`, whole: every method on a few drawn pictures, stopped and gone on with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Place, Run, picture, read_json, trainer};

#[test]
fn every_method_gets_a_row_and_no_row_is_made_twice() {
    let place = Place::new();
    let data = place.images(8);
    for level in 0..4 {
        let path = place.path(&format!("other/{level}.png"));
        picture(&path, [90 + 10 * level; 3], 30);
    }
    let out = place.path("out");
    let suite = Suite {
        data,
        other: format!("other={}", place.path("other")),
        out: out.clone(),
    };

    suite.run("1");
    let report: Value = read_json(&format!("{out}/report.json"));
    let config = &report["config"];
    assert_eq!(
        (&report["seed"], &config["seeds"]),
        (&json!(1), &json!([1]))
    );
    assert_eq!(config["training"]["shots"], 2);
    assert_eq!(config["training"].get("seed"), None);
    assert_eq!(config.get("by_seed"), None);
    let methods = report["methods"].as_array().unwrap();
    let found: BTreeSet<&str> = methods.iter().map(|m| m["id"].as_str().unwrap()).collect();
    let all: BTreeSet<&str> = shared::score::methods().iter().map(|m| m.id()).collect();
    assert_eq!(found, all);
    for method in methods {
        let rate = method["ood"]["other"]["auroc"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&rate), "{method}");
        assert!(method["seconds"].as_f64().unwrap() > 0.0, "{method}");
    }
    let page = fs::read_to_string(format!("{out}/report.html")).unwrap();
    assert!(page.ends_with("</html>\n") && !page.contains("<script") && !page.contains("http"));
    let table = fs::read_to_string(format!("{out}/table.tex")).unwrap();
    assert_eq!(table.matches("\\\\\n").count(), 2 + all.len(), "{table}");

    let run = suite.run("0,1");
    assert_eq!(made(&run, 0).len(), all.len());
    assert_eq!(made(&run, 1), Vec::<&str>::new());
    let report: Value = read_json(&format!("{out}/report.json"));
    assert!(report["methods"][0]["average"]["auroc_deviation"].is_number());
    // A threshold stands beside the share that it keeps itself, in the seed it is of.
    let by_seed = report["config"]["by_seed"].as_array().unwrap();
    assert_eq!(by_seed.len(), 2 * all.len());
    for method in report["methods"].as_array().unwrap() {
        for seed in [0, 1] {
            let of_seed = by_seed
                .iter()
                .find(|chosen| chosen["method"] == method["name"] && chosen["seed"] == seed)
                .unwrap();
            let (_, row) = suite.row(method["id"].as_str().unwrap(), seed);
            for what in ["threshold", "kept", "settings"] {
                assert_eq!(of_seed[what], row["method"][what], "{what}: {method}");
                assert!(
                    seed == 1 || of_seed[what] == method[what],
                    "{what}: {method}"
                );
            }
        }
    }
    let notes = report["notes"].to_string();
    assert!(notes.contains("so are each method's threshold"), "{notes}");

    // As after a power cut: one row short.
    let (path, before) = suite.row("mcm", 1);
    fs::remove_file(&path).unwrap();
    let run = suite.run("0,1");
    assert_eq!((made(&run, 0).len(), made(&run, 1)), (0, vec!["MCM"]));
    let again = value(&path);
    assert_eq!(again["method"]["ood"], before["method"]["ood"]);
}

struct Suite {
    data: String,
    other: String,
    out: String,
}

impl Suite {
    fn run(&self, seeds: &str) -> Run {
        let (data, other, out) = (&self.data, &self.other, &self.out);
        trainer(&[
            "bench",
            "--data",
            data,
            "--ood",
            other,
            "--out",
            out,
            "--seeds",
            seeds,
            "--device",
            "cpu",
            "--shots",
            "2",
            "--batch",
            "4",
            "--positive-steps",
            "2",
            "--negative-steps",
            "2",
            // The fewest that give every method its labels.
            "--label-pool",
            "9",
        ])
        .success()
    }

    /// The file of a finished row, and what it holds.
    fn row(&self, method: &str, seed: u64) -> (PathBuf, Value) {
        fs::read_dir(format!("{}/rows", self.out))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), value(&path)))
            .find(|(_, row): &(_, Value)| row["method"]["id"] == method && row["seed"] == seed)
            .unwrap()
    }
}

/// What a file of a row holds beside its checksum.
fn value(path: &Path) -> Value {
    read_json::<Value>(path.to_str().unwrap())["value"].take()
}

/// The methods whose rows a run made.
fn made(run: &Run, seed: u64) -> Vec<&str> {
    let mark = format!(", seed {seed}: ");
    let lines = run.stderr.lines();
    lines
        .filter_map(|line| Some(line.split_once(&mark)?.0))
        .collect()
}
