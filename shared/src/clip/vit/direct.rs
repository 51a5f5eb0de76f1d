//! The vision transformer on a CPU.
//!
//! Many images are shared out among the threads, which take as many at once as make good products;
//! of few images the products' outputs are shared out. The class token stands behind the patches:
//! the order of tokens does not matter to attention, and of the last block only the last row is then
//! computed.

use super::{blocks, tokens};
use crate::clip::config::VitConfig;
use crate::clip::direct::attention::{Sees, Shape};
use crate::clip::direct::block::{Block, Kept, Linear, Scratch, norm};
use crate::clip::direct::elementwise::Norm;
use crate::clip::direct::{CHUNK, values};
use crate::clip::weights::{WeightError, Weights};
use crate::simd::parallel;

/// The tower, laid out for these loops.
#[derive(Debug, Clone)]
pub struct Direct {
    image_size: usize,
    patch_size: usize,
    width: usize,
    heads: usize,
    embed_dim: usize,
    patch_embedding: Linear,
    /// `[width]`.
    class_embedding: Vec<f32>,
    /// `[1 + patches, width]`, the class token's first.
    positions: Vec<f32>,
    ln_pre: Norm,
    blocks: Vec<Block>,
    ln_post: Norm,
    projection: Linear,
}

impl Direct {
    /// From the weights below `visual`, one block at a time.
    pub fn load(
        visual: &Weights,
        config: &VitConfig,
        embed_dim: usize,
    ) -> Result<Self, WeightError> {
        let &VitConfig {
            image_size,
            patch_size,
            width,
            heads,
            ..
        } = config;
        let tokens = tokens(config);
        let blocks = blocks(visual, config)
            .map(|block| Ok(Block::new(&block?)))
            .collect::<Result<_, WeightError>>()?;
        let kernel = visual.tensor::<4>("conv1.weight", [width, 3, patch_size, patch_size])?;
        let kernel = kernel.reshape([width, 3 * patch_size * patch_size]);
        Ok(Self {
            image_size,
            patch_size,
            width,
            heads,
            embed_dim,
            patch_embedding: Linear::new(&values(kernel.transpose()), vec![0.0; width]),
            class_embedding: values(visual.tensor::<1>("class_embedding", [width])?),
            positions: values(visual.tensor::<2>("positional_embedding", [tokens, width])?),
            ln_pre: norm(&visual.below("ln_pre").layer_norm(width)?),
            blocks,
            ln_post: norm(&visual.below("ln_post").layer_norm(width)?),
            projection: Linear::new(
                &values(visual.tensor::<2>("proj", [width, embed_dim])?),
                vec![0.0; embed_dim],
            ),
        })
    }

    pub fn embed_dim(&self) -> usize {
        self.embed_dim
    }

    pub fn patches_an_image(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// `pixels` `[batch, 3, size, size]` → `[batch, embed_dim]`.
    pub fn features(&self, pixels: &[f32], batch: usize) -> Vec<f32> {
        self.share_out(pixels, batch, false)
    }

    /// `pixels` `[batch, 3, size, size]` → `[batch, patches, embed_dim]`.
    pub fn patches(&self, pixels: &[f32], batch: usize) -> Vec<f32> {
        self.share_out(pixels, batch, true)
    }

    fn share_out(&self, pixels: &[f32], batch: usize, patches: bool) -> Vec<f32> {
        let threads = parallel::threads();
        // One thread after the other does a quarter of the work where all take part in each product.
        let together = threads as f32 / (1.0 + 0.25 * (threads - 1) as f32);
        if threads > 1 && (batch as f32) < together {
            return parallel::inside(|| self.run(pixels, patches, &mut Scratch::wide()));
        }
        let most = (CHUNK / (1 + self.patches_an_image())).max(1);
        // As many chunks for one thread as for another.
        let chunks = batch.div_ceil(most).next_multiple_of(threads);
        let together = batch.div_ceil(chunks).max(1);
        let mut chunks: Vec<&[f32]> = pixels.chunks(together * self.pixels_an_image()).collect();
        // Threads that get no chunk take part in the products of the others.
        let wide = chunks.len() < threads;
        parallel::each(&mut chunks, |pixels, scratch: &mut Scratch| {
            scratch.wide = wide;
            self.run(pixels, patches, scratch)
        })
        .concat()
    }

    fn pixels_an_image(&self) -> usize {
        3 * self.image_size * self.image_size
    }

    /// A few images through the tower together.
    fn run(&self, pixels: &[f32], patches: bool, scratch: &mut Scratch) -> Vec<f32> {
        let mut kept = Kept::default();
        self.embed(pixels, scratch.wide, &mut kept.x);
        let tokens = 1 + self.patches_an_image();
        let lengths = vec![tokens; kept.x.len() / (tokens * self.width)];
        let mut out = Vec::new();
        for (layer, block) in self.blocks.iter().enumerate() {
            let last = layer + 1 == self.blocks.len();
            let shape = Shape {
                width: self.width,
                heads: self.heads,
                lengths: &lengths,
                sees: if last && patches {
                    Sees::Itself
                } else {
                    Sees::All
                },
                last_only: last && !patches,
            };
            block.forward(shape, &[], &mut kept, scratch, Some(&mut out));
            std::mem::swap(&mut kept.x, &mut out);
        }
        let rows: Vec<f32> = if patches {
            let images = kept.x.chunks_exact(tokens * self.width);
            images
                .flat_map(|image| &image[..(tokens - 1) * self.width])
                .copied()
                .collect()
        } else {
            kept.x
        };
        let mut normed = vec![0.0; rows.len()];
        self.ln_post.forward(&rows, &mut normed);
        let mut features = Vec::new();
        self.projection
            .forward(&normed, &mut features, scratch.wide);
        features
    }

    /// `pixels` → patches and then the class token of each image, with their positions and
    /// normalised: `[images, patches + 1, width]`.
    fn embed(&self, pixels: &[f32], wide: bool, x: &mut Vec<f32>) {
        let (size, patch) = (self.image_size, self.patch_size);
        let side = size / patch;
        let mut cut = Vec::with_capacity(pixels.len());
        for image in pixels.chunks_exact(self.pixels_an_image()) {
            for place in 0..side * side {
                let (row, column) = (place / side * patch, place % side * patch);
                for channel in image.chunks_exact(size * size) {
                    for line in channel.chunks_exact(size).skip(row).take(patch) {
                        cut.extend_from_slice(&line[column..column + patch]);
                    }
                }
            }
        }
        let mut embedded = Vec::new();
        self.patch_embedding.forward(&cut, &mut embedded, wide);
        let (of_class, of_patches) = self.positions.split_at(self.width);
        let mut tokens = Vec::with_capacity(embedded.len() / (side * side) * (side * side + 1));
        for image in embedded.chunks_exact(side * side * self.width) {
            tokens.extend(image.iter().zip(of_patches).map(|(x, at)| x + at));
            let class = self.class_embedding.iter().zip(of_class);
            tokens.extend(class.map(|(x, at)| x + at));
        }
        x.resize(tokens.len(), 0.0);
        self.ln_pre.forward(&tokens, x);
    }
}
