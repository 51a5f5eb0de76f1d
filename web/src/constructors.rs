//! What crates register before a program starts.

#[expect(
    unsafe_code,
    reason = "the linker makes this function, and no crate offers it"
)]
mod linked {
    unsafe extern "C" {
        /// Calls every constructor of the program.
        pub safe fn __wasm_call_ctors();
    }
}

/// Runs the constructors, with which Burn's kernel builder registers its operations: the first thing
/// that a program does.
///
/// The linker takes a program that does not do this for one that is called once, and runs all
/// constructors, some hundreds, at *every* call from JavaScript: at each object that is handed over
/// too. That made a photo on a real GPU take up to twenty times as long.
pub fn run() {
    linked::__wasm_call_ctors();
}
