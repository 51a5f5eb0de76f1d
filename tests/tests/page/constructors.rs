//! What registers itself before the worker starts does so once, not at every call from JavaScript.

use std::collections::BTreeMap;

use super::stage::page;

/// Numbers of a WASM file's kinds of section, and of its kind of import and export that is a function.
const IMPORTS: u8 = 2;
const EXPORTS: u8 = 7;
const CODE: u8 = 10;
const FUNCTION: u8 = 0;
/// The instruction that calls the function whose number follows.
const CALL: u8 = 0x10;

/// A WASM file from some place on.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }

    /// Seven bits a byte, the low ones first; the last byte is below 128.
    fn number(&mut self) -> usize {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= usize::from(byte & 127) << shift;
            if byte < 128 {
                return number;
            }
            shift += 7;
        }
    }

    /// As many bytes as the number in front of them says.
    fn counted(&mut self) -> &'a [u8] {
        let count = self.number();
        self.bytes(count)
    }
}

/// For each exported function whose code begins with a call: its name and the number of the called one.
fn first_calls(wasm: &[u8]) -> Vec<(String, usize)> {
    let mut file = Reader(wasm);
    assert_eq!(file.bytes(8), b"\0asm\x01\0\0\0");
    let mut sections = BTreeMap::new();
    while !file.0.is_empty() {
        let kind = file.byte();
        sections.insert(kind, file.counted());
    }
    let mut imports = Reader(sections[&IMPORTS]);
    let imported = (0..imports.number())
        .filter(|_| {
            imports.counted();
            imports.counted();
            let kind = imports.byte();
            assert_eq!(
                kind, FUNCTION,
                "wasm-bindgen's programs import functions alone"
            );
            imports.number();
            true
        })
        .count();
    let mut code = Reader(sections[&CODE]);
    let bodies: Vec<&[u8]> = (0..code.number()).map(|_| code.counted()).collect();
    let mut exports = Reader(sections[&EXPORTS]);
    let mut calls = Vec::new();
    for _ in 0..exports.number() {
        let name = String::from_utf8_lossy(exports.counted()).into_owned();
        let kind = exports.byte();
        let number = exports.number();
        if kind != FUNCTION {
            continue;
        }
        let mut body = Reader(bodies[number - imported]);
        for _ in 0..body.number() {
            body.number();
            body.byte();
        }
        if body.byte() == CALL {
            calls.push((name, body.number()));
        }
    }
    calls
}

/// The linker puts a call of all constructors in front of every exported function of a program that does
/// not call them itself: `wasm_bindgen` hands objects over through such functions, and with Burn's
/// constructors a photo took twenty times as long on a GPU.
#[test]
fn constructors_run_once() {
    let wasm = std::fs::read(page().join("worker_bg.wasm")).unwrap();
    let mut callers: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (name, called) in first_calls(&wasm) {
        callers.entry(called).or_default().push(name);
    }
    let wrapped = callers.values().find(|names| names.len() > 2);
    assert!(
        wrapped.is_none(),
        "these exports all begin with the same call, the linker's of all constructors; \
         does `main` still begin with `web::constructors::run()`? {wrapped:?}"
    );
}
