//! What a training run is told, and the defaults.

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use shared::prompt::ACTIVATION_MEMORY;

/// Which form of the image loss stage 2 uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NisLoss {
    /// The paper's: cross-entropy of the uniform distribution with the softmax over all negatives
    #[default]
    Paper,
    /// The released code's: a multi-label soft margin, with its own signs for NPD and NND
    Released,
    /// None: NPD and NND alone, for ablations
    Off,
}

/// Words that negative labels are mined from where nothing else is asked for.
pub const LABEL_POOL: usize = 8000;

/// How prompts are learned.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingConfig {
    /// Images a class to learn from; the other training images calibrate the threshold
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub shots: usize,

    /// Learned vectors in a context (M)
    #[arg(long, default_value_t = 16, value_name = "M")]
    pub context_tokens: usize,

    /// Negative prompts a class (p)
    #[arg(long, default_value_t = 2, value_name = "P")]
    pub negatives: usize,

    /// Learn contexts for each class by itself; they do not transfer to other classes
    #[arg(long)]
    pub class_specific: bool,

    /// Words that positive contexts start from
    #[arg(long, default_value = "a photo of a", value_name = "TEXT")]
    pub positive_start: String,

    /// Words that negative contexts start from
    #[arg(long, default_value = "a photo of a", value_name = "TEXT")]
    pub negative_start: String,

    /// Steps of stage 1 (positive contexts)
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub positive_steps: usize,

    /// Steps of stage 2 (negative contexts)
    #[arg(long, default_value_t = 80, value_name = "N")]
    pub negative_steps: usize,

    /// Images in a batch
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub batch: usize,

    /// Let each step's softmax run over N classes only: those of its images and others drawn anew
    /// at random. For very many classes, where a step costs as much as it has classes. Biased: the
    /// classes left out do not compete, so that the loss of a step is too low, and a negative is
    /// kept apart from fewer others; the bias falls as N nears the number of classes
    #[arg(long, value_name = "N", conflicts_with = "class_specific")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_sample: Option<usize>,

    /// Most memory for what a step on the CPU keeps for its way back, in GiB. What does not fit is
    /// computed a second time, which makes a step up to half again as long and changes no result: the
    /// default holds 1,000 classes with two contexts in ViT-B/16's text tower, and a larger value is
    /// for more of them
    #[arg(long, default_value_t = default_activation_memory(), value_name = "GIB")]
    #[serde(skip, default = "default_activation_memory")]
    pub activation_memory: f64,

    /// Highest learning rate of stage 1; it rises over the first steps and falls as a cosine
    #[arg(long, default_value_t = 0.02, value_name = "RATE")]
    pub positive_rate: f64,

    /// Highest learning rate of stage 2
    #[arg(long, default_value_t = 0.05, value_name = "RATE")]
    pub negative_rate: f64,

    /// Weight of NPD, which keeps a negative near its class (β)
    #[arg(long, default_value_t = 0.1, value_name = "WEIGHT")]
    pub beta: f64,

    /// Weight of NND, which keeps the negatives of a class apart (γ)
    #[arg(long, default_value_t = 0.05, value_name = "WEIGHT")]
    pub gamma: f64,

    /// Weight of the joint cross-entropy: an image must be nearer to its own positive than to any
    /// negative (δ; not in the paper, 0 leaves it out)
    #[arg(long, default_value_t = 0.0, value_name = "WEIGHT")]
    pub delta: f64,

    /// Weight of the mixed images, means of two training images of different classes, which must
    /// be nearer to the negatives than to any positive (ε; not in the paper, 0 leaves it out)
    #[arg(long, default_value_t = 1.0, value_name = "WEIGHT")]
    pub epsilon: f64,

    /// Form of the image loss of stage 2
    #[arg(long, value_enum, default_value_t = NisLoss::Paper)]
    pub nis: NisLoss,

    /// Most words of WordNet that negative labels are mined from, evenly thinned (the compact model
    /// knows fewer), 9 or more; 0 leaves NegLabel, CSP, CLIPN and NegPrompt with mined labels out
    #[arg(long, default_value_t = LABEL_POOL, value_name = "N")]
    pub label_pool: usize,

    /// Seed of every choice: shots, starts, batches; repeats bit for bit on the CPU backend
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
}

/// The fewest words of WordNet that give a negative label: of 9 words 7 are nouns, and 15 % of 7 is one.
const LEAST_LABEL_POOL: usize = 9;
/// The most negative prompts a class; a bundle holds no more.
const MOST_NEGATIVES: usize = 1_024;
/// The largest rate, or weight of a part of a loss: losses are of the order of 1.
const LARGEST_WEIGHT: f64 = 1e6;
/// The most steps of a stage: days of work.
const MOST_STEPS: usize = 10_000_000;

const GIBIBYTE: f64 = 1_073_741_824.0;

fn default_activation_memory() -> f64 {
    ACTIVATION_MEMORY as f64 / GIBIBYTE
}

impl TrainingConfig {
    /// [`TrainingConfig::activation_memory`] in bytes.
    pub fn activation_bytes(&self) -> usize {
        (self.activation_memory * GIBIBYTE) as usize
    }

    /// Checks what can be checked without model and data.
    ///
    /// # Errors
    /// Naming the option, what it holds and what it may hold.
    pub fn check(&self) -> Result<()> {
        for (option, value, least, most) in [
            ("--shots", self.shots, 1, usize::MAX),
            ("--batch", self.batch, 1, usize::MAX),
            ("--context-tokens", self.context_tokens, 1, usize::MAX),
            ("--negatives", self.negatives, 1, MOST_NEGATIVES),
            ("--positive-steps", self.positive_steps, 0, MOST_STEPS),
            ("--negative-steps", self.negative_steps, 0, MOST_STEPS),
        ] {
            ensure!(value >= least, "{option} {value}: give {least} or more");
            ensure!(value <= most, "{option} {value}: give {most} or less");
        }
        ensure!(
            self.label_pool == 0 || self.label_pool >= LEAST_LABEL_POOL,
            "--label-pool {}: so few words give no negative label; give {LEAST_LABEL_POOL} or more, or 0 to leave the methods with labels out",
            self.label_pool
        );
        ensure!(
            self.class_sample != Some(0),
            "--class-sample 0: give 1 or more"
        );
        ensure!(
            self.class_sample.is_none() || !self.class_specific,
            "--class-sample and --class-specific exclude each other: leave one out"
        );
        for (option, value) in [
            ("--positive-rate", self.positive_rate),
            ("--negative-rate", self.negative_rate),
            ("--beta", self.beta),
            ("--gamma", self.gamma),
            ("--delta", self.delta),
            ("--epsilon", self.epsilon),
            ("--activation-memory", self.activation_memory),
        ] {
            ensure!(
                value.is_finite() && value >= 0.0,
                "{option} {value}: give a number, 0 or more"
            );
            ensure!(
                value <= LARGEST_WEIGHT || option == "--activation-memory",
                "{option} {value}: give {LARGEST_WEIGHT} or less; beyond it what is learned overflows"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        training: TrainingConfig,
    }

    #[test]
    fn weights_and_rates_are_bounded_and_named() {
        let told = |option: &str, value: &str| {
            let line = Line::try_parse_from(["trainer", &format!("{option}={value}")]);
            let checked = line.expect("a number").training.check();
            checked.map_err(|error| error.to_string())
        };
        for option in [
            "--positive-rate",
            "--negative-rate",
            "--beta",
            "--gamma",
            "--delta",
            "--epsilon",
        ] {
            told(option, "10000").unwrap();
            for wrong in ["1e38", "-1", "nan", "inf"] {
                let error = told(option, wrong).unwrap_err();
                assert!(error.starts_with(&format!("{option} ")), "{error}");
            }
        }
        told("--label-pool", "0").unwrap();
        told("--label-pool", "9").unwrap();
        for too_few in ["1", "8"] {
            let error = told("--label-pool", too_few).unwrap_err();
            assert!(error.contains("give 9 or more, or 0"), "{error}");
        }
        told("--activation-memory", "1e7").unwrap();
        assert!(told("--activation-memory", "inf").is_err());
    }
}
