//! What each suite tries.

use std::fmt::Display;

use clap::ValueEnum;
use shared::score::{Method, method};

use super::template::templates;
use super::trial::{Trial, all_methods};
use crate::training::TrainingConfig;
use crate::training::config::NisLoss;
use crate::training::experiment::ClassSplit;

/// Share of the classes that the open-vocabulary protocol learns.
const LEARNED_SHARE: f64 = 0.1;

/// A collection of trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Every method on the embedded data, or on --data
    Default,
    /// Learn a tenth of the classes, measure with all class names: CoOp, LoCoOp, NegPrompt
    OpenVocabulary,
    /// Half of the classes unknown, photos of the same kind: nothing but the class tells them apart; with
    /// --root, ImageNet-10 against ImageNet-20 and the other way round
    Hard,
    /// NegPrompt without each of its losses, and over p, M and shots
    Ablation,
    /// Hand-written prompts, positive and negative, each a row, against learned contexts
    Sensitivity,
    /// ImageNet-1k against iNaturalist, SUN, Places and Textures, below --root
    Paper,
}

/// What the trials of a suite share.
pub struct SuiteOptions {
    /// The suite's own settings.
    pub config: TrainingConfig,
    /// Seeds of its trials.
    pub seeds: Vec<u64>,
    /// Names of the tasks; none for the embedded features, an empty one for the only task.
    pub tasks: Vec<String>,
    /// Whether ODIN also gets a row with its step on the pixels.
    pub odin_on_pixels: bool,
}

/// The trials of a suite, seed after seed.
pub fn plan(suite: Suite, options: &SuiteOptions) -> Vec<Trial> {
    let all = all_methods();
    let some = |ids: &[&str]| -> Vec<&'static dyn Method> {
        ids.iter().filter_map(|id| method(id)).collect()
    };
    let mut trials = Vec::new();
    for &seed in &options.seeds {
        let config = TrainingConfig {
            seed,
            ..options.config.clone()
        };
        let trial = |variant: String, config: TrainingConfig, split, methods| Trial {
            variant,
            config,
            split,
            methods,
            templates: Vec::new(),
            odin_on_pixels: options.odin_on_pixels,
            task: 0,
        };
        match suite {
            Suite::Default | Suite::Paper => {
                trials.push(trial(String::new(), config, ClassSplit::All, all.clone()));
            }
            Suite::OpenVocabulary => trials.push(trial(
                String::new(),
                config,
                ClassSplit::OpenVocabulary {
                    share: LEARNED_SHARE,
                    seed,
                },
                some(&["negprompt", "coop", "locoop", "locoop-gl", "mcm"]),
            )),
            Suite::Hard if options.tasks.iter().any(|name| !name.is_empty()) => {
                for (task, name) in options.tasks.iter().enumerate() {
                    let config = config.clone();
                    trials.push(Trial {
                        task,
                        ..trial(name.clone(), config, ClassSplit::All, all.clone())
                    });
                }
            }
            Suite::Hard => trials.push(trial(
                String::new(),
                config,
                ClassSplit::HalfUnknown { seed },
                all.clone(),
            )),
            Suite::Sensitivity => trials.push(Trial {
                templates: templates(),
                ..trial(
                    String::new(),
                    config,
                    ClassSplit::All,
                    some(&["negprompt", "coop"]),
                )
            }),
            Suite::Ablation => {
                let own = some(&["negprompt"]);
                trials.extend(
                    ablations(&config).into_iter().map(|(variant, config)| {
                        trial(variant, config, ClassSplit::All, own.clone())
                    }),
                );
            }
        }
    }
    trials
}

/// The variants of the ablation suite by what they change: a title, and the names of the settings with
/// the variants they are. The suite's own settings, whose variant is empty, are in every group.
pub fn ablation_groups(config: &TrainingConfig) -> Vec<(&'static str, Vec<(String, String)>)> {
    let variants = ablations(config);
    let group = |title: &'static str, own: String, belongs: &dyn Fn(&str) -> bool| {
        let others = variants
            .iter()
            .filter(|(variant, _)| !variant.is_empty() && belongs(variant))
            .map(|(variant, _)| (variant.clone(), variant.clone()));
        let mut members: Vec<_> = std::iter::once((own, String::new()))
            .chain(others)
            .collect();
        // Numbers in their order; the losses stay as they are.
        members.sort_by_key(|(name, _)| {
            let number = name
                .rsplit_once(" = ")
                .map(|(_, number)| number.parse::<u64>());
            number.and_then(Result::ok).unwrap_or_default()
        });
        (title, members)
    };
    vec![
        group("Losses", "as it is".into(), &|variant| {
            !variant.contains(" = ")
        }),
        group(
            "Negative prompts a class, p",
            format!("p = {}", config.negatives),
            &|variant| variant.starts_with("p = "),
        ),
        group(
            "Context tokens, M",
            format!("M = {}", config.context_tokens),
            &|variant| variant.starts_with("M = "),
        ),
        group("Shots", format!("shots = {}", config.shots), &|variant| {
            variant.starts_with("shots = ")
        }),
    ]
}

/// The settings as they are, without each loss, and with other numbers of prompts, context tokens
/// and shots.
fn ablations(config: &TrainingConfig) -> Vec<(String, TrainingConfig)> {
    let mut variants = vec![(String::new(), config.clone())];
    let mut vary = |variant: &str, change: &dyn Fn(&mut TrainingConfig)| {
        let mut changed = config.clone();
        change(&mut changed);
        // What comes to the same is run once, under its first name.
        if variants.iter().all(|(_, known)| *known != changed) {
            variants.push((variant.to_owned(), changed));
        }
    };
    vary("without NIS", &|config| config.nis = NisLoss::Off);
    vary("without NPD", &|config| config.beta = 0.0);
    vary("without NND", &|config| config.gamma = 0.0);
    vary("the paper's losses alone", &|config| {
        (config.delta, config.epsilon) = (0.0, 0.0);
    });
    vary("without the joint loss", &|config| config.delta = 0.0);
    vary("with the joint loss", &|config| {
        config.delta = config.delta.max(1.0)
    });
    vary("without mixed images", &|config| config.epsilon = 0.0);
    vary("the released code's losses", &|config| {
        config.nis = NisLoss::Released;
        (config.delta, config.epsilon) = (0.0, 0.0);
    });
    let numbered = |name: &str, value: &dyn Display| format!("{name} = {value}");
    for negatives in [1, 2, 4] {
        vary(&numbered("p", &negatives), &|config| {
            config.negatives = negatives;
        });
    }
    for tokens in [4, 8, 16] {
        vary(&numbered("M", &tokens), &|config| {
            config.context_tokens = tokens;
        });
    }
    for shots in [1, 4, 8, 16] {
        vary(&numbered("shots", &shots), &|config| config.shots = shots);
    }
    variants
}
