//! What a configuration from a file may say: every number is bounded before a tower is built, an
//! image made or memory taken by it.

use super::{
    ClipConfig, EfficientNetLiteConfig, ImageTowerConfig, ResNetConfig, TextTowerConfig, VitConfig,
};
use crate::clip::preprocessing::PreprocessingError;

/// A configuration that no tower can be built from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A number outside what any published model comes near to, or one that others rule out.
    #[error(
        "{field} is {value}, and has to be {range}; use the configuration that belongs to the weights"
    )]
    Field {
        /// The field's path, such as `image.patch_size`.
        field: String,
        /// What it holds.
        value: String,
        /// What it may hold, in words.
        range: String,
    },
    /// Preprocessing that no image can go through.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
}

/// The widest layer, several times that of the largest CLIP.
const MAX_WIDTH: usize = 65_536;
/// The most blocks of a tower or stage.
const MAX_LAYERS: usize = 256;
/// The most tokens that attend to each other: memory grows with their square.
const MAX_TOKENS: usize = 4_096;

impl ClipConfig {
    /// Checks what was read from a file, before anything is built from it.
    ///
    /// # Errors
    /// Naming the first field that is out of range or contradicts another.
    pub fn check(&self) -> Result<(), ConfigError> {
        within("embed_dim", self.embed_dim, 1, MAX_WIDTH)?;
        if !(self.logit_scale.is_normal() && self.logit_scale > 0.0) {
            return refuse("logit_scale", self.logit_scale, "a finite number above 0");
        }
        self.preprocessing.validate()?;
        let (makes, takes) = (self.preprocessing.size as usize, self.image.image_size());
        if makes != takes {
            let range = format!("the {takes} pixels that the image tower takes");
            return refuse("preprocessing.size", makes, range);
        }
        match &self.image {
            ImageTowerConfig::Vit(vit) => vit.check(),
            ImageTowerConfig::ModifiedResnet(resnet) => resnet.check(),
            ImageTowerConfig::EfficientnetLite(efficientnet) => efficientnet.check(self.embed_dim),
        }?;
        self.text.check()
    }
}

impl VitConfig {
    fn check(&self) -> Result<(), ConfigError> {
        within("image.patch_size", self.patch_size, 1, self.image_size)?;
        let side = self.image_size / self.patch_size;
        within("the number of image.patches", side * side, 1, MAX_TOKENS)?;
        within("image.layers", self.layers, 1, MAX_LAYERS)?;
        within("image.mlp_width", self.mlp_width, 1, MAX_WIDTH)?;
        heads("image", self.width, self.heads)
    }
}

impl ResNetConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if self.image_size < 32 || !self.image_size.is_multiple_of(32) {
            return refuse("image.image_size", self.image_size, "a multiple of 32");
        }
        for layers in self.layers {
            within("image.layers", layers, 1, MAX_LAYERS)?;
        }
        within("image.width", self.width, 2, MAX_WIDTH / 32)?;
        if !self.width.is_multiple_of(2) {
            return refuse("image.width", self.width, "even");
        }
        heads("image", self.width * 32, self.heads)
    }
}

impl EfficientNetLiteConfig {
    fn check(&self, embed_dim: usize) -> Result<(), ConfigError> {
        within("image.image_size", self.image_size, 8, MAX_TOKENS)?;
        within("image.stem_width", self.stem_width, 1, MAX_WIDTH)?;
        within("the number of image.stages", self.stages.len(), 1, 64)?;
        let mut channels = self.stem_width;
        for (index, stage) in self.stages.iter().enumerate() {
            let field = |name: &str| format!("image.stages[{index}].{name}");
            within(field("repeats"), stage.repeats, 1, 64)?;
            within(field("kernel"), stage.kernel, 1, 15)?;
            if stage.kernel % 2 == 0 {
                return refuse(field("kernel"), stage.kernel, "odd");
            }
            within(field("stride"), stage.stride, 1, 4)?;
            within(field("expand"), stage.expand, 1, 64)?;
            if stage.input != channels {
                let range = format!("the {channels} channels that come out before");
                return refuse(field("input"), stage.input, range);
            }
            within(field("output"), stage.output, 1, MAX_WIDTH)?;
            channels = stage.output;
        }
        within("image.head_width", self.head_width, 1, MAX_WIDTH)?;
        if !self.projection && self.head_width != embed_dim {
            let range = format!("embed_dim ({embed_dim}) where there is no projection");
            return refuse("image.head_width", self.head_width, range);
        }
        Ok(())
    }
}

impl TextTowerConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if self.layers == 0 {
            // An image tower alone: nothing is built from the rest.
            return Ok(());
        }
        within("text.layers", self.layers, 1, MAX_LAYERS)?;
        within("text.context_length", self.context_length, 2, MAX_TOKENS)?;
        within("text.vocabulary_size", self.vocabulary_size, 1, 1_000_000)?;
        within("text.mlp_width", self.mlp_width, 1, MAX_WIDTH)?;
        heads("text", self.width, self.heads)
    }
}

fn heads(tower: &str, width: usize, heads: usize) -> Result<(), ConfigError> {
    within(format!("{tower}.width"), width, 1, MAX_WIDTH)?;
    within(format!("{tower}.heads"), heads, 1, width)?;
    if width.is_multiple_of(heads) {
        return Ok(());
    }
    let range = format!("a divisor of the width {width}");
    refuse(format!("{tower}.heads"), heads, range)
}

fn within(
    field: impl Into<String>,
    value: usize,
    least: usize,
    most: usize,
) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    refuse(field, value, format!("between {least} and {most}"))
}

fn refuse(
    field: impl Into<String>,
    value: impl ToString,
    range: impl Into<String>,
) -> Result<(), ConfigError> {
    Err(ConfigError::Field {
        field: field.into(),
        value: value.to_string(),
        range: range.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lite0() -> ClipConfig {
        let lite0 = EfficientNetLiteConfig::lite0();
        ClipConfig {
            embed_dim: lite0.head_width,
            preprocessing: crate::clip::Preprocessing::efficientnet_lite(224),
            image: ImageTowerConfig::EfficientnetLite(lite0),
            ..ClipConfig::rn50()
        }
    }

    #[test]
    fn published_models_pass() {
        for config in [
            ClipConfig::rn50(),
            ClipConfig::rn101(),
            ClipConfig::vit_b_32(),
            ClipConfig::vit_b_16(),
            ClipConfig::vit_l_14(),
            ClipConfig::vit_l_14_336(),
            lite0(),
        ] {
            config
                .check()
                .unwrap_or_else(|error| panic!("{}: {error}", config.name));
        }
    }

    /// Each of these once divided by zero, overflowed, or asked for all the memory.
    #[test]
    fn impossible_numbers_are_named() {
        type Damage = fn(&mut VitConfig);
        let broken: [(&str, Damage); 8] = [
            ("image.patch_size", |vit| vit.patch_size = 0),
            ("image.patch_size", |vit| vit.patch_size = 225),
            ("image.patches", |vit| vit.patch_size = 1),
            ("image.layers", |vit| vit.layers = usize::MAX),
            ("image.heads", |vit| vit.heads = 0),
            ("image.heads", |vit| vit.heads = 7),
            ("image.width", |vit| vit.width = usize::MAX),
            ("image.mlp_width", |vit| vit.mlp_width = 0),
        ];
        for (field, damage) in broken {
            let mut config = ClipConfig::vit_b_32();
            if let ImageTowerConfig::Vit(vit) = &mut config.image {
                damage(vit);
            }
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
        let mut config = ClipConfig::rn50();
        config.text.context_length = usize::MAX;
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("text.context_length")
        );
        for logit_scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let config = ClipConfig {
                logit_scale,
                ..ClipConfig::rn50()
            };
            assert!(config.check().is_err(), "{logit_scale}");
        }
        let mut config = lite0();
        if let ImageTowerConfig::EfficientnetLite(lite) = &mut config.image {
            lite.stages[3].stride = 0;
        }
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("image.stages[3].stride")
        );
    }
}
