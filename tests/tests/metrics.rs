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
use shared::score::{Method, MethodSettings, ScoreScale, Similarities, method};

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
    positive: Vec<f32>,
    negative: Vec<f32>,
    zero_shot: Vec<f32>,
    probe: Vec<f32>,
    logit_scale: f32,
    temperature: f32,
    negative_weight: f32,
    negprompt: Expected,
    coop: Expected,
    mcm: Expected,
    #[serde(rename = "max-logit")]
    max_logit: Expected,
    energy: Expected,
    msp: Expected,
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
    for case in cases::<ScoreCase>("scores.json") {
        let similarities = Similarities {
            positive: &case.positive,
            negative: &case.negative,
            zero_shot: &case.zero_shot,
            probe: &case.probe,
            logit_scale: case.logit_scale,
        };
        for (id, expected) in [
            ("negprompt", &case.negprompt),
            ("coop", &case.coop),
            ("mcm", &case.mcm),
            ("max-logit", &case.max_logit),
            ("energy", &case.energy),
            ("msp", &case.msp),
        ] {
            let rule = method(id).unwrap();
            let settings = match id {
                "negprompt" => MethodSettings {
                    temperature: case.temperature,
                    negative_weight: case.negative_weight,
                },
                _ => rule.default_settings(case.logit_scale),
            };
            let place = format!("{}, {id}", case.name);
            check(&place, rule, &similarities, &settings, expected);
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
        let index = first.context * similarities.positive.len() + first.class;
        assert_eq!(index, heaviest, "{place}");
        assert_near(place, "the share", first.share, share, SCORE_TOLERANCE);
    }
}
