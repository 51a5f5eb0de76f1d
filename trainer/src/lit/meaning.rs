//! What words and sentences mean: directions in the joint space.

use std::collections::{BTreeMap, HashMap};

use super::concepts::{Concepts, Group};
use super::templates::{Relation, THINGS};

/// Neighbours that a resembling caption stands for, and how sharply the nearest counts more.
const NEIGHBOURS: usize = 8;
const NEIGHBOUR_SHARPNESS: f32 = 8.0;
/// How far a caption that denies a class leads away from it.
const DENIAL: f32 = 0.6;

/// What can stand in the place of a name.
pub struct Item {
    pub tokens: Vec<u32>,
    /// The prototype it names, if it names a class.
    pub row: Option<usize>,
    /// Unit length.
    pub target: Vec<f32>,
}

/// What each relation to each class looks like.
pub fn related(
    concepts: &Concepts,
    prototypes: &[Vec<f32>],
    thing: &[f32],
) -> BTreeMap<Relation, Vec<Vec<f32>>> {
    let groups: HashMap<String, &Group> = concepts
        .hypernyms
        .iter()
        .map(|group| (group.name.to_lowercase(), group))
        .collect();
    // The smallest category that holds the class and two others.
    let siblings = |row: usize| {
        let class = concepts.imagenet.get(row)?;
        let group = class
            .hypernyms
            .iter()
            .filter_map(|name| groups.get(&name.to_lowercase()))
            .find(|group| group.leaves.len() > 2)?;
        let others: Vec<_> = group
            .leaves
            .iter()
            .copied()
            .filter(|&leaf| leaf != row)
            .collect();
        Some(mean_of(prototypes, &others))
    };
    let resembling: Vec<_> = (0..prototypes.len())
        .map(|row| neighbours(prototypes, row))
        .collect();
    let sibling =
        (0..prototypes.len()).map(|row| siblings(row).unwrap_or_else(|| resembling[row].clone()));
    let lacking = prototypes.iter().map(|class| {
        unit(
            thing
                .iter()
                .zip(class)
                .map(|(t, c)| t - DENIAL * c)
                .collect(),
        )
    });
    BTreeMap::from([
        (Relation::Sibling, sibling.collect()),
        (Relation::Lacks, lacking.collect()),
        (Relation::Resembles, resembling),
    ])
}

/// The nearest other prototypes, the nearer the more.
fn neighbours(prototypes: &[Vec<f32>], row: usize) -> Vec<f32> {
    let mut near: Vec<(f32, usize)> = (0..prototypes.len())
        .filter(|&other| other != row)
        .map(|other| (dot(&prototypes[row], &prototypes[other]), other))
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut sum = vec![0.0; prototypes[row].len()];
    for (cosine, other) in near.into_iter().take(NEIGHBOURS) {
        let weight = (NEIGHBOUR_SHARPNESS * cosine).exp();
        sum.iter_mut()
            .zip(&prototypes[other])
            .for_each(|(sum, value)| *sum += weight * value);
    }
    unit(sum)
}

/// Everything that can stand in the place of a name, with how often it does.
pub fn items(
    concepts: &Concepts,
    encode: &impl Fn(&str) -> Vec<u32>,
    prototypes: &[Vec<f32>],
    thing: &[f32],
) -> Vec<(f64, Item)> {
    let mut items = Vec::new();
    let mut add = |weight: f64, texts: Vec<String>, row: Option<usize>, target: &[f32]| {
        let count = texts.len() as f64;
        for text in texts {
            let item = Item {
                tokens: encode(&text),
                row,
                target: target.to_vec(),
            };
            items.push((weight / count, item));
        }
    };
    // Where there is no other word the name stands in.
    let or_name = |texts: Vec<String>, name: &str| {
        if texts.is_empty() {
            vec![name.to_owned()]
        } else {
            texts
        }
    };
    for (row, class) in concepts.imagenet.iter().enumerate() {
        let name = &class.name;
        let target = &prototypes[row];
        add(0.65, vec![name.clone()], Some(row), target);
        add(
            0.25,
            or_name(class.synonyms.clone(), name),
            Some(row),
            target,
        );
        let described = class.attributes.iter().map(|word| format!("{word} {name}"));
        let kinds = class
            .hypernyms
            .iter()
            .take(2)
            .map(|kind| format!("{name}, a kind of {kind}"));
        add(
            0.10,
            or_name(described.chain(kinds).collect(), name),
            Some(row),
            target,
        );
    }
    for (class, row) in concepts
        .photographed
        .iter()
        .zip(concepts.photographed_rows())
    {
        let target = &prototypes[row];
        add(1.6, vec![class.name.clone()], Some(row), target);
        add(
            0.5,
            or_name(class.synonyms.clone(), &class.name),
            Some(row),
            target,
        );
    }
    let names = |group: &Group| group.names().map(str::to_owned).collect::<Vec<_>>();
    for group in &concepts.hypernyms {
        add(
            0.35,
            names(group),
            None,
            &mean_of(prototypes, &group.leaves),
        );
    }
    for group in &concepts.nouns {
        add(
            0.12,
            names(group),
            None,
            &mean_of(prototypes, &group.leaves),
        );
    }
    for group in &concepts.attributes {
        let texts = ["", " thing", " object"].map(|noun| format!("{}{noun}", group.name));
        add(
            0.15,
            texts.to_vec(),
            None,
            &mean_of(prototypes, &group.leaves),
        );
    }
    for group in &concepts.styles {
        add(2.0, names(group), None, &mean_of(prototypes, &group.leaves));
    }
    add(
        10.0,
        THINGS.iter().map(|text| (*text).to_owned()).collect(),
        None,
        thing,
    );
    items
}

/// Direction of the mean of several prototypes.
pub fn mean_of(prototypes: &[Vec<f32>], rows: &[usize]) -> Vec<f32> {
    let width = prototypes.first().map_or(0, Vec::len);
    let mut sum = vec![0.0; width];
    for row in rows {
        sum.iter_mut()
            .zip(&prototypes[*row])
            .for_each(|(sum, value)| *sum += value);
    }
    unit(sum)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Scaled to unit length.
pub fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt().max(1e-12);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_point_where_the_words_say() {
        let concepts = Concepts::parse(crate::lit::concepts::tests::SMALL, 3).unwrap();
        let prototypes: Vec<_> = [
            [1.0, 0.2, 0.0],
            [1.0, -0.2, 0.0],
            [0.0, 0.0, 1.0],
            [0.0, 1.0, 0.3],
        ]
        .map(|vector| unit(vector.to_vec()))
        .to_vec();
        let thing = unit(vec![0.2, 0.2, 0.2]);
        let related = related(&concepts, &prototypes, &thing);
        let (tench, goldfish) = (0, 1);
        let like = &related[&Relation::Resembles][tench];
        assert!(dot(like, &prototypes[goldfish]) > dot(like, &prototypes[2]));
        let without = &related[&Relation::Lacks][tench];
        assert!(dot(without, &prototypes[tench]) < dot(&thing, &prototypes[tench]));
        // "fish" holds only two classes, so its siblings are those that look like it.
        assert_eq!(related[&Relation::Sibling][tench], *like);
    }
}
