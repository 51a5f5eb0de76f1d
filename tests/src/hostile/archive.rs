//! ZIP archives byte by byte, as `torch.save` writes them and as it never would.

use super::compress::{crc32, crc32_of_zeros, deflate_of_zeros};

/// One entry of an archive.
pub struct Entry {
    name: String,
    /// 0: stored, 8: deflated.
    method: u16,
    content: Vec<u8>,
    size: u32,
    crc: u32,
}

impl Entry {
    /// Bytes as they are.
    pub fn stored(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            method: 0,
            content: content.to_vec(),
            size: content.len() as u32,
            crc: crc32(content),
        }
    }

    /// Few bytes that unpack to `count` zeros.
    pub fn zeros(name: &str, count: u32) -> Self {
        Self {
            name: name.to_owned(),
            method: 8,
            content: deflate_of_zeros(u64::from(count)),
            size: count,
            crc: crc32_of_zeros(u64::from(count)),
        }
    }

    /// The same entry with another checksum.
    pub fn with_wrong_checksum(mut self) -> Self {
        self.crc ^= 1;
        self
    }

    /// The same entry, claiming another size.
    pub fn claiming(mut self, size: u32) -> Self {
        self.size = size;
        self
    }
}

/// The archive of these entries.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = bytes.len() as u32;
        let mut common = Vec::new();
        common.extend(20u16.to_le_bytes()); // version needed
        common.extend(0u16.to_le_bytes()); // flags
        common.extend(entry.method.to_le_bytes());
        common.extend([0, 0, 0x21, 0]); // 1980-01-01
        common.extend(entry.crc.to_le_bytes());
        common.extend((entry.content.len() as u32).to_le_bytes());
        common.extend(entry.size.to_le_bytes());
        common.extend((entry.name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes()); // extra
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(entry.name.as_bytes());
        bytes.extend(&entry.content);
        directory.extend(b"PK\x01\x02");
        directory.extend(20u16.to_le_bytes()); // version made by
        directory.extend(&common);
        directory.extend([0; 10]); // comment, disk, attributes
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let start = bytes.len() as u32;
    let count = entries.len() as u16;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06");
    bytes.extend([0; 4]);
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend(0u16.to_le_bytes());
    bytes
}
