//! Safetensors files byte by byte: the header as it is written, right or wrong.

/// A file with this JSON header and this data behind it.
pub fn file(header: &str, data: &[u8]) -> Vec<u8> {
    with_length(header.len() as u64, header.as_bytes(), data)
}

/// A file whose first eight bytes say `length`, whatever follows.
pub fn with_length(length: u64, header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(data);
    bytes
}

/// Things that can be wrong with any safetensors file, with a name and the bytes. `good` is a whole
/// file.
pub fn broken(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let nested = format!(r#"{{"w":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let many: String = (0..2_000)
        .map(|n| format!(r#""t{n}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}},"#))
        .collect();
    vec![
        (
            "header-longer-than-the-file",
            with_length(1 << 20, b"{}", b""),
        ),
        (
            "header-of-100-gigabytes",
            with_length(100 << 30, b"{}", b""),
        ),
        ("header-length-overflows", with_length(u64::MAX, b"{}", b"")),
        (
            "header-length-is-negative",
            with_length(1 << 63, b"{}", b""),
        ),
        ("header-of-nothing", with_length(0, b"", b"")),
        ("header-is-no-json", file("{not json at all", b"")),
        ("header-is-an-array", file("[1,2,3]", b"")),
        ("header-is-no-utf8", with_length(8, b"{\"\xff\xfe\":1", b"")),
        ("header-is-nested", file(&nested, b"")),
        ("header-ends-early", good[..good.len().min(40)].to_vec()),
        ("data-ends-early", good[..good.len() - 1].to_vec()),
        ("data-is-missing", file(&entry("F32", "[4]", "[0,16]"), b"")),
        ("data-goes-on", [good, &[0; 9]].concat()),
        (
            "offsets-overlap",
            file(
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
                &[0; 12],
            ),
        ),
        (
            "offsets-leave-a-hole",
            file(
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#,
                &[0; 12],
            ),
        ),
        (
            "offsets-run-backwards",
            file(&entry("F32", "[1]", "[4,0]"), &[0; 4]),
        ),
        (
            "offsets-are-negative",
            file(&entry("F32", "[1]", "[-4,0]"), &[0; 4]),
        ),
        (
            "offsets-are-huge",
            file(
                &entry("F32", "[1]", "[18446744073709551612,18446744073709551615]"),
                &[0; 4],
            ),
        ),
        (
            "offsets-are-fractions",
            file(&entry("F32", "[1]", "[0.5,4.5]"), &[0; 4]),
        ),
        (
            "shape-overflows",
            file(
                &entry("F32", "[4294967296,4294967296,4294967296]", "[0,4]"),
                &[0; 4],
            ),
        ),
        (
            "shape-is-huge",
            file(&entry("F32", "[1000000000000]", "[0,4]"), &[0; 4]),
        ),
        (
            "shape-is-negative",
            file(&entry("F32", "[-1]", "[0,4]"), &[0; 4]),
        ),
        (
            "shape-disagrees-with-offsets",
            file(&entry("F32", "[3]", "[0,4]"), &[0; 4]),
        ),
        (
            "dtype-is-unknown",
            file(&entry("F33", "[1]", "[0,4]"), &[0; 4]),
        ),
        (
            "dtype-is-a-number",
            file(
                r#"{"w":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}"#,
                &[0; 4],
            ),
        ),
        ("an-entry-is-null", file(r#"{"w":null}"#, b"")),
        ("metadata-is-a-list", file(r#"{"__metadata__":[1]}"#, b"")),
        (
            "thousands-of-empty-tensors",
            file(
                &format!(r#"{{{many}"w":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#),
                &[0; 4],
            ),
        ),
    ]
}
