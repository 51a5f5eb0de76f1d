//! The parsers under fuzzing, from the same source files as the trainer and the page.
//!
//! `shared` is a dependency without Burn. The trainer is a program and brings Burn with it, so that
//! its readers of files are compiled in here by their paths.
#![allow(dead_code, unused_imports)]

pub mod seeds;
pub mod target;

#[path = "../../web/src/class_list.rs"]
mod class_list;
#[path = "../../trainer/src/data/mod.rs"]
mod data;
mod features;
#[path = "../../tests/src/hostile/mod.rs"]
mod hostile;
mod lit;
#[path = "../../trainer/src/output/mod.rs"]
mod output;
#[path = "../../trainer/src/checkpoint/pickle.rs"]
mod pickle;

/// What `hostile` takes from a tower that needs Burn: the bundle's known answer, which no parser
/// computes again.
mod large {
    use shared::bundle::Tensors;
    use shared::clip::ClipConfig;

    pub fn image_feature(config: &ClipConfig, _: &Tensors, _: &[f32]) -> Vec<f32> {
        vec![0.25; config.embed_dim]
    }

    pub fn mean_patch(config: &ClipConfig, _: &Tensors, _: &[f32]) -> Vec<f32> {
        vec![0.5; config.embed_dim]
    }
}

/// What `output` takes from the trainer's reports.
mod report {
    pub fn to_json<T: serde::Serialize>(value: &T) -> anyhow::Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(value)?)
    }
}
