//! The disk to push: its blocks that hold anything, in order of address.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use ring::digest::{SHA256, digest};

use super::BLOCK_BYTES;
use super::format;
use crate::error::{Error, ErrorKind, Result};

const BLOCK: u64 = BLOCK_BYTES as u64;
const GIB: u64 = 1 << 30;
const VOLUME_GIB_MAX: u64 = 65_536;
const PROBED_BYTES: usize = 512;

/// A block that is not all zeros, padded with zeros where the disk ends inside it.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) index: u32,
    pub(crate) bytes: Bytes,
    pub(crate) sha256: [u8; 32],
}

/// One step through the disk.
#[derive(Debug)]
pub(crate) enum Found {
    Block(Block),
    /// So many bytes were holes or zeros.
    Zeros(u64),
    End,
}

#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    size_bytes: u64,
    place: Mutex<Place>,
}

/// How far the walk has come. Data is known up to `data_end`; beyond it the file system is asked.
#[derive(Debug)]
struct Place {
    next: u64,
    data_end: u64,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let failed = |e: io::Error| {
            let kind =
                if e.kind() == io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Failed };
            Error::new(kind, format!("open {shown}: {e}"))
        };
        let mut file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(Error::usage(format!("{shown} is a directory, not a disk")));
        }
        // A block device tells its size only this way.
        let size_bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if size_bytes == 0 {
            return Err(Error::usage(format!("{shown} is empty")));
        }
        if size_bytes.div_ceil(GIB) > VOLUME_GIB_MAX {
            return Err(Error::usage(format!(
                "{shown} is larger than a volume can be ({VOLUME_GIB_MAX} GiB)"
            )));
        }
        refuse_other_formats(&mut file, size_bytes, path)?;
        Ok(Self { file, size_bytes, place: Mutex::new(Place { next: 0, data_end: 0 }) })
    }

    pub(crate) const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) const fn volume_size_gib(&self) -> u64 {
        self.size_bytes.div_ceil(GIB)
    }

    /// The next block or stretch of nothing. Many threads may ask at once; each gets another one. Blocking.
    pub(crate) fn next(&self) -> Result<Found> {
        let failed = |e: io::Error| Error::failed(format!("read the disk: {e}"));
        let start = {
            let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            let hole_bytes = self.skip_hole(&mut place).map_err(failed)?;
            if hole_bytes > 0 {
                return Ok(Found::Zeros(hole_bytes));
            }
            if place.next >= self.size_bytes {
                return Ok(Found::End);
            }
            let start = place.next;
            place.next += BLOCK;
            start
        };
        let len = usize::try_from(BLOCK.min(self.size_bytes - start)).unwrap_or(BLOCK_BYTES);
        let mut bytes = vec![0; BLOCK_BYTES];
        self.file.read_exact_at(bytes.get_mut(..len).unwrap_or_default(), start).map_err(failed)?;
        if is_zero(&bytes) {
            return Ok(Found::Zeros(len as u64));
        }
        let sha256 = digest(&SHA256, &bytes).as_ref().try_into().unwrap_or_default();
        let index =
            u32::try_from(start / BLOCK).map_err(|_| Error::failed("the disk has too many blocks"))?;
        Ok(Found::Block(Block { index, bytes: bytes.into(), sha256 }))
    }

    /// Moves past a hole; how many bytes that were. Blocks that hold data and hole are data.
    fn skip_hole(&self, place: &mut Place) -> io::Result<u64> {
        if place.next < place.data_end || place.next >= self.size_bytes {
            return Ok(0);
        }
        let before = place.next;
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(before)) {
            Ok(data) => {
                place.next = before.max(data / BLOCK * BLOCK);
                place.data_end = match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Hole(data)) {
                    Ok(end) => end,
                    Err(rustix::io::Errno::NXIO) => self.size_bytes,
                    Err(e) => return Err(e.into()),
                };
            }
            Err(rustix::io::Errno::NXIO) => place.next = self.size_bytes,
            // A file system or device that knows no holes.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => place.data_end = self.size_bytes,
            Err(e) => return Err(e.into()),
        }
        Ok(place.next.min(self.size_bytes) - before)
    }
}

fn refuse_other_formats(file: &mut File, size_bytes: u64, path: &Path) -> Result<()> {
    let mut read = |from: u64| -> io::Result<Vec<u8>> {
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(PROBED_BYTES as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let probe = |e: io::Error| Error::failed(format!("read {}: {e}", path.display()));
    let head = read(0).map_err(probe)?;
    let tail = read(size_bytes.saturating_sub(PROBED_BYTES as u64)).map_err(probe)?;
    let Some((name, remedy)) = format::not_raw(&head, &tail) else { return Ok(()) };
    let message = format!("{} is not a raw disk but {name}", path.display());
    Err(Error::usage(message).with_hint(remedy.hint(&path.display().to_string())))
}

/// Eight bytes at a time; most blocks differ early.
fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(|word| u64::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn walk(source: &Source) -> (Vec<u32>, u64) {
        let (mut blocks, mut zero_bytes) = (Vec::new(), 0);
        loop {
            match source.next().unwrap() {
                Found::Block(block) => {
                    assert_eq!(block.bytes.len(), BLOCK_BYTES);
                    blocks.push(block.index);
                }
                Found::Zeros(bytes) => zero_bytes += bytes,
                Found::End => return (blocks, zero_bytes),
            }
        }
    }

    #[test]
    fn holes_and_zeros_are_passed_over_and_the_last_block_is_padded() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(100 * BLOCK + 700).unwrap();
        file.as_file().write_all_at(b"x", 3 * BLOCK + 5).unwrap();
        file.as_file().write_all_at(&vec![0; BLOCK_BYTES], 50 * BLOCK).unwrap();
        file.as_file().write_all_at(b"y", 100 * BLOCK + 699).unwrap();
        file.flush().unwrap();
        let source = Source::open(file.path()).unwrap();
        assert_eq!(source.volume_size_gib(), 1);
        assert_eq!(walk(&source), (vec![3, 100], 99 * BLOCK));
    }

    #[test]
    fn what_is_no_raw_disk_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Source::open(dir.path()).unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(Source::open(&dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
        let file = dir.path().join("disk.qcow2");
        std::fs::write(&file, b"").unwrap();
        assert!(Source::open(&file).unwrap_err().to_string().ends_with("is empty"));
        std::fs::write(&file, b"QFI\xfb0000").unwrap();
        let refused = Source::open(&file).unwrap_err();
        assert!(refused.hint().unwrap().contains("qemu-img convert"), "{refused}");
    }

    #[test]
    fn zero_is_told_from_the_rest_at_every_place() {
        let mut bytes = [0; 27];
        assert!(is_zero(&bytes));
        for at in 0..bytes.len() {
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
            bytes[at] = 0;
        }
    }
}
