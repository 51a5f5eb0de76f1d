//! The sentences around a name, by what they say about the picture.

/// What a caption says in relation to the class that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Relation {
    /// The picture shows it.
    Shows,
    /// The picture shows something that looks like it and is not it.
    Resembles,
    /// The picture shows another member of its category.
    Sibling,
    /// The picture shows something else altogether.
    Lacks,
    /// The picture shows it in some style or surroundings.
    Styled,
}

/// Sentences with the weight of each.
type Sentences = (f64, &'static [&'static str]);

/// Relations, how often each is drawn, and their sentences.
pub const RELATIONS: &[(Relation, f64, &[Sentences])] = &[
    (
        Relation::Shows,
        0.70,
        &[(6.0, PLAIN), (1.0, VARIED), (1.5, LONG)],
    ),
    (Relation::Resembles, 0.12, &[(1.0, RESEMBLES)]),
    (Relation::Sibling, 0.06, &[(1.0, SIBLING)]),
    (Relation::Lacks, 0.08, &[(1.0, LACKS)]),
    (Relation::Styled, 0.04, &[(1.0, STYLED)]),
];

/// Sentences whose features are averaged for a zero-shot classifier.
pub const ENSEMBLE: &[&str] = &[
    "a photo of a {}.",
    "a {}.",
    "the {}.",
    "this is a {}.",
    "a photo of the {}.",
    "itap of a {}.",
    "{}.",
];

/// The sentence of a single-template zero-shot classifier.
pub const SINGLE: &str = "a photo of a {}.";

const PLAIN: &[&str] = &[
    "{}.",
    "{}",
    "a photo of a {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a {}.",
    "the {}.",
    "this is a {}.",
    "itap of a {}.",
];

const VARIED: &[&str] = &[
    "a bad photo of a {}.",
    "a good photo of the {}.",
    "a photo of many {}.",
    "a photo of a large {}.",
    "a photo of a small {}.",
    "a close-up photo of a {}.",
    "a cropped photo of the {}.",
    "a bright photo of a {}.",
    "a dark photo of the {}.",
    "a photo of one {}.",
    "a photo of a nice {}.",
    "a photo of my {}.",
    "a photo of a dirty {}.",
    "a photo of a clean {}.",
    "a photo of a weird {}.",
    "a photo of a cool {}.",
    "an image of a {}.",
    "a picture of the {}.",
    "there is a {} in the scene.",
    "a photo of a hard to see {}.",
    "a jpeg corrupted photo of a {}.",
    "a black and white photo of the {}.",
    "a low resolution photo of a {}.",
    "a blurry photo of a {}.",
    "a pixelated photo of the {}.",
    "a type of {}.",
    "a kind of {}.",
    "an example of a {}.",
    "a centred photo of a whole {}.",
    "a real {}.",
    "we see a {} here.",
    "look at this {}.",
    "a photo of a {} in the middle of the picture.",
    "a photo of a {} taken outdoors.",
    "a photo of a {} in a room.",
    "one single {} and nothing else.",
];

const LONG: &[&str] = &[
    "this is a centred and sharp photo that somebody took of one whole {}.",
    "a photo that shows clearly and in good light the thing which we call a {}.",
    "here we see in the middle of the picture a real and typical {}.",
    "in this photo you can see the whole shape and every part of a {}.",
    "what the picture shows is without any doubt a very good example of a {}.",
    "a photo of an object or an animal of the class that is named {}.",
];

const RESEMBLES: &[&str] = &[
    "looks like a {}.",
    "something like a {}.",
    "a thing that resembles a {}.",
    "a photo of something similar to a {}.",
    "not a {} but similar.",
    "almost a {}.",
    "a photo of something that looks like but is not a {}.",
    "easily confused with a {}.",
    "a fake {}.",
    "it is similar to but is not a {}.",
    "a photo of something that looks very much like but really is not a {}.",
    "what people often confuse with but which is in fact not a {}.",
    "a photo of another thing that is easily mistaken for but is not a {}.",
    "this only looks like it but it is certainly not any kind of {}.",
];

const SIBLING: &[&str] = &[
    "another kind of thing in the same category as a {}.",
    "a relative of the {}.",
    "of the same family but not a {}.",
    "something of the same sort as a {}.",
    "a photo of something that belongs to the same category as but is not a {}.",
    "a different member of the same family or group as the {}.",
    "an animal or object of another class related to the {}.",
];

const LACKS: &[&str] = &[
    "not a {}.",
    "no {}.",
    "a photo without a {}.",
    "a photo of something that is not a {}.",
    "anything but a {}.",
    "a photo of anything except a {}.",
    "there is no {} here.",
    "a photo of something completely different that has nothing at all to do with a {}.",
    "a photo in which there is not one single thing like a {}.",
    "this is a photo of something else and it does not show any {}.",
];

/// `{s}` is the style.
const STYLED: &[&str] = &[
    "a {s} of a {}.",
    "a {s} of the {}.",
    "a {} in a {s}.",
    "a {s} with a {}.",
];

/// Words that fill a context up to any length without saying anything.
pub const FILLING: &[&str] = &[
    "a", "an", "the", "of", "photo", "picture", "image", "this", "that", "which", "one", "some",
    "very", "really", "in", "on", "and", "or", "with", "for", "good", "clear", "big", "small",
    "old", "new", "real", "whole", "just", "object", "thing", "animal", "here", "show", "shows",
    "taken", "view",
];

/// Names for nothing in particular.
pub const THINGS: &[&str] = &[
    "thing",
    "object",
    "something",
    "anything",
    "photo",
    "image",
    "picture",
    "unknown object",
    "other thing",
    "everything else",
];

/// All sentences without their blanks to fill, for the vocabulary.
pub fn texts() -> Vec<String> {
    let sentences = RELATIONS.iter().flat_map(|(_, _, groups)| groups.iter());
    sentences
        .flat_map(|(_, texts)| texts.iter())
        .chain(ENSEMBLE)
        .map(|text| text.replace("{s}", " ").replace("{}", " "))
        .chain(FILLING.iter().chain(THINGS).map(|text| (*text).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_names_the_class_once() {
        for (_, _, groups) in RELATIONS {
            for text in groups.iter().flat_map(|(_, texts)| texts.iter()) {
                assert_eq!(text.matches("{}").count(), 1, "{text}");
            }
        }
    }
}
