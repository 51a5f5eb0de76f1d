//! Just enough of DEFLATE to make small files that unpack to large ones.

/// A zlib stream that unpacks to `count` zeros: 13 bits for every 258 of them.
pub fn zlib_of_zeros(count: u64) -> Vec<u8> {
    let mut stream = vec![0x78, 0x9c];
    stream.extend(deflate_of_zeros(count));
    // Adler-32 of zeros: the first sum stays 1, the second counts them.
    let second = (count % 65_521) as u32;
    stream.extend((second << 16 | 1).to_be_bytes());
    stream
}

/// A bare DEFLATE stream that unpacks to `count` zeros.
pub fn deflate_of_zeros(count: u64) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push(1, 1); // the last block
    bits.push(1, 2); // fixed codes
    let literal = |bits: &mut Bits| bits.code(0b0011_0000, 8);
    let mut left = count;
    if left > 0 {
        literal(&mut bits);
        left -= 1;
    }
    while left >= 258 {
        bits.code(0b1100_0101, 8); // length 258
        bits.code(0, 5); // distance 1
        left -= 258;
    }
    for _ in 0..left {
        literal(&mut bits);
    }
    bits.code(0, 7); // the end
    bits.finish()
}

/// A zlib stream of `bytes`, not compressed.
pub fn zlib_stored(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut chunks = bytes.chunks(65_535).peekable();
    if bytes.is_empty() {
        stream.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(chunk) = chunks.next() {
        let length = chunk.len() as u16;
        stream.push(u8::from(chunks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend_from_slice(chunk);
    }
    let (mut first, mut second) = (1u32, 0u32);
    for &byte in bytes {
        first = (first + u32::from(byte)) % 65_521;
        second = (second + first) % 65_521;
    }
    stream.extend((second << 16 | first).to_be_bytes());
    stream
}

/// CRC-32 as PNG and ZIP use it.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32_of(bytes.iter().copied())
}

/// CRC-32 of `count` zeros.
pub fn crc32_of_zeros(count: u64) -> u32 {
    crc32_of((0..count).map(|_| 0))
}

fn crc32_of(bytes: impl Iterator<Item = u8>) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|index| {
        (0..8).fold(index as u32, |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    !bytes.fold(!0u32, |crc, byte| {
        (crc >> 8) ^ table[usize::from(crc as u8 ^ byte)]
    })
}

/// Bits, the lowest first, as DEFLATE packs them.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u32,
    held: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        self.pending |= value << self.held;
        self.held += count;
        while self.held >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.held -= 8;
        }
    }

    /// A Huffman code, whose highest bit comes first.
    fn code(&mut self, code: u32, length: u32) {
        self.push(code.reverse_bits() >> (32 - length), length);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.held > 0 {
            self.bytes.push(self.pending as u8);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_published_ones() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32_of_zeros(32), crc32(&[0; 32]));
        // Python: zlib.compress(b"", 0)
        assert_eq!(zlib_stored(b"")[7..], [0, 0, 0, 1]);
    }

    #[test]
    fn zeros_take_little_room() {
        assert!(zlib_of_zeros(1 << 20).len() < 7_000);
    }
}
