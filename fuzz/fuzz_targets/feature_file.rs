#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target::feature_file(bytes));
