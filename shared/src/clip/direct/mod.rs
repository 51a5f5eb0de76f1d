//! Transformers on a CPU, natively and in WASM: frozen weights laid out for the loops that read them.

pub mod attention;
pub mod block;
pub mod elementwise;
pub mod whole;

use burn::tensor::{Device, Tensor};

/// Rows that go through a tower together, about, where threads are few: a product of so many waits
/// less often for weights, of which no cache holds all.
pub const CHUNK: usize = 256;

/// Whether a tower on this device runs in loops for the CPU. They carry no gradients, and a device with
/// gradients equals the same one without.
pub fn takes_loops(device: &Device) -> bool {
    *device == Device::flex() && !device.is_autodiff()
}

/// A tensor's values, row by row.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}
