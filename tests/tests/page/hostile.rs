//! Strangers' files through the page: the dictionary of `tests::hostile`, as photos and as bundles.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::stage::{Stage, sample};
use tests::hostile::{
    Case, Outcome, bundles, checkpoints, images, models, shows_a_way_out, tables, tiny,
};
use xtask::webdriver::Options;

/// Files above this many bytes are left out where they are no images by name: what makes them large
/// is not what makes them wrong.
const LARGE: usize = 1_000_000;

/// Opens every bundle in one worker, as the page does, and shows it a photo where it opens. Where that has
/// a verdict and something must be refused, other classes are asked for, as only they take the rest of the
/// files. Notes what the worker says, or that it died.
const THROUGH_THE_WORKER: &str = r#"
    const [cases, photo] = arguments;
    window.outcomes = null;
    let worker, hear;
    const begin = () => new Promise((started) => {
        worker?.terminate();
        const { version } = document.querySelector('#start').dataset;
        worker = new Worker(`worker-start.js?${version}`, { type: 'module', name: 'strangers' });
        worker.onmessage = ({ data }) => hear(data);
        worker.onerror = (event) => { event.preventDefault(); hear(event.message); };
        hear = (data) => { if (Array.isArray(data) && data[0] === '"started"') started(); };
    });
    const ask = (order, attachments) => new Promise((answered) => {
        hear = (data) => {
            if (!Array.isArray(data)) return answered(['died', String(data)]);
            const [[kind, report]] = Object.entries(JSON.parse(data[0]));
            if (!kind.startsWith('loading')) answered([kind, report.message ?? '']);
        };
        worker.postMessage([JSON.stringify(order), ...attachments]);
    });
    const file = async (path) => new File([await (await fetch(`files/${path}`)).blob()], path);
    (async () => {
        const outcomes = [];
        const picture = await file(photo);
        await begin();
        for (const [name, names, damaged] of cases) {
            const files = await Promise.all(names.map((inner) => file(`bundles/${name}/${inner}`)));
            let outcome = await ask({ open: { source: { files: { names } }, device: 'cpu' } }, files);
            if (outcome[0] === 'opened') outcome = await ask({ photos: { photos: [0], patches: true } }, [picture]);
            if (outcome[0] === 'photo' && damaged) outcome = await ask({ classes: { names: ['rose', 'sun'] } }, []);
            if (outcome[0] === 'died') await begin();
            outcomes.push(outcome);
        }
        return outcomes;
    })().then((outcomes) => { window.outcomes = outcomes; }, (error) => { window.outcomes = String(error); });"#;

#[test]
fn every_malformed_file_dropped_as_a_photo_gets_a_named_error() {
    let stage = Stage::ready(&Options::default());
    stage.show(&[sample("coffee.jpg")], 300);
    let before = stage.card("coffee.jpg")["score"].clone();
    let mut cases = images::cases();
    for (kind, others) in [
        ("checkpoint", checkpoints::cases()),
        ("bundle", bundles::cases()),
        ("model", models::image_cases()),
        ("text model", models::text_cases()),
        ("table", tables::cases()),
    ] {
        for case in others {
            let (path, bytes) = case.files[0].clone();
            if bytes.len() > LARGE {
                continue;
            }
            let ending = path.rsplit('/').next().unwrap_or(&path);
            let name = format!("{kind} {}", case.name);
            let file = format!("{name} {ending}");
            let causes = &["not an image", "is empty", "is not supported", "cut short"];
            // Some of them are wrong in their place, and pictures all the same.
            let outcome = match image::guess_format(&bytes) {
                Ok(_) => Outcome::Either,
                Err(_) => Outcome::Refused(causes),
            };
            cases.push(Case::file(&name, &file, bytes, outcome));
        }
    }
    let files: Vec<PathBuf> = cases
        .iter()
        .map(|case| stage.file(&case.files[0].0, &case.files[0].1))
        .collect();
    stage.show(&files, 600);
    let cards = stage.browser.run(
        "return Object.fromEntries([...document.querySelectorAll('.card')].map((card) =>
            [card.dataset.file, [card.dataset.verdict, card.querySelector('.trouble').textContent]]))",
    );
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| judge_photo(case, &cards[&case.files[0].0]))
        .collect();
    report("photos", cases.len(), &wrong);
    stage.clear();
    stage.show(&[sample("coffee.jpg")], 300);
    assert_eq!(stage.card("coffee.jpg")["score"], before);
}

fn judge_photo(case: &Case, card: &Value) -> Option<String> {
    let (verdict, said) = (card[0].as_str()?, card[1].as_str()?);
    let judged = matches!(verdict, "in" | "out");
    let fine = match case.outcome {
        Outcome::Used => judged,
        Outcome::Either => judged || shows_a_way_out(said),
        // What `image` does not read, the browser may.
        Outcome::Refused(_) if judged => said.contains("Decoded by the browser"),
        Outcome::Refused(causes) => names(said, causes) && shows_a_way_out(&said.to_lowercase()),
    };
    (!fine).then(|| format!("{}: {verdict}: {said}", case.name))
}

/// Whether an error of the page names one of the causes that the trainer's would.
fn names(said: &str, causes: &[&str]) -> bool {
    let said = said.to_lowercase();
    causes.iter().any(|cause| {
        let cause = cause.to_lowercase();
        said.contains(&cause)
            // The page has no flag that raises the limit, and one sentence for what kills a worker.
            || (cause.starts_with("pixels, and the limit") && said.contains("million pixels"))
            || (cause == "decoder failed" && said.contains("broke the program"))
            // Where numbers of places have 32 bits, larger ones are refused as they are read.
            || said.contains("expected usize")
    })
}

#[test]
fn every_malformed_bundle_is_refused_by_name() {
    let stage = Stage::ready(&Options::default());
    let cases = bundles::cases();
    for case in &cases {
        for (name, bytes) in &case.files {
            let folder = stage.files.path().join("bundles").join(&case.name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
    std::fs::copy(sample("coffee.jpg"), stage.files.path().join("coffee.jpg")).unwrap();
    let list: Vec<Value> = cases
        .iter()
        .map(|case| {
            let names: Vec<&String> = case.files.iter().map(|(name, _)| name).collect();
            json!([
                case.name,
                names,
                matches!(case.outcome, Outcome::Refused(_))
            ])
        })
        .collect();
    stage
        .browser
        .run_with(THROUGH_THE_WORKER, json!([list, "coffee.jpg"]));
    let outcomes = stage
        .browser
        .wait("every bundle's outcome", 600, "return window.outcomes");
    assert!(outcomes.is_array(), "{outcomes}");
    let wrong: Vec<String> = cases
        .iter()
        .enumerate()
        .filter_map(|(index, case)| judge_bundle(case, &outcomes[index]))
        .collect();
    report("bundles", cases.len(), &wrong);
}

fn judge_bundle(case: &Case, outcome: &Value) -> Option<String> {
    let (kind, said) = (outcome[0].as_str()?, outcome[1].as_str()?);
    let refused = ["not-opened", "unreadable", "classes-refused"].contains(&kind);
    let refused = refused && shows_a_way_out(said);
    let fine = match case.outcome {
        Outcome::Used => kind == "photo",
        Outcome::Either => kind == "photo" || refused,
        Outcome::Refused(causes) => {
            // Weights that compute nonsense do not give the bundle's known answers.
            refused
                && (names(said, causes)
                    || said.contains("computes wrongly")
                    || said.contains("The folder has no"))
        }
    };
    (!fine).then(|| format!("{}: {kind}: {said}", case.name))
}

/// A few of them all the way: picked as a folder, told in a banner, and the page's own bundle is back.
#[test]
fn a_malformed_bundle_leaves_the_page_as_it_was() {
    let own = tempfile::tempdir().unwrap();
    for (name, bytes) in tiny::bundle() {
        std::fs::write(own.path().join(name), bytes).unwrap();
    }
    let stage = Stage::open_with(&Options::default(), Some(own.path()));
    stage.wait_ready(300);
    stage.show(&[sample("coffee.jpg")], 300);
    let score = stage.card("coffee.jpg")["score"].clone();
    for case in bundles::cases().iter().skip(3).step_by(31) {
        let Outcome::Refused(causes) = case.outcome else {
            continue;
        };
        let folder = stage.files.path().join(&case.name);
        std::fs::create_dir(&folder).unwrap();
        for (name, bytes) in &case.files {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        stage
            .browser
            .run("document.querySelector('.banner .act')?.click()");
        stage.browser.upload("#bundle-folder", &[folder]);
        stage.browser.wait(
            "a banner",
            120,
            "return document.querySelector('.banner')?.textContent.includes('back in place')",
        );
        stage.wait_ready(120);
        let (said, _) = stage.banner();
        assert!(names(&said, causes), "{}: {said}", case.name);
        assert_eq!(stage.card("coffee.jpg")["score"], score, "{}", case.name);
    }
    stage.browser.screenshot("bundle-refused");
}

#[track_caller]
fn report(what: &str, cases: usize, wrong: &[String]) {
    println!("{what}: {cases} cases, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}
