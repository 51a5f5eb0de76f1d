//! The rows of a trial before they are made: which there are, what each takes, and what it costs.

use anyhow::Result;
use serde_json::json;
use shared::score::{Input, Method, ODIN_STEP, method};

use super::row::Rows;
use super::template::Template;
use super::trial::Trial;
use crate::training::experiment::Experiment;
use crate::training::labels::NegativeLabels;
use crate::training::run::Learned;

/// What comes from hand-written words: "no" prompts and mined labels.
pub const OF_WORDS: [Input; 4] = [Input::No, Input::Named, Input::Mined, Input::Conjugated];

/// A row that a trial gives.
pub struct Planned<'a> {
    /// What scores it.
    pub method: &'static dyn Method,
    /// What tells it from other rows of the method: what the trial changes, or the template.
    pub variant: String,
    /// The hand-written prompts in the place of learned ones.
    pub template: Option<&'a Template>,
    /// Whether the pixels of an image take a step before it is scored, as published for ODIN.
    pub on_pixels: bool,
}

impl Trial {
    /// The rows that the data can serve.
    pub fn planned(&self, experiment: &Experiment) -> Vec<Planned<'_>> {
        let methods = self.methods.iter().copied();
        let of_methods = methods
            .filter(|method| why_not(*method, experiment, self).is_none())
            .map(|method| Planned {
                method,
                variant: self.variant.clone(),
                template: None,
                on_pixels: false,
            });
        let on_pixels = method("odin")
            .filter(|_| self.odin_on_pixels && experiment.has_images())
            .filter(|odin| self.methods.iter().any(|method| method.id() == odin.id()))
            .filter(|odin| why_not(*odin, experiment, self).is_none())
            .map(|method| Planned {
                method,
                variant: match self.variant.as_str() {
                    "" => "on pixels".to_owned(),
                    variant => format!("on pixels, {variant}"),
                },
                template: None,
                on_pixels: true,
            });
        let of_templates = self.templates.iter().map(|template| Planned {
            method: template.method(),
            variant: template.title(),
            template: Some(template),
            on_pixels: false,
        });
        of_methods.chain(on_pixels).chain(of_templates).collect()
    }
}

impl Planned<'_> {
    /// Its name in the tables and figures.
    pub fn name(&self) -> String {
        match self.variant.as_str() {
            "" => self.method.name().to_owned(),
            variant => format!("{}, {variant}", self.method.name()),
        }
    }

    /// What must be learned for it.
    pub fn needs(&self) -> &'static [Input] {
        match self.template {
            None => self.method.needs(),
            Some(template) => template.needs(),
        }
    }

    /// The key of its row, for a trial that depends on these.
    pub fn key(&self, rows: &Rows, depends: &serde_json::Value) -> Result<String> {
        let mut parts = json!({"method": self.method.id(), "trial": depends});
        if let Some(template) = self.template {
            parts["template"] = json!(template.prompts);
        }
        if self.on_pixels {
            parts["on pixels"] = json!(ODIN_STEP);
        }
        rows.key(&parts)
    }
}

/// What a method takes that a trial cannot give; none when it has a row.
pub fn why_not(
    method: &dyn Method,
    experiment: &Experiment,
    trial: &Trial,
) -> Option<&'static str> {
    let needs = |wanted: &[Input]| method.needs().iter().any(|need| wanted.contains(need));
    if (method.takes_patches() || needs(&[Input::LoCoOp])) && !experiment.has_patches() {
        return Some(
            "features of patches, which the embedded features do not hold and `--without-patches` leaves out (run the suite on images with `--data`)",
        );
    }
    if needs(&OF_WORDS) && trial.config.label_pool == 0 {
        return Some("a pool of words, which `--label-pool 0` leaves out");
    }
    if needs(&OF_WORDS) && trial.split.is_open_vocabulary() {
        return Some("a pool of words, which this suite leaves out");
    }
    if needs(&[Input::Probe]) && trial.split.is_open_vocabulary() {
        return Some("a probe, which knows only the classes it learned");
    }
    None
}

/// All kinds of similarities that must be learned for some row.
pub fn needed(planned: &[Planned]) -> Vec<Input> {
    let mut needed: Vec<Input> = planned
        .iter()
        .flat_map(|row| row.needs().iter().copied())
        .collect();
    needed.sort_unstable();
    needed.dedup();
    needed
}

/// Seconds of the stages that give these kinds of similarities.
pub fn learning_seconds(
    needs: &[Input],
    learned: &Learned,
    labels: Option<&NegativeLabels>,
) -> f64 {
    let stage = |name: &str| learned.timings.get(name).copied().unwrap_or_default();
    let needs = |input: Input| needs.contains(&input);
    let mut seconds = 0.0;
    if needs(Input::Positive) {
        seconds += stage("stage 1: positive prompts");
    }
    if needs(Input::Negative) {
        seconds += stage("stage 2: negative prompts");
    }
    if needs(Input::Probe) {
        seconds += stage("linear probe");
    }
    if needs(Input::LoCoOp) {
        seconds += stage("LoCoOp");
    }
    if let Some(labels) = labels {
        if needs(Input::Mined) || needs(Input::Conjugated) {
            seconds += labels.seconds;
        }
        if needs(Input::No) {
            seconds += labels.no_seconds;
        }
    }
    seconds
}
