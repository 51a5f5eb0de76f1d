//! How large a tower's tensors are, for devices that bound the size of a buffer.

use super::{ClipConfig, EfficientNetLiteConfig, ImageTowerConfig, ResNetConfig, VitConfig};

/// Bytes of a value on a device.
const BYTES: u64 = 4;

/// The largest buffers that an image tower needs, in bytes of single precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LargestBuffers {
    /// Of one tensor of weights.
    pub weight: u64,
    /// Of one intermediate result for one image: a batch needs it as many times.
    pub image: u64,
}

impl LargestBuffers {
    /// The most images at a time, at most `wanted`, for which every buffer has at most `limit`
    /// bytes; none when not even one image fits.
    pub fn batch(&self, limit: u64, wanted: usize) -> Option<usize> {
        if self.weight > limit {
            return None;
        }
        let fitting = limit.checked_div(self.image).unwrap_or(u64::MAX);
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX).min(wanted);
        (fitting > 0).then_some(fitting)
    }

    /// The largest of all with one image at a time.
    pub fn least(&self) -> u64 {
        self.weight.max(self.image)
    }
}

impl ClipConfig {
    /// The largest buffers that the image tower needs.
    pub fn largest_image_buffers(&self) -> LargestBuffers {
        let (weight, image) = match &self.image {
            ImageTowerConfig::Vit(vit) => vit.largest(self.embed_dim),
            ImageTowerConfig::ModifiedResnet(resnet) => resnet.largest(self.embed_dim),
            ImageTowerConfig::EfficientnetLite(efficientnet) => {
                efficientnet.largest(self.embed_dim)
            }
        };
        LargestBuffers {
            weight: BYTES * weight,
            image: BYTES * image,
        }
    }

    /// Names of the published models whose image towers a device can hold that takes `limit` bytes in
    /// one buffer, smallest first.
    pub fn published_within(limit: u64) -> Vec<String> {
        let mut fitting: Vec<(u64, String)> = Self::all_published()
            .map(|config| (config.largest_image_buffers().least(), config.name))
            .filter(|(least, _)| *least <= limit)
            .collect();
        fitting.sort();
        fitting.into_iter().map(|(_, name)| name).collect()
    }
}

/// The product, as far as a number reaches: what is larger fits nowhere.
fn product(sizes: &[usize]) -> u64 {
    sizes
        .iter()
        .fold(1, |all, &size| all.saturating_mul(size as u64))
}

fn most(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().max().unwrap_or(0)
}

impl VitConfig {
    /// Values of the largest weight, and of the largest result for one image.
    fn largest(&self, embed_dim: usize) -> (u64, u64) {
        let (width, size) = (self.width, self.image_size);
        let tokens = (size / self.patch_size.max(1)).pow(2) + 1;
        let weight = most([
            product(&[width, 3, self.patch_size, self.patch_size]),
            product(&[tokens, width]),
            product(&[3, width, width]),
            product(&[self.mlp_width, width]),
            product(&[width, embed_dim]),
        ]);
        let image = most([
            product(&[3, size, size]),
            product(&[tokens, 3, width]),
            product(&[tokens, self.mlp_width]),
            product(&[self.heads, tokens, tokens]),
        ]);
        (weight, image)
    }
}

impl ResNetConfig {
    fn largest(&self, embed_dim: usize) -> (u64, u64) {
        let (width, side) = (self.width, self.image_size);
        // The last stage's planes, and the width of its output.
        let planes = width.saturating_mul(8);
        let last = planes.saturating_mul(4);
        let positions = (side / 32).pow(2) + 1;
        let weight = most([
            product(&[planes, planes, 3, 3]),
            product(&[last, last]),
            product(&[last, planes]),
            product(&[positions, last]),
            product(&[last, embed_dim]),
        ]);
        let stages = (0..4).map(|stage| {
            let side = side / (4 << stage);
            product(&[width << stage, 4, side, side])
        });
        // A strided bottleneck's 3×3 runs before its pooling, at twice the side of its output.
        let unpooled = (1..4).map(|stage| {
            let side = side / (2 << stage);
            product(&[width << stage, side, side])
        });
        let stem = product(&[width, side / 2, side / 2]);
        let image = most(
            stages
                .chain(unpooled)
                .chain([stem, product(&[3, side, side])]),
        );
        (weight, image)
    }
}

impl EfficientNetLiteConfig {
    fn largest(&self, embed_dim: usize) -> (u64, u64) {
        let mut side = self.image_size.div_ceil(2);
        let mut weight = product(&[self.head_width, embed_dim]);
        let mut image = most([
            product(&[3, self.image_size, self.image_size]),
            product(&[self.stem_width, side, side]),
        ]);
        for stage in &self.stages {
            // The first block expands what comes in, at its side; the others what they put out.
            let hidden = stage.input.max(stage.output).saturating_mul(stage.expand);
            image = image.max(product(&[
                stage.input.saturating_mul(stage.expand),
                side,
                side,
            ]));
            side = side.div_ceil(stage.stride.max(1));
            image = image.max(product(&[
                stage.output.saturating_mul(stage.expand),
                side,
                side,
            ]));
            weight = weight.max(product(&[hidden, stage.input.max(stage.output)]));
        }
        let last = self
            .stages
            .last()
            .map_or(self.stem_width, |stage| stage.output);
        weight = weight.max(product(&[self.head_width, last]));
        image = image.max(product(&[self.head_width, side, side]));
        (weight, image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_towers_have_their_known_sizes() {
        let buffers = |name: &str| {
            let config = ClipConfig::published(name).expect("published");
            config.largest_image_buffers()
        };
        // The hidden layer of the perceptron: 3072 × 768 weights; 50 tokens of it.
        let vit = buffers("ViT-B/32");
        assert_eq!(vit.weight, 4 * 3072 * 768);
        assert_eq!(vit.image, 4 * 50 * 3072);
        // 577 tokens that attend to each other in 16 heads.
        assert_eq!(buffers("ViT-L/14@336px").image, 4 * 16 * 577 * 577);
        // The last stage's 1×1 expansion would be 2048 × 512; its 3×3 is 512 × 512 × 9; the pool's
        // projections are 2048 × 2048.
        assert_eq!(buffers("RN50").weight, 4 * 2048 * 2048);
        assert_eq!(buffers("RN50").image, 4 * 56 * 56 * 256);
    }

    #[test]
    fn a_batch_shrinks_until_it_fits() {
        let buffers = LargestBuffers {
            weight: 100,
            image: 40,
        };
        assert_eq!(buffers.batch(1000, 8), Some(8));
        assert_eq!(buffers.batch(130, 8), Some(3));
        assert_eq!(buffers.batch(99, 8), None);
        let wide = LargestBuffers {
            weight: 1,
            image: 40,
        };
        assert_eq!(wide.batch(39, 8), None);
        assert_eq!(wide.least(), 40);
    }

    #[test]
    fn small_devices_are_told_what_fits() {
        let all = ClipConfig::published_within(128 << 20);
        assert_eq!(
            all.len(),
            6,
            "the default limit of WebGPU holds every one: {all:?}"
        );
        let some = ClipConfig::published_within(10_000_000);
        assert!(some.contains(&"ViT-B/32".to_owned()), "{some:?}");
        assert!(!some.contains(&"ViT-L/14@336px".to_owned()), "{some:?}");
        assert!(ClipConfig::published_within(1000).is_empty());
    }
}
