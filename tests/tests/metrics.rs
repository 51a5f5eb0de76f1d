//! `shared::metric` and `shared::score` against scikit-learn, SciPy and NumPy.
//!
//! The reference values are made by `fixtures/make_metrics.py`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::metric::{
    ECE_BINS, accuracy, aupr_in, aupr_out, auroc, conformal_quantiles, ece, fpr_at_tpr, oscr,
    p_value, threshold_at_tpr,
};
use shared::score::{
    ClassFeatures, Input, Method, MethodSettings, MinedSettings, Probe, ScoreScale, Similarities,
    far_labels, method,
};

const METRIC_TOLERANCE: f64 = 1e-12;
const SCORE_TOLERANCE: f64 = 1e-11;

#[derive(Deserialize)]
struct MetricCase {
    name: String,
    id: Vec<f64>,
    ood: Vec<f64>,
    correct: Vec<bool>,
    confidence: Vec<f64>,
    predicted: Vec<usize>,
    truth: Vec<usize>,
    auroc: f64,
    at_tpr: BTreeMap<String, AtTpr>,
    aupr_in: f64,
    aupr_out: f64,
    oscr: f64,
    accuracy: f64,
    ece: f64,
    p_values: Vec<PValue>,
}

#[derive(Deserialize)]
struct AtTpr {
    fpr: f64,
    threshold: f64,
}

#[derive(Deserialize)]
struct PValue {
    score: f64,
    p: f64,
}

#[derive(Deserialize)]
struct ScoreCase {
    name: String,
    inputs: BTreeMap<String, Vec<f32>>,
    logit_scale: f32,
    temperature: f32,
    negative_weight: f32,
    mined_weight: f32,
    mined_temperature: f32,
    expected: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct MiningCase {
    cosines: Vec<f32>,
    names: usize,
    kept: Vec<usize>,
    share: f64,
    far: Vec<usize>,
}

#[derive(Deserialize)]
struct OdinCase {
    features: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    step: f32,
    logits: Vec<f32>,
}

#[derive(Deserialize)]
struct Expected {
    log_odds: Option<f64>,
    score: Option<f64>,
    probabilities: Option<Vec<f64>>,
    heaviest: Option<usize>,
    share: Option<f64>,
}

fn cases<Case: DeserializeOwned>(file: &str) -> Vec<Case> {
    let path = format!("{}/fixtures/metrics/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    cases
}

#[track_caller]
fn assert_near(case: &str, what: &str, found: f64, expected: f64, tolerance: f64) {
    let allowed = tolerance * expected.abs().max(1.0);
    assert!(
        (found - expected).abs() <= allowed,
        "{case}: {what} is {found}, the reference says {expected}"
    );
}

#[test]
fn metrics_are_those_of_scikit_learn() {
    for case in cases::<MetricCase>("metrics.json") {
        let near = |what: &str, found: f64, expected: f64| {
            assert_near(&case.name, what, found, expected, METRIC_TOLERANCE);
        };
        let (id, ood) = (&case.id[..], &case.ood[..]);
        near("AUROC", auroc(id, ood).unwrap(), case.auroc);
        near("AUPR-in", aupr_in(id, ood).unwrap(), case.aupr_in);
        near("AUPR-out", aupr_out(id, ood).unwrap(), case.aupr_out);
        near("OSCR", oscr(id, &case.correct, ood).unwrap(), case.oscr);
        near(
            "ECE",
            ece(&case.confidence, &case.correct, ECE_BINS).unwrap(),
            case.ece,
        );
        near(
            "accuracy",
            accuracy(&case.predicted, &case.truth).unwrap(),
            case.accuracy,
        );
        for (tpr, expected) in &case.at_tpr {
            let rate: f64 = tpr.parse().unwrap();
            near(tpr, fpr_at_tpr(id, ood, rate).unwrap(), expected.fpr);
            near(tpr, threshold_at_tpr(id, rate).unwrap(), expected.threshold);
        }
        let mut calibration = case.id.clone();
        calibration.sort_by(f64::total_cmp);
        for PValue { score, p } in &case.p_values {
            near("p-value", p_value(&calibration, *score).unwrap(), *p);
            let few = conformal_quantiles(&calibration, 10).unwrap();
            let short = p_value(&few, *score).unwrap();
            assert!(short >= p - METRIC_TOLERANCE && short < p + 1.0 / 11.0 + METRIC_TOLERANCE);
        }
    }
}

#[test]
fn scores_are_those_of_scipy() {
    let kinds = [
        ("positive", Input::Positive),
        ("negative", Input::Negative),
        ("zero_shot", Input::ZeroShot),
        ("no", Input::No),
        ("named", Input::Named),
        ("mined", Input::Mined),
        ("conjugated", Input::Conjugated),
        ("locoop", Input::LoCoOp),
        ("patch_zero_shot", Input::PatchZeroShot),
        ("patch_locoop", Input::PatchLoCoOp),
        ("probe", Input::Probe),
        ("clipped_probe", Input::ClippedProbe),
        ("perturbed_probe", Input::PerturbedProbe),
    ];
    for case in cases::<ScoreCase>("scores.json") {
        let similarities = kinds
            .iter()
            .fold(Similarities::new(case.logit_scale), |all, (name, input)| {
                all.with(*input, &case.inputs[*name])
            });
        let ids: Vec<&str> = case.expected.keys().map(String::as_str).collect();
        let mut known: Vec<&str> = shared::score::methods().iter().map(|m| m.id()).collect();
        known.sort_unstable();
        assert_eq!(ids, known, "a reference for every method");
        for (id, expected) in &case.expected {
            let rule = method(id).unwrap();
            let chosen = MethodSettings {
                temperature: case.temperature,
                negative_weight: case.negative_weight,
                mined: None,
            };
            let settings = match id.as_str() {
                "negprompt" => chosen,
                "negprompt-mined" => MethodSettings {
                    mined: Some(MinedSettings {
                        weight: case.mined_weight,
                        temperature: case.mined_temperature,
                    }),
                    ..chosen
                },
                _ => rule.default_settings(case.logit_scale),
            };
            let place = format!("{}, {id}", case.name);
            check(&place, rule, &similarities, &settings, expected);
        }
    }
}

#[test]
fn far_labels_are_those_of_numpy() {
    for case in cases::<MiningCase>("mining.json") {
        let far = far_labels(&case.cosines, case.names, &case.kept, case.share);
        assert_eq!(far, case.far);
    }
}

#[test]
fn odin_moves_features_as_autograd_does() {
    for case in cases::<OdinCase>("odin.json") {
        let classes = ClassFeatures {
            embed_dim: case.weight.len() / case.bias.len(),
            probe: Some(Probe {
                weight: case.weight,
                bias: case.bias,
            }),
            odin_step: Some(case.step),
            ..ClassFeatures::default()
        };
        let compared = classes.similarities_all(&case.features).unwrap();
        let rows = compared.rows();
        let moved = (0..rows.rows)
            .flat_map(|row| rows.row(row).unwrap().get(Input::PerturbedProbe).to_vec());
        let still = rows.row(0).unwrap().get(Input::Probe)[0];
        assert!(
            (still - case.logits[0]).abs() > 1e-3 * case.step,
            "it must move"
        );
        assert_eq!(
            rows.rows * classes.probe.unwrap().bias.len(),
            case.logits.len()
        );
        for (found, expected) in moved.zip(&case.logits) {
            assert_near("ODIN", "a logit", found.into(), (*expected).into(), 2e-6);
        }
    }
}

fn check(
    place: &str,
    rule: &dyn Method,
    similarities: &Similarities<'_>,
    settings: &MethodSettings,
    expected: &Expected,
) {
    let score = rule.score(similarities, settings).unwrap();
    let reference = match rule.scale() {
        ScoreScale::Probability => expected.log_odds,
        ScoreScale::Logit => expected.score,
    };
    assert_near(
        place,
        "the score",
        score,
        reference.unwrap(),
        SCORE_TOLERANCE,
    );
    let probabilities = rule.class_probabilities(similarities, settings).unwrap();
    for (found, expected) in probabilities
        .iter()
        .zip(expected.probabilities.iter().flatten())
    {
        assert_near(place, "a probability", *found, *expected, SCORE_TOLERANCE);
    }
    let explanation = rule.explain(similarities, settings).unwrap();
    if let (Some(heaviest), Some(share)) = (expected.heaviest, expected.share) {
        let first = &explanation.negatives[0];
        let classes = similarities.get(Input::Positive).len();
        let index = first.context * classes + first.class;
        assert_eq!(index, heaviest, "{place}");
        assert_near(place, "the share", first.share, share, SCORE_TOLERANCE);
    }
}
