//! Reading images ahead of the image tower, in order and with bounded memory.

use std::sync::mpsc::sync_channel;

use anyhow::{Result, anyhow};
use burn::tensor::{Device, ExecutionError, Tensor, TensorData};
use rayon::prelude::*;
use shared::clip::{ImageTower, Preprocessing};

use crate::data::Item;

/// Batches that may wait for the image tower.
const BATCHES_AHEAD: usize = 2;

/// Calls `read` for the images of a batch side by side, and `each` for batch after batch, in
/// order; while `each` works, the next batches are read.
///
/// # Errors
/// The first that `each` gives; nothing more is read then.
pub fn in_batches<T: Send>(
    items: &[Item],
    batch: usize,
    read: impl Fn(&Item) -> T + Sync,
    mut each: impl FnMut(&[Item], Vec<T>) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let read = &read;
        scope.spawn(move || {
            for items in items.chunks(batch.max(1)) {
                let read: Vec<T> = items.par_iter().map(read).collect();
                // The receiver hangs up when `each` failed; there is nothing more to do then.
                if sender.send((items, read)).is_err() {
                    break;
                }
            }
        });
        // The receiver lives in the loop: an error drops it before the threads are joined.
        for (items, read) in batches {
            each(items, read)?;
        }
        Ok(())
    })
}

/// Pixels of many images, `[images, 3, size, size]` one after another → features
/// `[images, embed_dim]` row by row, not normalised.
///
/// All go at once to a GPU, and to a tower that shares them out itself. Else the CPU takes them one by
/// one, as many side by side as it has threads: one image's activations stay in the cache, where a
/// batch's do not.
pub fn forward_pixels(
    tower: &ImageTower,
    preprocessing: &Preprocessing,
    device: &Device,
    pixels: Vec<f32>,
    images: usize,
) -> Result<Vec<f32>> {
    let forward = |pixels| tower.forward(pixels).try_into_data();
    forward_with(forward, tower, preprocessing, pixels, images, device)
}

/// The same for features of patches, `[images, patches, embed_dim]`.
pub fn forward_patches(
    tower: &ImageTower,
    preprocessing: &Preprocessing,
    device: &Device,
    pixels: Vec<f32>,
    images: usize,
) -> Result<Vec<f32>> {
    let forward = |pixels| tower.patches(pixels).try_into_data();
    forward_with(forward, tower, preprocessing, pixels, images, device)
}

fn forward_with(
    forward: impl Fn(Tensor<4>) -> Result<TensorData, ExecutionError> + Sync,
    tower: &ImageTower,
    preprocessing: &Preprocessing,
    pixels: Vec<f32>,
    images: usize,
    device: &Device,
) -> Result<Vec<f32>> {
    if images == 0 {
        return Ok(Vec::new());
    }
    let size = preprocessing.size as usize;
    let of_batch = |pixels: Vec<f32>, images: usize| {
        let data = TensorData::new(pixels, [images, 3, size, size]);
        let features = forward(Tensor::<4>::from_data(data, device)).map_err(|error| {
            anyhow!("the image tower failed on a batch of {images} images: try a smaller --batch, or --device cpu ({error})")
        })?;
        features
            .try_into_vec_as::<f32>()
            .map_err(|error| anyhow!("the image tower's features cannot be read ({error:?})"))
    };
    if *device != Device::flex() || tower.shares_out() {
        return of_batch(pixels, images);
    }
    let features: Vec<Vec<f32>> = pixels
        .par_chunks_exact(3 * size * size)
        .map(|image| of_batch(image.to_vec(), 1))
        .collect::<Result<_>>()?;
    Ok(features.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_in_order_and_an_error_ends_them() {
        let items: Vec<_> = (0..23)
            .map(|n| Item {
                path: n.to_string().into(),
                name: n.to_string(),
                label: None,
                split: None,
            })
            .collect();
        let mut seen = Vec::new();
        in_batches(
            &items,
            4,
            |item| item.name.clone(),
            |items, read| {
                assert!(items.len() <= 4);
                seen.extend(read);
                Ok(())
            },
        )
        .unwrap();
        let names: Vec<_> = items.iter().map(|item| item.name.clone()).collect();
        assert_eq!(seen, names);

        let mut calls = 0;
        let error = in_batches(
            &items,
            1,
            |_| (),
            |_, _| {
                calls += 1;
                Err(anyhow!("full"))
            },
        );
        assert!(error.is_err());
        assert_eq!(calls, 1);
    }
}
