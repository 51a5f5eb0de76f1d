#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| negprompt_fuzz::state_dict(bytes));
