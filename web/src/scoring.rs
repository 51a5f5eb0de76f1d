//! From an image feature to what the page shows, with the functions that the trainer uses.

use std::collections::BTreeMap;

use shared::bundle::{Map, MethodEntry};
use shared::metric::MetricError;
use shared::score::{ClassFeatures, ImageFeatures, Input, ScoreError};

use crate::message::{MethodScore, Scores};

/// Points of the map that pull at a photo.
const NEIGHBOURS: usize = 8;
/// How much more a nearer neighbour pulls: weights are `exp(SHARPNESS · cosine)`.
const SHARPNESS: f32 = 30.0;

/// Why a photo has no score.
#[derive(Debug, thiserror::Error)]
pub enum ScoringError {
    /// A feature or class list that does not fit.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// A calibration that cannot be used.
    #[error(transparent)]
    Metric(#[from] MetricError),
}

/// Scores an image against classes with every method that they and what is known of the image have the
/// inputs for.
///
/// # Errors
/// A feature of another width, or one that is not finite.
pub fn score(
    image: &ImageFeatures,
    classes: &ClassFeatures,
    methods: &[MethodEntry],
    place: Option<[f32; 2]>,
) -> Result<Scores, ScoringError> {
    let buffer = classes.compare(image)?;
    let similarities = buffer.one()?;
    let mut scores = Scores {
        methods: Vec::new(),
        positive: highest(similarities.get(Input::Positive)),
        negative: highest(similarities.get(Input::Negative)),
        place,
    };
    for entry in methods {
        let Some(method) = entry.method() else {
            continue;
        };
        if method.needs().iter().all(|input| similarities.has(*input)) {
            let explanation = method.explain(&similarities, &entry.settings)?;
            let p_value = entry.p_value(explanation.score)?;
            scores.methods.push(MethodScore {
                id: entry.id.clone(),
                p_value,
                explanation,
            });
        }
    }
    Ok(scores)
}

/// An image of which only its feature is known.
pub fn whole(feature: &[f32]) -> ImageFeatures<'_> {
    ImageFeatures {
        global: feature,
        ..ImageFeatures::default()
    }
}

fn highest(cosines: &[f32]) -> Option<f32> {
    cosines.iter().copied().max_by(f32::total_cmp)
}

/// Where an image feature belongs on the map: between the points whose features are nearest.
///
/// `map_features` is `[points, d]`, rows of unit length in the order of the map's points.
pub fn place(image_feature: &[f32], map: &Map, map_features: &[f32]) -> Option<[f32; 2]> {
    let width = image_feature.len();
    let length = image_feature
        .iter()
        .map(|value| value * value)
        .sum::<f32>()
        .sqrt();
    if width == 0 || map_features.len() != map.points.len() * width || length <= f32::EPSILON {
        return None;
    }
    let mut nearest: Vec<(f32, usize)> = map_features
        .chunks_exact(width)
        .map(|row| {
            row.iter()
                .zip(image_feature)
                .map(|(a, b)| a * b)
                .sum::<f32>()
                / length
        })
        .enumerate()
        .map(|(index, cosine)| (cosine, index))
        .collect();
    nearest.sort_by(|a, b| b.0.total_cmp(&a.0));
    nearest.truncate(NEIGHBOURS);
    let top = nearest.first()?.0;
    let (mut x, mut y, mut sum) = (0.0, 0.0, 0.0);
    for (cosine, index) in nearest {
        let weight = ((cosine - top) * SHARPNESS).exp();
        x += weight * map.points[index].x;
        y += weight * map.points[index].y;
        sum += weight;
    }
    let place = [x / sum, y / sum];
    place.iter().all(|value| value.is_finite()).then_some(place)
}

/// The scores, ascending, that each usable method gives to photos of none of the bundle's classes.
/// Those of the map (its points that have no label) are many, but only whole; methods that take
/// patches get those `with_patches`.
///
/// This is what an edited class list can be held against. Nobody has measured photos of the new
/// classes, but what belongs to nothing is there.
///
/// # Errors
/// Features of another width than the classes'.
pub fn outsiders(
    map: Option<&Map>,
    map_features: &[f32],
    with_patches: &[ImageFeatures],
    classes: &ClassFeatures,
    methods: &[MethodEntry],
) -> Result<BTreeMap<String, Vec<f64>>, ScoringError> {
    let mut outsiders: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let points = map.map_or(&[][..], |map| &map.points);
    let rows = map_features.chunks_exact(classes.embed_dim.max(1));
    let of_map = points.iter().zip(rows);
    let of_map = of_map.filter(|(point, _)| point.label.is_none());
    let of_map: Vec<ImageFeatures> = of_map.map(|(_, feature)| whole(feature)).collect();
    for (photos, patches) in [(&of_map[..], false), (with_patches, true)] {
        let methods: Vec<MethodEntry> = methods
            .iter()
            .filter(|entry| {
                let method = entry.method();
                method.is_some_and(|method| method.takes_patches() == patches)
            })
            .cloned()
            .collect();
        for photo in photos {
            for method in score(photo, classes, &methods, None)?.methods {
                let scores = outsiders.entry(method.id).or_default();
                scores.push(method.explanation.score);
            }
        }
    }
    for scores in outsiders.values_mut() {
        scores.sort_by(f64::total_cmp);
    }
    Ok(outsiders)
}

#[cfg(test)]
mod tests {

    use shared::bundle::MapPoint;
    use shared::score::{MethodSettings, Verdict};

    use super::*;

    fn classes() -> ClassFeatures {
        ClassFeatures {
            embed_dim: 2,
            logit_scale: 10.0,
            positive: vec![1.0, 0.0, 0.0, 1.0],
            negative: vec![-1.0, 0.0, 0.0, -1.0],
            ..ClassFeatures::default()
        }
    }

    fn entry(id: &str) -> MethodEntry {
        let settings = MethodSettings::at_temperature(0.1);
        let id_scores = [1.0, 2.0, 3.0, 4.0];
        MethodEntry::measure(id, settings, &id_scores, None, 1.0, BTreeMap::new()).unwrap()
    }

    #[test]
    fn methods_without_their_inputs_are_left_out() {
        let methods = [entry("negprompt"), entry("energy")];
        let scores = score(&whole(&[3.0, 0.3]), &classes(), &methods, None).unwrap();
        assert_eq!(scores.methods.len(), 1);
        let negprompt = scores.method("negprompt").unwrap();
        assert_eq!(negprompt.explanation.predicted, 0);
        let verdict = Verdict::from_score(negprompt.explanation.score, methods[0].threshold);
        assert_eq!(verdict, Verdict::In);
        assert!((scores.positive.unwrap() - 0.995).abs() < 1e-3);
        assert!((scores.negative.unwrap() + 0.0995).abs() < 1e-3);
        assert!(score(&whole(&[1.0]), &classes(), &methods, None).is_err());
    }

    #[test]
    fn methods_of_patches_take_part_where_there_are_patches() {
        let classes = ClassFeatures {
            zero_shot: vec![1.0, 0.0, 0.0, 1.0],
            ..classes()
        };
        let methods = [entry("mcm"), entry("gl-mcm")];
        let found = |patches: &[f32]| {
            let image = ImageFeatures {
                global: &[3.0, 0.3],
                patches,
            };
            let scores = score(&image, &classes, &methods, None).unwrap();
            let ids = scores.methods.iter().map(|method| method.id.clone());
            ids.collect::<Vec<_>>()
        };
        assert_eq!(found(&[]), ["mcm"]);
        assert_eq!(found(&[1.0, 0.0, 0.5, 0.5]), ["mcm", "gl-mcm"]);
    }

    #[test]
    fn what_has_no_label_is_an_outsider() {
        let point = |label: Option<&str>| MapPoint {
            x: 0.0,
            y: 0.0,
            series: 0,
            label: label.map(str::to_owned),
        };
        let map = Map {
            title: String::new(),
            series: vec![String::new()],
            points: vec![point(None), point(Some("cup")), point(None)],
        };
        let features = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
        let methods = [entry("negprompt"), entry("energy"), entry("gl-mcm")];
        let found = outsiders(Some(&map), &features, &[], &classes(), &methods).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["negprompt"]);
        let alone = |feature: &[f32]| {
            let scores = score(&whole(feature), &classes(), &methods, None).unwrap();
            scores.method("negprompt").unwrap().explanation.score
        };
        let expected = [alone(&[-1.0, 0.0]), alone(&[1.0, 0.0])];
        assert!(expected[0] < expected[1]);
        assert_eq!(found["negprompt"], expected);
        assert!(
            outsiders(Some(&map), &[], &[], &classes(), &methods)
                .unwrap()
                .is_empty()
        );
        // With patches there are scores by what takes them, and by nothing else.
        let photos = [ImageFeatures {
            global: &[1.0, 0.0],
            patches: &[1.0, 0.0, 0.0, 1.0],
        }];
        let classes = ClassFeatures {
            zero_shot: vec![1.0, 0.0, 0.0, 1.0],
            ..classes()
        };
        let found = outsiders(None, &[], &photos, &classes, &methods).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["gl-mcm"]);
        assert_eq!(found["gl-mcm"].len(), 1);
    }

    #[test]
    fn a_photo_lies_where_its_neighbours_lie() {
        let point = |x, y| MapPoint {
            x,
            y,
            series: 0,
            label: None,
        };
        let map = Map {
            title: String::new(),
            series: vec![String::new()],
            points: vec![point(0.0, 0.0), point(10.0, 4.0)],
        };
        let features = [1.0, 0.0, 0.0, 1.0];
        let [x, y] = place(&[5.0, 0.1], &map, &features).unwrap();
        assert!(x < 0.1 && y < 0.1);
        let [x, y] = place(&[1.0, 1.0], &map, &features).unwrap();
        assert!((x - 5.0).abs() < 1e-4 && (y - 2.0).abs() < 1e-4);
        assert_eq!(place(&[1.0], &map, &features), None);
        assert_eq!(place(&[0.0, 0.0], &map, &features), None);
    }
}
