//! What holds of every score, every metric and every parser, on inputs that nobody chose.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shared::bundle::{Manifest, decode_tensors};
use shared::clip::Tokenizer;
use shared::clip::preprocess::{DecodeLimits, Preprocessing, decode, preprocess};
use shared::metric::{
    Calibration, accuracy, aupr_in, aupr_out, auroc, conformal_quantiles, ece, fpr_at_tpr, oscr,
    p_value, threshold_at_tpr,
};
use shared::score::{
    ClassFeatures, Input, Method, MethodSettings, MinedSettings, ScoreError, ScoreScale,
    Similarities, method, methods,
};
use tests::hostile::{images, tiny};

// --- scores ---

/// The similarities of one image, owned: every kind that any method takes.
#[derive(Clone, Debug)]
struct Image {
    classes: usize,
    values: BTreeMap<Input, Vec<f32>>,
    logit_scale: f32,
}

impl Image {
    fn similarities(&self) -> Similarities<'_> {
        let nothing = Similarities::new(self.logit_scale);
        let kinds = self.values.iter();
        kinds.fold(nothing, |all, (&kind, values)| all.with(kind, values))
    }

    /// The same image with its classes in another order.
    fn permuted(&self, order: &[usize]) -> Self {
        let mut permuted = self.clone();
        for (kind, values) in &mut permuted.values {
            if kind.is_by_class() {
                let groups = self.values[kind].chunks_exact(order.len());
                *values = groups
                    .flat_map(|group| order.iter().map(|&class| group[class]))
                    .collect();
            }
        }
        permuted
    }

    /// The same image with one kind changed.
    fn changed(&self, kind: Input, change: impl FnOnce(&mut Vec<f32>)) -> Self {
        let mut changed = self.clone();
        change(changed.values.get_mut(&kind).expect("every kind is there"));
        changed
    }

    /// The same image, nearer to the best class of every kind that speaks for a class, and of every
    /// patch.
    fn nearer(&self, step: f32) -> Self {
        let mut nearer = self.clone();
        for (kind, values) in &mut nearer.values {
            let speaks_for = kind.is_by_class() && !matches!(kind, Input::Negative | Input::No);
            if speaks_for {
                for group in values.chunks_exact_mut(self.classes) {
                    group[best(group)] += step;
                }
            }
        }
        nearer
    }
}

fn best(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// Cosines; on a coarse grid half the time, so that many tie.
fn cosines(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop_oneof![
        prop::collection::vec(-1.0f32..=1.0, count),
        prop::collection::vec((-4i8..=4).prop_map(|step| f32::from(step) / 4.0), count),
    ]
}

/// How many values of each kind, for so many classes.
fn counts(classes: usize) -> impl Strategy<Value = BTreeMap<Input, usize>> {
    // Labels stand in groups of a hundred; some images have none, as they have no negatives.
    let labels = || prop_oneof![6 => 0usize..=12, 1 => 99usize..=230];
    (0usize..=3, labels(), labels(), 0usize..=4).prop_map(
        move |(negatives, mined, conjugated, patches)| {
            let count = |kind| match kind {
                Input::Negative => negatives * classes,
                Input::Mined => mined,
                Input::Conjugated => conjugated,
                Input::PatchZeroShot | Input::PatchLoCoOp => patches * classes,
                _ => classes,
            };
            Input::ALL.map(|kind| (kind, count(kind))).into()
        },
    )
}

fn image(classes: impl Strategy<Value = usize>) -> impl Strategy<Value = Image> {
    let counted = classes.prop_flat_map(|classes| (Just(classes), counts(classes)));
    counted.prop_flat_map(|(classes, counts)| {
        let values: Vec<_> = counts
            .into_iter()
            .map(|(kind, count)| {
                // Logits of a probe have no bounds of their own.
                let reach = match kind {
                    Input::Probe | Input::ClippedProbe => 200.0,
                    _ => 1.0,
                };
                cosines(count).prop_map(move |values| {
                    (kind, values.iter().map(|value| reach * value).collect())
                })
            })
            .collect();
        (values, -2.0f32..=4.0).prop_map(move |(values, magnitude)| Image {
            classes,
            values: values.into_iter().collect(),
            logit_scale: 10f32.powf(magnitude),
        })
    })
}

/// From the coldest to the hottest that a number can say.
fn settings() -> impl Strategy<Value = MethodSettings> {
    let temperature = prop_oneof![
        4 => (-4.0f32..=4.0).prop_map(|magnitude| 10f32.powf(magnitude)),
        1 => prop::sample::select(vec![f32::MIN_POSITIVE, 1e-30, 1e30, f32::MAX]),
    ];
    let weight = prop_oneof![
        4 => (-3.0f32..=3.0).prop_map(|magnitude| 10f32.powf(magnitude)),
        1 => prop::sample::select(vec![0.0, f32::MIN_POSITIVE, f32::MAX]),
    ];
    let mined = prop::option::of((weight.clone(), temperature.clone()));
    (temperature, weight, mined).prop_map(|(temperature, negative_weight, mined)| MethodSettings {
        temperature,
        negative_weight,
        mined: mined.map(|(weight, temperature)| MinedSettings {
            weight,
            temperature,
        }),
    })
}

/// Errors that are right for finite input: a rule that needs what is not there, or a temperature
/// beyond what 64 bits can hold.
fn is_expected(error: &ScoreError) -> bool {
    matches!(
        error,
        ScoreError::OneClass { .. } | ScoreError::Overflow { .. } | ScoreError::Missing { .. }
    )
}

/// What rounding may take from a score or add to it.
fn slack(score: f64) -> f64 {
    1e-9 * (1.0 + score.abs())
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

fn check_score(method: &dyn Method, image: &Image, settings: &MethodSettings) -> Option<f64> {
    let similarities = image.similarities();
    let score = match method.score(&similarities, settings) {
        Ok(score) => score,
        Err(error) => {
            assert!(is_expected(&error), "{}: {error}", method.id());
            return None;
        }
    };
    assert!(score.is_finite(), "{}: {score}", method.id());
    if method.scale() == ScoreScale::Probability {
        let shown = method.scale().display(score);
        assert!((0.0..=1.0).contains(&shown), "{}: {shown}", method.id());
    }
    let probabilities = method.class_probabilities(&similarities, settings).unwrap();
    assert_eq!(probabilities.len(), image.classes);
    let sum: f64 = probabilities.iter().sum();
    assert!(probabilities.iter().all(|p| (0.0..=1.0 + 1e-9).contains(p)));
    assert!(sum <= 1.0 + 1e-9, "{}: {sum}", method.id());
    // NegPrompt, with mined labels or without, leaves a share to "none of these".
    if !method.id().starts_with("negprompt") {
        assert!(close(sum, 1.0), "{}: {sum}", method.id());
    }
    let explained = method.explain(&similarities, settings).unwrap();
    assert_eq!(explained.score, score);
    assert!((0.0..=1.0 + 1e-9).contains(&explained.none));
    Some(score)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scores_are_finite_and_in_range(image in image(1usize..=24), settings in settings()) {
        for &method in methods() {
            check_score(method, &image, &settings);
        }
    }

    #[test]
    fn the_order_of_classes_does_not_matter(
        (image, order) in image(1usize..=24).prop_flat_map(|image| {
            let order: Vec<usize> = (0..image.classes).collect();
            (Just(image), Just(order).prop_shuffle())
        }),
        settings in settings(),
    ) {
        let other = image.permuted(&order);
        let zero_shot = &image.values[&Input::ZeroShot];
        let highest = zero_shot[best(zero_shot)];
        let tied = zero_shot.iter().filter(|value| **value == highest).count() > 1;
        for &method in methods() {
            // It asks one class, and of several that are equally near it takes the first.
            if method.id() == "clipn-competing" && tied {
                continue;
            }
            let (a, b) = (check_score(method, &image, &settings), check_score(method, &other, &settings));
            prop_assert_eq!(a.is_some(), b.is_some());
            let (Some(a), Some(b)) = (a, b) else { continue };
            prop_assert!(close(a, b), "{}: {} and {}", method.id(), a, b);
            let a = method.class_probabilities(&image.similarities(), &settings).unwrap();
            let b = method.class_probabilities(&other.similarities(), &settings).unwrap();
            for (place, &class) in order.iter().enumerate() {
                prop_assert!(close(a[class], b[place]));
            }
        }
    }

    /// Nearer to its best class, an image is more in-distribution; nearer to what speaks against the
    /// classes, less.
    #[test]
    fn scores_follow_the_similarities(
        image in image(2usize..=24),
        settings in settings(),
        step in 0.0f32..0.5,
        at in any::<prop::sample::Index>(),
    ) {
        let nearer = image.nearer(step);
        // CLIPN's agreeing rule weighs every class by its own "no": a best class whose "no" is strong
        // takes weight from others, and the score may fall.
        for &method in methods().iter().filter(|method| method.id() != "clipn-agreeing") {
            if let (Some(before), Some(after)) =
                (check_score(method, &image, &settings), check_score(method, &nearer, &settings))
            {
                prop_assert!(after >= before - slack(before), "{}: {} then {}", method.id(), before, after);
            }
        }
        for (kind, ids) in [
            (Input::Negative, &["negprompt", "negprompt-mined"][..]),
            (Input::Mined, &["neglabel", "negprompt-mined"]),
            (Input::Conjugated, &["csp"]),
            (Input::No, &["clipn-competing", "clipn-agreeing"]),
        ] {
            if image.values[&kind].is_empty() {
                continue;
            }
            let against = image.changed(kind, |values| {
                let at = at.index(values.len());
                values[at] += step;
            });
            for id in ids {
                let method = method(id).unwrap();
                if let (Some(before), Some(after)) =
                    (check_score(method, &image, &settings), check_score(method, &against, &settings))
                {
                    prop_assert!(after <= before + slack(before), "{}: {} then {}", id, before, after);
                }
            }
        }
        // Another class that comes closer makes a softmax less sure, and free energy no lower.
        for (kind, id, falls) in [
            (Input::Probe, "msp", true),
            (Input::Probe, "energy", false),
            (Input::ClippedProbe, "react", false),
            (Input::ZeroShot, "mcm", true),
            (Input::Positive, "coop", true),
            (Input::LoCoOp, "locoop", true),
        ] {
            let values = &image.values[&kind];
            let (first, other) = (best(values), at.index(values.len()));
            if other == first {
                continue;
            }
            let room = step.min(values[first] - values[other]);
            let closer = image.changed(kind, |values| values[other] += room);
            let method = method(id).unwrap();
            if let (Some(before), Some(after)) =
                (check_score(method, &image, &settings), check_score(method, &closer, &settings))
            {
                let follows = if falls { after <= before + slack(before) } else { after >= before - slack(before) };
                prop_assert!(follows, "{}: {} then {}", id, before, after);
            }
        }
    }

    /// Whichever of the kinds that a method takes holds it.
    #[test]
    fn a_number_that_is_none_is_named_and_never_ranked(
        image in image(2usize..=8),
        settings in settings(),
        at in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ) {
        for &method in methods() {
            for &kind in method.needs() {
                // Without settings for them, mined labels are not looked at.
                let unused = method.id() == "negprompt-mined"
                    && settings.mined.is_none()
                    && matches!(kind, Input::Named | Input::Mined);
                if unused || image.values[&kind].is_empty() {
                    continue;
                }
                let broken = image.changed(kind, |values| {
                    let at = at.index(values.len());
                    values[at] = value;
                });
                let outcome = method.explain(&broken.similarities(), &settings);
                let refused = matches!(outcome, Err(ScoreError::NotFinite { .. } | ScoreError::Missing { .. }));
                prop_assert!(refused, "{}, {}: {:?}", method.id(), kind, outcome);
            }
        }
    }

    /// The length of an image feature says nothing, and one of no length is an error.
    #[test]
    fn only_the_direction_of_a_feature_counts(
        feature in prop::collection::vec(-1.0f32..1.0, 8),
        magnitude in -15.0f32..15.0,
    ) {
        let rows: Vec<f32> = (0..8 * 8).map(|i| f32::from(u8::from(i % 9 == 0))).collect();
        let classes = ClassFeatures { embed_dim: 8, logit_scale: 10.0, positive: rows, ..Default::default() };
        let scaled: Vec<f32> = feature.iter().map(|value| value * 10f32.powf(magnitude)).collect();
        match (classes.similarities(&feature), classes.similarities(&scaled)) {
            (Ok(a), Ok(b)) => {
                let (a, b) = (a.one().unwrap(), b.one().unwrap());
                for (a, b) in a.get(Input::Positive).iter().zip(b.get(Input::Positive)) {
                    prop_assert!((a - b).abs() < 1e-5 && a.abs() <= 1.0 + 1e-5);
                }
            }
            (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
        }
        let nothing = classes.similarities(&[0.0; 8]);
        let refused = matches!(nothing, Err(ScoreError::ZeroFeature { .. }));
        prop_assert!(refused);
    }
}

/// Tens of thousands of classes, one class, and no negatives: the ends of what a bundle may hold.
#[test]
fn class_lists_of_every_size_are_scored() {
    // What compares classes with each other, and with nothing else.
    const ALONE: [&str; 7] = [
        "mcm",
        "gl-mcm",
        "coop",
        "locoop",
        "locoop-gl",
        "msp",
        "odin",
    ];
    for classes in [1, 2, 5_000, 50_000] {
        let cosine =
            |salt: usize| (0..).map(move |n| ((n * 7 + salt) % 2_001) as f32 / 1_000.0 - 1.0);
        for (negatives, labels) in [(0, 1), (1, 10_000), (2, 101)] {
            let count = |kind| match kind {
                Input::Negative => negatives * classes,
                Input::Mined | Input::Conjugated => labels,
                Input::PatchZeroShot | Input::PatchLoCoOp => 2 * classes,
                _ => classes,
            };
            let values = Input::ALL.map(|kind| {
                let values: Vec<f32> = cosine(kind as usize).take(count(kind)).collect();
                (kind, values)
            });
            let image = Image {
                classes,
                values: values.into(),
                logit_scale: 100.0,
            };
            for &method in methods() {
                for settings in [
                    method.default_settings(100.0),
                    MethodSettings::at_temperature(1e-4),
                    MethodSettings::at_temperature(1e4),
                ] {
                    let score = check_score(method, &image, &settings);
                    let too_few = classes == 1 && ALONE.contains(&method.id());
                    let needs_negatives =
                        method.needs().contains(&Input::Negative) && negatives == 0;
                    assert_eq!(
                        score.is_none(),
                        too_few || needs_negatives,
                        "{} {classes} {negatives}",
                        method.id()
                    );
                }
            }
        }
    }
}

// --- metrics ---

/// Scores: on a grid of a few values most of the time, so that many tie; sometimes at the ends of
/// what a number can say.
fn scores() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        6 => (-3i8..=3).prop_map(f64::from),
        3 => -10.0f64..10.0,
        1 => prop::sample::select(vec![0.0, -0.0, f64::MIN_POSITIVE, 1e300, -1e300, 5e-324]),
    ];
    prop::collection::vec(value, 1..60)
}

fn share(count: usize, of: usize) -> f64 {
    count as f64 / of as f64
}

fn brute_auroc(id: &[f64], ood: &[f64], wins: impl Fn(usize) -> bool) -> f64 {
    let mut sum = 0.0;
    for (at, a) in id.iter().enumerate().filter(|(at, _)| wins(*at)) {
        let _ = at;
        for b in ood {
            sum += f64::from(u8::from(a > b)) + 0.5 * f64::from(u8::from(a == b));
        }
    }
    sum / (id.len() * ood.len()) as f64
}

fn brute_threshold(id: &[f64], tpr: f64) -> f64 {
    let keeps = |t: &f64| share(id.iter().filter(|s| *s >= t).count(), id.len()) >= tpr;
    id.iter()
        .copied()
        .filter(keeps)
        .fold(f64::NEG_INFINITY, f64::max)
}

fn brute_average_precision(positives: &[f64], negatives: &[f64]) -> f64 {
    let mut thresholds: Vec<f64> = positives.to_vec();
    thresholds.sort_by(|a, b| b.partial_cmp(a).unwrap());
    thresholds.dedup();
    let (mut area, mut recall) = (0.0, 0.0);
    for t in thresholds {
        let hits = positives.iter().filter(|s| **s >= t).count();
        let alarms = negatives.iter().filter(|s| **s >= t).count();
        let now = share(hits, positives.len());
        area += (now - recall) * share(hits, hits + alarms);
        recall = now;
    }
    area
}

fn brute_ece(confidence: &[f64], correct: &[bool], bins: usize) -> f64 {
    let mut total = 0.0;
    for bin in 0..bins {
        let (low, high) = (bin as f64 / bins as f64, (bin + 1) as f64 / bins as f64);
        let inside: Vec<usize> = (0..confidence.len())
            .filter(|&i| {
                (confidence[i] > low && confidence[i] <= high) || (bin == 0 && confidence[i] == 0.0)
            })
            .collect();
        if inside.is_empty() {
            continue;
        }
        let right = share(inside.iter().filter(|&&i| correct[i]).count(), inside.len());
        let mean = inside.iter().map(|&i| confidence[i]).sum::<f64>() / inside.len() as f64;
        total += share(inside.len(), confidence.len()) * (right - mean).abs();
    }
    total
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn metrics_equal_brute_force(
        id in scores(),
        ood in scores(),
        tpr in prop_oneof![Just(0.95), 0.01f64..=1.0],
        seed in any::<u64>(),
    ) {
        let correct: Vec<bool> = (0..id.len()).map(|i| seed >> (i % 64) & 1 == 1).collect();
        let same = |a: f64, b: f64| (a - b).abs() < 1e-12;
        prop_assert!(same(auroc(&id, &ood).unwrap(), brute_auroc(&id, &ood, |_| true)));
        prop_assert!(same(oscr(&id, &correct, &ood).unwrap(), brute_auroc(&id, &ood, |i| correct[i])));
        let threshold = threshold_at_tpr(&id, tpr).unwrap();
        prop_assert_eq!(threshold, brute_threshold(&id, tpr));
        let alarms = share(ood.iter().filter(|s| **s >= threshold).count(), ood.len());
        prop_assert_eq!(fpr_at_tpr(&id, &ood, tpr).unwrap(), alarms);
        prop_assert!(same(aupr_in(&id, &ood).unwrap(), brute_average_precision(&id, &ood)));
        for rate in [auroc(&id, &ood), aupr_in(&id, &ood), aupr_out(&id, &ood), oscr(&id, &correct, &ood)] {
            prop_assert!((0.0..=1.0).contains(&rate.unwrap()));
        }
        let negated = |scores: &[f64]| scores.iter().map(|s| -s).collect::<Vec<_>>();
        let out = brute_average_precision(&negated(&ood), &negated(&id));
        prop_assert!(same(aupr_out(&id, &ood).unwrap(), out));
        let mut sorted = id.clone();
        sorted.sort_by(|a, b| a.partial_cmp(b).unwrap());
        for &score in ood.iter().chain(&id) {
            let below = id.iter().filter(|s| **s <= score).count();
            prop_assert_eq!(p_value(&sorted, score).unwrap(), share(below + 1, id.len() + 1));
        }
        for few in [1, 7, 1_001] {
            let kept = conformal_quantiles(&sorted, few).unwrap();
            prop_assert!(kept.len() <= few && kept.is_sorted());
        }
        let curve = Calibration::measure(&id, Some(&ood)).unwrap();
        prop_assert!(curve.check().is_ok());
        for (at, &t) in curve.thresholds.iter().enumerate() {
            prop_assert_eq!(curve.hit_rate[at], share(id.iter().filter(|s| **s >= t).count(), id.len()));
        }
    }

    #[test]
    fn accuracy_and_calibration_error_equal_brute_force(
        samples in prop::collection::vec((prop_oneof![0.0f64..=1.0, (0u8..=15).prop_map(|n| f64::from(n) / 15.0)], 0usize..4, 0usize..4), 1..80),
        bins in 1usize..20,
    ) {
        let confidence: Vec<f64> = samples.iter().map(|s| s.0).collect();
        let (predicted, truth): (Vec<usize>, Vec<usize>) = samples.iter().map(|s| (s.1, s.2)).unzip();
        let correct: Vec<bool> = samples.iter().map(|s| s.1 == s.2).collect();
        let right = share(correct.iter().filter(|c| **c).count(), samples.len());
        prop_assert_eq!(accuracy(&predicted, &truth).unwrap(), right);
        prop_assert!((ece(&confidence, &correct, bins).unwrap() - brute_ece(&confidence, &correct, bins)).abs() < 1e-12);
    }

    #[test]
    fn metrics_refuse_what_is_no_number(
        id in scores(),
        ood in scores(),
        at in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ) {
        let mut broken = id.clone();
        let place = at.index(id.len());
        broken[place] = value;
        let correct = vec![true; id.len()];
        for outcome in [
            auroc(&broken, &ood), auroc(&ood, &broken),
            aupr_in(&broken, &ood), aupr_out(&ood, &broken),
            fpr_at_tpr(&broken, &ood, 0.95), fpr_at_tpr(&ood, &broken, 0.95),
            oscr(&broken, &correct, &ood), threshold_at_tpr(&broken, 0.95),
            p_value(&broken, 0.0), p_value(&[0.0], value), ece(&broken, &correct, 15),
        ] {
            prop_assert!(outcome.is_err());
        }
        prop_assert!(Calibration::measure(&broken, None).is_err());
    }
}

// --- parsers ---

/// A whole file with bytes replaced, taken out and put in.
fn bent(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0u8..3);
    prop::collection::vec(edit, 0..12).prop_map(move |edits| {
        let mut bytes = whole.clone();
        for (at, value, kind) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, value),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn manifests_are_read_or_refused(bytes in bent(tiny::bundle().pop().unwrap().1)) {
        let _ = Manifest::parse(&bytes);
    }

    #[test]
    fn tensors_are_read_or_refused(bytes in bent(tiny::checkpoint())) {
        if let Ok(tensors) = decode_tensors("file", &bytes) {
            for tensor in tensors.values() {
                prop_assert!(tensor.values.iter().all(|value| value.is_finite()));
                prop_assert_eq!(tensor.shape.iter().product::<usize>(), tensor.values.len());
            }
        }
    }

    #[test]
    fn vocabularies_are_read_or_refused(bytes in bent(tiny::vocabulary().into_bytes())) {
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = Tokenizer::from_vocabulary(text);
        }
    }

    #[test]
    fn any_text_becomes_tokens(text in ".{0,200}") {
        let tokenizer = Tokenizer::from_vocabulary(&tiny::vocabulary()).unwrap();
        let ids = tokenizer.tokenize(&text, 77);
        prop_assert!(ids.len() <= 77 && ids.last() == Some(&tokenizer.end()));
        prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
        let _ = tokenizer.decode(&ids);
    }

    #[test]
    fn pictures_are_read_or_refused((extension, bytes) in prop::sample::select(images::whole()).prop_flat_map(|(extension, bytes)| (Just(extension), bent(bytes)))) {
        let limits = DecodeLimits { max_pixels: 1_000_000 };
        if let Ok(picture) = decode(&bytes, &limits) {
            let pixels = preprocess(&picture, &Preprocessing::openai(32));
            prop_assert!(pixels.iter().all(|value| value.is_finite()), "{}", extension);
        }
    }
}
