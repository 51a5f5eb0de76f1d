//! How much memory the objects take that a pickle describes, found before a reader makes them.
//!
//! A pickle says what to make in a byte or two an object, and can fetch again what it has made, twice
//! as much each time; within an archive it may be deflated. Thirty kilobytes can stand for gigabytes.
//! The instructions are followed here on sizes alone (`pickletools.py` of CPython lists them), with
//! the readers' rule for each: what they would refuse is left to them, and to their message.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Result, bail};
use zip::ZipArchive;
use zip::read::ZipReadOptions;

use crate::output::{explain, open_file};

/// The most that the objects of a file may take: room for 20,000 tensors, 3,000 of a whole module, or two
/// million numbers.
const MAX_OBJECT_BYTES: u64 = 512 << 20;
/// The most of one object without its text, on the readers' stack or within another object.
const OBJECT_BYTES: u64 = 200;
/// The same for a list or a dictionary, whose first item makes room for four.
const CONTAINER_BYTES: u64 = 700;
/// How often a tensor's name, which is the path of keys that leads to it, is held while it is read.
const NAME_COPIES: u64 = 4;
/// Letters of a number that is a key, and the point behind a key.
const NUMBER_BYTES: u64 = 21;
/// One of the places on the stack that a tuple, list or dictionary begins behind.
const MARK_BYTES: u64 = 16;
/// More than the reader of archives takes for a pickle.
const MAX_ARCHIVED_BYTES: u64 = 128 << 20;
/// PyTorch's files of before 2020 are five pickles, and the storages.
const MOST_PICKLES: usize = 5;
/// Where a tar archive says that it is one.
const TAR_MAGIC: std::ops::Range<usize> = 257..262;

/// Fails when the objects that a PyTorch file describes would take more than 512 MiB of memory, without
/// their tensors' numbers.
///
/// A file that is broken, or none of PyTorch's, passes: whoever reads it explains it.
///
/// # Errors
/// Names the file and the way out, or says that the file cannot be read.
pub fn require_modest_objects(path: &Path) -> Result<()> {
    let file = open_file(path, "read the checkpoint")?;
    let followed = follow(file).map_err(|error| explain(error, "read the checkpoint", path))?;
    let shown = path.display();
    match followed {
        Ok(()) | Err(End::Broken) => Ok(()),
        Err(End::TooLarge) => bail!(
            "{shown}: the objects in it would take more than {} MiB of memory beside its weights: it holds far more than a state dict, or is made to fill the memory; save its state_dict() alone with torch.save",
            MAX_OBJECT_BYTES >> 20
        ),
        Err(End::Tar) => bail!(
            "{shown} is a tar archive, as PyTorch wrote them before 2017: load it there, and save its state_dict() with torch.save"
        ),
    }
}

/// Follows what a file describes to its end.
///
/// # Errors
/// When the file cannot be read.
pub fn follow(mut file: File) -> io::Result<Result<(), End>> {
    let mut start = Vec::new();
    Read::by_ref(&mut file)
        .take(TAR_MAGIC.end as u64)
        .read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    let mut weigher = Weigher::default();
    if start.starts_with(b"PK") {
        return Ok(archived(file, &mut weigher).unwrap_or(Err(End::Broken)));
    }
    if start.get(TAR_MAGIC) == Some(b"ustar") {
        return Ok(Err(End::Tar));
    }
    let mut pickles = BufReader::new(file);
    let first = weigher.pickle(&mut pickles);
    if first.is_ok() {
        for _ in 1..MOST_PICKLES {
            match weigher.pickle(&mut pickles) {
                Ok(()) => {}
                Err(End::TooLarge) => return Ok(Err(End::TooLarge)),
                // The storages, or the end of the file.
                Err(_) => break,
            }
        }
    }
    Ok(first)
}

/// The same of the archive's `data.pkl`; none where there is no such entry.
fn archived(file: File, weigher: &mut Weigher) -> Option<Result<(), End>> {
    let mut archive = ZipArchive::new(BufReader::new(file)).ok()?;
    let names: Vec<_> = archive.file_names().collect::<Result<_, _>>().ok()?;
    let name = names
        .iter()
        .filter(|name| {
            let folder = name.strip_suffix("data.pkl");
            folder.is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
        })
        .min_by_key(|name| name.len())?;
    let index = archive.index_for_name(name)?;
    // PyTorch writes 0 for a checksum that it did not compute.
    let unchecked = archive.by_index_raw(index).ok()?.crc32() == 0;
    let options = ZipReadOptions::new().ignore_crc32(unchecked);
    let entry = archive.by_index_with_options(index, options).ok()?;
    Some(weigher.pickle(&mut BufReader::new(entry.take(MAX_ARCHIVED_BYTES))))
}

/// Why a file was not followed to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The readers refuse it at this place, or before.
    Broken,
    TooLarge,
    Tar,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// What is known of an object.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Memory of it and of all within it.
    bytes: u64,
    /// Letters, where it may be a key; of a container those of its longest key.
    key: u64,
    /// Tensors within it, and the letters of their names below it.
    tensors: u64,
    names: u64,
}

impl Size {
    fn of(bytes: u64) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// Takes objects in, of which every other one, from the first on, may be the key of the next.
    fn take_in(&mut self, items: &[Slot]) {
        let keys = items.iter().step_by(2).map(|item| item.size.key);
        self.key = keys.fold(self.key, u64::max);
        for Slot { size, .. } in items {
            self.bytes = self.bytes.saturating_add(size.bytes);
            self.tensors = self.tensors.saturating_add(size.tensors);
            let names = size.tensors.saturating_mul(self.key + NUMBER_BYTES);
            self.names = self.names.saturating_add(size.names).saturating_add(names);
        }
    }
}

/// A place on the stack.
#[derive(Clone, Copy)]
struct Slot {
    size: Size,
    /// Where the memo has a copy of it, which is made anew when its state is set.
    memo: Option<u32>,
}

#[derive(Default)]
struct Weigher {
    taken: u64,
    stack: Vec<Slot>,
    /// Heights of the stack at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Size>,
}

impl Weigher {
    /// Follows one pickle to its end. What it made stays counted: this is the most it may take.
    fn pickle(&mut self, pickle: &mut impl BufRead) -> Result<(), End> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            let operation = byte(pickle)?;
            match operation {
                b'.' => return self.pop().map(drop),
                // Which protocol; how long a frame is.
                0x80 => drop(number(pickle, 1)?),
                0x95 => drop(number(pickle, 8)?),
                b'(' => {
                    self.charge(MARK_BYTES)?;
                    self.marks.push(self.stack.len());
                }
                // None, True, False, and the empty tuple.
                b'N' | 0x88 | 0x89 | b')' => self.push(Size::of(OBJECT_BYTES))?,
                // Numbers of a fixed length.
                b'K' => self.scalar(pickle, 1)?,
                b'M' => self.scalar(pickle, 2)?,
                b'J' => self.scalar(pickle, 4)?,
                b'G' => self.scalar(pickle, 8)?,
                // Texts, bytes and long numbers, behind their length.
                b'U' | b'C' | 0x8a | 0x8c => self.counted(pickle, 1)?,
                b'T' | b'X' | b'B' | 0x8b => self.counted(pickle, 4)?,
                0x8d | 0x8e | 0x96 => self.counted(pickle, 8)?,
                // Numbers and texts up to the end of a line; a class and its module.
                b'I' | b'L' | b'F' | b'V' => {
                    let length = self.line(pickle)?.len() as u64;
                    self.push(text(length))?;
                }
                b'c' => {
                    let length = self.line(pickle)?.len() + self.line(pickle)?.len();
                    self.push(text(length as u64))?;
                }
                b'P' => {
                    let length = self.line(pickle)?.len() as u64;
                    self.push(stored(OBJECT_BYTES + length))?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.push(stored(id.size.bytes))?;
                }
                // Empty list, dictionary, set; those of what is above the mark.
                b']' | b'}' | 0x8f => self.push(Size::of(CONTAINER_BYTES))?,
                b't' | b'l' | b'd' | 0x91 => {
                    let items = self.pop_to_mark()?;
                    let bytes = match operation {
                        b't' => OBJECT_BYTES,
                        _ => CONTAINER_BYTES,
                    };
                    self.gather(bytes, &items)?;
                }
                // Tuples of one, two and three.
                0x85..=0x87 => {
                    let items = self.pop_many(usize::from(operation - 0x84))?;
                    self.gather(OBJECT_BYTES, &items)?;
                }
                // Into the list, dictionary or set below.
                b'a' | b's' | b'e' | b'u' | 0x90 => {
                    let items = match operation {
                        b'a' => self.pop_many(1)?,
                        b's' => self.pop_many(2)?,
                        _ => self.pop_to_mark()?,
                    };
                    self.put_in(&items)?;
                }
                // A class by two texts, a call, an instance; one with names for its arguments.
                0x93 | b'R' | 0x81 => {
                    let items = self.pop_many(2)?;
                    self.gather(OBJECT_BYTES, &items)?;
                }
                0x92 => {
                    let items = self.pop_many(3)?;
                    self.gather(OBJECT_BYTES, &items)?;
                }
                b'b' => {
                    let items = self.pop_many(2)?;
                    let built = self.gather(OBJECT_BYTES, &items)?;
                    if let Some(place) = items[0].memo {
                        self.remember(place, built)?;
                    }
                }
                b'0' => match self.mark_on_top() {
                    true => drop(self.marks.pop()),
                    false => drop(self.pop()?),
                },
                b'1' => drop(self.pop_to_mark()?),
                b'2' => {
                    let top = *self.top()?;
                    self.fetch(top)?;
                }
                b'g' | b'h' | b'j' => {
                    let place = self.place(pickle, operation)?;
                    self.recall(place)?;
                }
                b'p' | b'q' | b'r' => {
                    let place = self.place(pickle, operation)?;
                    self.memorise(place)?;
                }
                0x94 => self.memorise(self.memo.len() as u32)?,
                _ => return Err(End::Broken),
            }
        }
    }

    fn charge(&mut self, bytes: u64) -> Result<(), End> {
        self.taken = self.taken.saturating_add(bytes);
        match self.taken <= MAX_OBJECT_BYTES {
            true => Ok(()),
            false => Err(End::TooLarge),
        }
    }

    /// Puts an object that is made of nothing on the stack.
    fn push(&mut self, size: Size) -> Result<(), End> {
        self.charge(size.bytes)?;
        self.stack.push(Slot { size, memo: None });
        Ok(())
    }

    /// Puts a copy on the stack.
    fn fetch(&mut self, slot: Slot) -> Result<(), End> {
        self.charge(slot.size.bytes)?;
        self.stack.push(slot);
        Ok(())
    }

    /// Puts one object on the stack that takes `bytes` itself and is made of these, counted already.
    fn gather(&mut self, bytes: u64, items: &[Slot]) -> Result<Size, End> {
        let mut size = Size::of(bytes);
        size.take_in(items);
        self.charge(bytes)?;
        self.charge_names(size.names)?;
        self.stack.push(Slot { size, memo: None });
        Ok(size)
    }

    /// Puts objects into the one on top of the stack.
    fn put_in(&mut self, items: &[Slot]) -> Result<(), End> {
        if self.mark_on_top() {
            return Err(End::Broken);
        }
        let top = self.stack.last_mut().ok_or(End::Broken)?;
        top.size.take_in(items);
        let names = top.size.names;
        self.charge_names(names)
    }

    /// That the names of an object's tensors fit beside what is there; they are written at the end.
    fn charge_names(&self, names: u64) -> Result<(), End> {
        let bytes = names.saturating_mul(NAME_COPIES);
        match self.taken.saturating_add(bytes) <= MAX_OBJECT_BYTES {
            true => Ok(()),
            false => Err(End::TooLarge),
        }
    }

    fn remember(&mut self, place: u32, size: Size) -> Result<(), End> {
        self.charge(size.bytes)?;
        self.memo.insert(place, size);
        Ok(())
    }

    fn memorise(&mut self, place: u32) -> Result<(), End> {
        let size = self.top()?.size;
        if let Some(top) = self.stack.last_mut() {
            top.memo = Some(place);
        }
        self.remember(place, size)
    }

    fn recall(&mut self, place: u32) -> Result<(), End> {
        let size = *self.memo.get(&place).ok_or(End::Broken)?;
        let memo = Some(place);
        self.fetch(Slot { size, memo })
    }

    fn scalar(&mut self, pickle: &mut impl BufRead, bytes: usize) -> Result<(), End> {
        number(pickle, bytes)?;
        self.push(text(NUMBER_BYTES))
    }

    /// Puts a text on the stack whose length comes first, in `bytes` bytes.
    fn counted(&mut self, pickle: &mut impl BufRead, bytes: usize) -> Result<(), End> {
        let length = number(pickle, bytes)?;
        // Before it is passed over: the readers hold what there is of it.
        let there = io::copy(&mut Read::by_ref(pickle).take(length), &mut io::sink())?;
        self.push(text(there))?;
        match there == length {
            true => Ok(()),
            false => Err(End::Broken),
        }
    }

    /// The line that follows, without its end.
    fn line(&mut self, pickle: &mut impl BufRead) -> Result<Vec<u8>, End> {
        let mut line = Vec::new();
        let most = MAX_OBJECT_BYTES.saturating_sub(self.taken) + 1;
        Read::by_ref(pickle)
            .take(most)
            .read_until(b'\n', &mut line)?;
        self.charge(line.len() as u64)?;
        match line.pop() {
            Some(b'\n') => {}
            _ => return Err(End::Broken),
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    /// The place in the memo that an operation names: in one byte, in four, or on a line.
    fn place(&mut self, pickle: &mut impl BufRead, operation: u8) -> Result<u32, End> {
        match operation {
            b'h' | b'q' => number(pickle, 1).map(|place| place as u32),
            b'j' | b'r' => number(pickle, 4).map(|place| place as u32),
            _ => {
                let line = String::from_utf8(self.line(pickle)?);
                line.ok()
                    .and_then(|line| line.parse().ok())
                    .ok_or(End::Broken)
            }
        }
    }

    fn mark_on_top(&self) -> bool {
        self.marks.last() == Some(&self.stack.len())
    }

    fn top(&self) -> Result<&Slot, End> {
        match self.mark_on_top() {
            true => Err(End::Broken),
            false => self.stack.last().ok_or(End::Broken),
        }
    }

    fn pop(&mut self) -> Result<Slot, End> {
        let top = *self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// As many objects from the top as there have to be, in their order.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Slot>, End> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Slot>, End> {
        let mark = self.marks.pop().ok_or(End::Broken)?;
        Ok(self.stack.split_off(mark))
    }
}

/// A text of so many letters.
fn text(length: u64) -> Size {
    Size {
        key: length,
        ..Size::of(OBJECT_BYTES + length)
    }
}

/// A stored tensor, made of what takes so many bytes.
fn stored(bytes: u64) -> Size {
    Size {
        tensors: 1,
        ..Size::of(bytes)
    }
}

fn byte(pickle: &mut impl BufRead) -> Result<u8, End> {
    number(pickle, 1).map(|byte| byte as u8)
}

/// A little-endian number of `bytes` bytes.
fn number(pickle: &mut impl BufRead, bytes: usize) -> Result<u64, End> {
    let mut digits = [0; 8];
    pickle.read_exact(&mut digits[..bytes])?;
    Ok(u64::from_le_bytes(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pickle(operations: &[&[u8]]) -> Vec<u8> {
        [b"\x80\x02", operations.concat().as_slice(), b"."].concat()
    }

    fn followed(bytes: &[u8]) -> Result<(), End> {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        follow(file).unwrap()
    }

    /// `{"weight": tensor}` as `torch.save` writes it, in protocols 2 and 4.
    fn state_dicts() -> [Vec<u8>; 2] {
        let tensor = b"(X\x07\0\0\0storageq\x02ctorch\nFloatStorage\nq\x03X\x01\0\0\x000q\x04X\x03\0\0\0cpuq\x05K\x04tq\x06QK\0K\x02K\x02\x86q\x07K\x02K\x01\x86q\x08\x89ccollections\nOrderedDict\nq\x09)Rq\x0atq\x0bRq\x0c";
        let second = pickle(&[
            b"}q\0(X\x06\0\0\0weightq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x0d(",
            &tensor[..],
            b"u",
        ]);
        let fourth = pickle(&[
            b"\x95\x20\0\0\0\0\0\0\0}\x94(\x8c\x06weight\x94\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94(",
            &tensor[..],
            b"u",
        ]);
        [second, fourth]
    }

    #[test]
    fn a_state_dict_is_followed_to_its_end() {
        for state_dict in state_dicts() {
            assert_eq!(followed(&state_dict), Ok(()));
            for cut in 0..state_dict.len() {
                assert_eq!(followed(&state_dict[..cut]), Err(End::Broken), "{cut}");
            }
            // Behind it: four more pickles, and numbers that are none.
            let more = [state_dict.as_slice(), b"N.N.N.N.", &[0xff; 99]].concat();
            assert_eq!(followed(&more), Ok(()));
        }
    }

    /// Each is some kilobytes when deflated, and stands for gigabytes.
    #[test]
    fn what_would_fill_the_memory_is_refused() {
        let level = |level: u8| [b'0', b'(', b'h', level, b'h', level, b't', b'q', level + 1];
        let doubled: Vec<u8> = (0..40).flat_map(level).collect();
        let path = |depth: usize| {
            let key = [b"}X\0\0\x01\0".as_slice(), &[b'k'; 1 << 16]].concat();
            [key.repeat(depth), b"}(".to_vec()].concat()
        };
        let tensors = b"K\x01NQ".repeat(1000);
        let large: [(&str, Vec<u8>); 12] = [
            ("tuples", pickle(&[b"(", &b")".repeat(3 << 20), b"t"])),
            ("lists", pickle(&[b"(", &b"]K\x01a".repeat(1 << 20), b"t"])),
            (
                "dictionaries",
                pickle(&[b"(", &b"}NNs".repeat(1 << 20), b"t"]),
            ),
            ("sets", pickle(&[&b"\x8f".repeat(1 << 20)])),
            ("numbers", pickle(&[&b"K\x01".repeat(3 << 20)])),
            ("lines", pickle(&[&b"I1\n".repeat(3 << 20)])),
            ("classes", pickle(&[&b"ca\nb\n".repeat(3 << 20)])),
            ("marks", pickle(&[&b"(".repeat(40 << 20)])),
            ("copies", pickle(&[b"N", &b"2\x86".repeat(50)])),
            ("doublings", pickle(&[b"Nq\0", &doubled])),
            ("memories", pickle(&[b"N", &b"\x94".repeat(3 << 20)])),
            (
                "names",
                pickle(&[&path(20), &tensors, b"u", &b"s".repeat(20)]),
            ),
        ];
        for (name, bytes) in &large {
            assert_eq!(followed(bytes), Err(End::TooLarge), "{name}");
        }
        // One of the names is what others may be long for.
        let short = pickle(&[&path(1), &tensors, b"u", b"s"]);
        assert_eq!(followed(&short), Ok(()));
        // In the second of the pickles.
        let second = [b"\x80\x02N.".as_slice(), &large[0].1].concat();
        assert_eq!(followed(&second), Err(End::TooLarge));
    }

    #[test]
    fn what_readers_refuse_is_left_to_them() {
        for operations in [
            b"0".as_slice(),
            b"(N1t",
            b"(\x85",
            b"(2",
            b"K",
            b"h\x07",
            b"g+x\n",
            b"X\xff\xff\xff\xffshort",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
            b"Iendless",
            b"N(a",
            b"(NR",
            b"\x82\x01",
            b"\x97",
            b"\xff",
        ] {
            assert_eq!(followed(&pickle(&[operations])), Err(End::Broken));
        }
        assert_eq!(followed(b""), Err(End::Broken));
        assert_eq!(followed(b"PK\x03\x04"), Err(End::Broken));
        let tar = [[0x80; 257].as_slice(), b"ustar"].concat();
        assert_eq!(followed(&tar), Err(End::Tar));
    }
}
