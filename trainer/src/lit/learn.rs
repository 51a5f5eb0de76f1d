//! What is learned: the joint space, then the text tower, from the start or from a checkpoint.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use shared::bundle::Tensors;
use shared::clip::{ClipConfig, Tokenizer, normalize};

use super::bag::{self, Lessons};
use super::captions::Captions;
use super::concepts::Concepts;
use super::matrix::values;
use super::names::Names;
use super::progress_file::{Checkpoint, Saved};
use super::random::Random;
use super::space::{Space, Teacher};
use super::tower;
use super::train::{self, Aims};
use crate::progress::Progress;

/// Learning rate of the joint space.
const SPACE_RATE: f64 = 1e-3;
/// Synthetic images that captions are compared with, beside the real ones.
const BANK: usize = 4_000;

/// How long, from which seed, and on what.
pub struct Course {
    /// Steps that fit the joint space.
    pub space_steps: usize,
    /// Steps of the bag of words that the text tower starts from.
    pub bag_steps: usize,
    /// Steps of the text tower.
    pub steps: usize,
    pub seed: u64,
    /// Steps between checkpoints.
    pub save_every: usize,
    /// Go on from the checkpoint, if there is one.
    pub resume: bool,
    pub device: Device,
}

/// Fits the joint space and trains the text tower, from the start or from a checkpoint.
pub fn learn(
    run: &Course,
    concepts: &Concepts,
    tokenizer: &Tokenizer,
    teacher: &Teacher,
    config: &ClipConfig,
    checkpoint: &Checkpoint,
) -> Result<(Space, Tensors)> {
    let autodiff = run.device.clone().autodiff();
    let rank = config.text.width;
    let saved = match run.resume {
        true => checkpoint.open(train::optimizer(), &run.device)?,
        false => None,
    };
    let saved = match saved {
        Some(saved) => saved,
        None => {
            let mut random = Random::new(run.seed, 1);
            let start = teacher.start(rank, config.embed_dim, &mut random)?;
            let space = teacher.fit(start, &[], run.space_steps, SPACE_RATE, &mut random)?;
            Saved {
                step: 0,
                space,
                text: Tensors::new(),
                optimizer: train::optimizer(),
            }
        }
    };
    let Saved {
        step: done,
        space,
        text,
        mut optimizer,
    } = saved;
    let (captions, aims) = captions(
        concepts,
        tokenizer,
        teacher,
        &space,
        (run.seed, config.embed_dim),
    )?;
    let text = if text.is_empty() {
        let lessons = Lessons {
            concepts,
            tokenizer,
            teacher,
            space: &space,
            captions: &captions,
            aims: &aims,
        };
        let text = bag::start(
            &lessons,
            &config.text,
            config.embed_dim,
            (run.bag_steps, run.seed),
            &autodiff,
        )?;
        checkpoint.save(0, &space, &text, &optimizer)?;
        text
    } else {
        text
    };
    let mut tower = tower::load(&text, &config.text, config.embed_dim, &autodiff)?;
    let names = Names::new(concepts, tokenizer, &tower, teacher, &space);
    let progress = Progress::new("text tower", "steps", run.steps as u64);
    progress.skip(done as u64);
    for step in done..run.steps {
        let at = (step, run.steps);
        let (next, loss) = train::step(
            tower,
            &mut optimizer,
            &captions,
            &names,
            &aims,
            at,
            run.seed,
        )?;
        tower = next;
        progress.note(format!("loss {loss:.3}"));
        progress.advance(1);
        if (step + 1) % run.save_every == 0 {
            checkpoint.save(step + 1, &space, &tower::tensors(&tower)?, &optimizer)?;
        }
    }
    progress.finish();
    Ok((space, tower::tensors(&tower)?))
}

/// The captions with their targets, and what the tower's features are compared with.
fn captions(
    concepts: &Concepts,
    tokenizer: &Tokenizer,
    teacher: &Teacher,
    space: &Space,
    (seed, d): (u64, usize),
) -> Result<(Captions, Aims)> {
    let mut random = Random::new(seed, 4);
    let (synthetic, _) = teacher.synthetic(BANK, &mut random)?;
    let pooled = Tensor::cat(vec![synthetic, teacher.photos.clone()], 0);
    let images = teacher.image_features(space, pooled);
    let unit = normalize(space.prototypes.clone());
    let [count, rank] = unit.dims();
    let rest = Tensor::zeros([count, d - rank], &unit.device());
    let prototypes = Tensor::cat(vec![unit, rest], 1);
    let mut thing = values(images.clone().mean_dim(0))?;
    thing[rank..].fill(0.0);
    let rows = values(prototypes.clone())?
        .chunks_exact(d)
        .map(<[f32]>::to_vec)
        .collect();
    let thing = super::meaning::unit(thing);
    Ok((
        Captions::new(concepts, tokenizer, rows, &thing),
        Aims { prototypes, images },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lit::space::Labels;
    use crate::lit::templates;
    use shared::clip::ImageTowerConfig;
    use shared::clip::config::EfficientNetLiteConfig;
    use shared::clip::preprocess::Preprocessing;

    const CLASSES: usize = 8;
    const WIDTH: usize = 9;

    fn corpus() -> Concepts {
        let names = [
            "tench", "hen", "drake", "kite", "wok", "vase", "yawl", "sax",
        ];
        let mut lines: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                format!(
                    r#"{{"kind":"imagenet","index":{index},"synset":"n0000000{index}","name":"{name}","synonyms":[],"hypernyms":["thing"],"attributes":["wet"]}}"#
                )
            })
            .collect();
        lines.push(r#"{"kind":"caltech","name":"vase","synonyms":[],"same":5}"#.into());
        lines.push(r#"{"kind":"caltech","name":"Faces","synonyms":["face"]}"#.into());
        lines.push(r#"{"kind":"hypernym","name":"bird","synonyms":[],"leaves":[1,2,3]}"#.into());
        lines.push(r#"{"kind":"style","name":"sketch","leaves":[2],"weight":0.4}"#.into());
        Concepts::parse(&lines.join("\n"), CLASSES).unwrap()
    }

    fn teacher() -> Teacher {
        let mut random = Random::new(5, 0);
        let weight = random.normals(CLASSES * WIDTH, 1.0);
        let photos: Vec<usize> = (0..40).map(|photo| photo % 2).collect();
        let features = random.normals(40 * WIDTH, 1.0);
        let labels = Labels {
            photos,
            photographed: vec![5, 8],
            like: vec![],
        };
        let bias = vec![0.1; CLASSES];
        Teacher::new(weight, bias, features, labels, &Device::flex()).unwrap()
    }

    /// A run that was killed after its checkpoint ends where an undisturbed one does, bit for bit.
    #[test]
    fn a_resumed_run_ends_like_an_undisturbed_one() {
        let concepts = corpus();
        let sentences = templates::texts();
        let core = sentences
            .iter()
            .map(String::as_str)
            .chain(concepts.core_texts());
        let merges = Tokenizer::prune(Tokenizer::openai_merges(), core).unwrap();
        let tokenizer = Tokenizer::from_vocabulary(&merges).unwrap();
        let mut text = tower::config(tokenizer.vocabulary_size(), 64, 2);
        (text.width, text.heads, text.mlp_width) = (6, 2, 8);
        let config = ClipConfig {
            name: "tiny".into(),
            embed_dim: 8,
            logit_scale: 1.0,
            image: ImageTowerConfig::EfficientnetLite(EfficientNetLiteConfig::lite0()),
            text,
            preprocessing: Preprocessing::efficientnet_lite(224),
        };
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::new(folder.path(), &[b"run"]);
        let teacher = teacher();
        let mut course = Course {
            space_steps: 400,
            bag_steps: 5,
            steps: 6,
            seed: 3,
            save_every: 4,
            resume: false,
            device: Device::flex(),
        };
        let learn = |course: &Course| {
            learn(
                course,
                &concepts,
                &tokenizer,
                &teacher,
                &config,
                &checkpoint,
            )
            .unwrap()
        };
        // What is left on the disk is the state after the fourth of six steps.
        let (_, undisturbed) = learn(&course);
        course.resume = true;
        let (_, resumed) = learn(&course);
        assert_eq!(undisturbed, resumed);
        // Other words on the way there would show.
        course.resume = false;
        course.seed = 4;
        assert_ne!(learn(&course).1, resumed);
    }
}
