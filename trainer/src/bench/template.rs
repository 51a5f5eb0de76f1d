//! Hand-written prompts in the place of learned ones: how much hangs on their words.
//!
//! The paper's introduction shows that a word more or less in a hand-written prompt, positive or
//! negative, moves the figures by more than methods differ; a learned context takes the choice away.

use anyhow::Result;
use burn::tensor::Device;
use shared::prompt::template;
use shared::score::{ClassFeatures, Input, Mcm, Method, NegPrompt};

use super::row::Row;
use crate::model::ModelDirectory;
use crate::training::labels::encode_names;

/// Prompts with `{}` for the class name; of several, the direction of their mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Which learned prompts they stand for.
    pub side: Side,
    /// The prompts.
    pub prompts: Vec<&'static str>,
}

/// Which of the learned prompts a template takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The positive ones: scored by MCM, as the learned ones by CoOp.
    Positive,
    /// The negative ones, one a class, beside the learned positive ones: scored by NegPrompt.
    Negative,
}

/// Hand-written positive prompts, from the bare name to the one that most papers use.
const POSITIVE: [&str; 7] = [
    "{}",
    "a {}",
    "a photo of {}",
    template::PHOTO,
    "a blurry photo of a {}.",
    "art of the {}.",
    "itap of a {}.",
];

/// Hand-written negative prompts beside those of [`template::NO`].
const NEGATIVE: [&str; 3] = ["no {}", "not {}", "a photo of something else than a {}."];

/// The templates of the sensitivity suite: single prompts, then the mean of several.
pub fn templates() -> Vec<Template> {
    let of = |side: Side, prompts: &[&'static str]| Template {
        side,
        prompts: prompts.to_vec(),
    };
    let singles = |side: Side, prompts: &[&'static str]| -> Vec<Template> {
        prompts.iter().map(|&prompt| of(side, &[prompt])).collect()
    };
    [
        singles(Side::Positive, &POSITIVE),
        vec![of(Side::Positive, &template::ENSEMBLE)],
        singles(Side::Negative, &NEGATIVE),
        singles(Side::Negative, &template::NO),
        vec![of(Side::Negative, &template::NO)],
    ]
    .concat()
}

impl Template {
    /// What scores it.
    pub fn method(&self) -> &'static dyn Method {
        match self.side {
            Side::Positive => &Mcm,
            Side::Negative => &NegPrompt,
        }
    }

    /// What must be learned for it.
    pub fn needs(&self) -> &'static [Input] {
        match self.side {
            Side::Positive => &[],
            Side::Negative => &[Input::Positive],
        }
    }

    /// What tells its row from others: `“a photo of a {}.”`.
    pub fn title(&self) -> String {
        match self.prompts.as_slice() {
            [prompt] => format!("“{prompt}”"),
            prompts => format!("mean of {} prompts", prompts.len()),
        }
    }

    /// The class features with its prompts in the place of the learned ones.
    pub fn put_into(
        &self,
        classes: &ClassFeatures,
        model: &ModelDirectory,
        names: &[String],
        device: &Device,
    ) -> Result<ClassFeatures> {
        let features = encode_names(model, names, &self.prompts, device)?;
        let mut classes = classes.clone();
        match self.side {
            Side::Positive => classes.zero_shot = features,
            Side::Negative => classes.negative = features,
        }
        Ok(classes)
    }
}

/// One sentence on each side: how far apart the templates lie, in means over seeds.
pub fn spread(rows: &[Row]) -> Vec<String> {
    let sides = [
        ("positive", Side::Positive, "coop"),
        ("negative", Side::Negative, "negprompt"),
    ];
    sides
        .into_iter()
        .filter_map(|(name, side, learned)| {
            let titles: Vec<String> = templates()
                .iter()
                .filter(|template| template.side == side && template.prompts.len() == 1)
                .map(Template::title)
                .collect();
            let of_titles = titles
                .iter()
                .filter_map(|title| mean_auroc(rows, title, None));
            let rates: Vec<f64> = of_titles.collect();
            let lowest = rates.iter().copied().reduce(f64::min)?;
            let highest = rates.iter().copied().reduce(f64::max)?;
            let learned = mean_auroc(rows, "", Some(learned))?;
            Some(format!(
                "{} hand-written {name} prompts: average AUROC from {:.1} to {:.1}; learned {name} \
                 contexts: {:.1}.",
                rates.len(),
                100.0 * lowest,
                100.0 * highest,
                100.0 * learned
            ))
        })
        .collect()
}

fn mean_auroc(rows: &[Row], variant: &str, id: Option<&str>) -> Option<f64> {
    let rates: Vec<f64> = rows
        .iter()
        .filter(|row| row.variant == variant && id.is_none_or(|id| row.method.id == id))
        .filter_map(|row| Some(row.method.average?.auroc))
        .collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_names_the_class_once_and_has_a_title_of_its_own() {
        let all = templates();
        for (place, template) in all.iter().enumerate() {
            assert!(
                template
                    .prompts
                    .iter()
                    .all(|prompt| prompt.matches("{}").count() == 1)
            );
            let twins = all[..place]
                .iter()
                .filter(|other| (other.title(), other.side) == (template.title(), template.side));
            assert_eq!(twins.count(), 0, "{}", template.title());
        }
    }
}
