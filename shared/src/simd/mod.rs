//! Loops for a CPU's vector units, natively and in WASM, from one source by `pulp`.

pub mod matrix;
pub mod parallel;

use pulp::{Arch, Simd, WithSimd};

/// Lanes of the widest vector; panels of weights are padded with zeros to a multiple of this.
pub const LANES: usize = 16;

/// Runs a loop with the widest vectors of this machine.
pub fn dispatch<Run: WithSimd>(run: Run) -> Run::Output {
    let arch = Arch::new();
    // What `Arch` knows of depends on features that other crates turn on; AVX2 is always here.
    #[cfg(target_arch = "x86_64")]
    if let (Arch::Scalar, Some(simd)) = (arch, pulp::x86::V3::try_new()) {
        return Simd::vectorize(simd, run);
    }
    arch.dispatch(run)
}
