//! A read-only walk over a bbolt database file, which is what etcd keeps its data in.
//!
//! The file is a run of pages. The first two are metas, of which the valid one with the higher
//! transaction id counts; it names the root page of a tree whose leaves are the buckets, and each of
//! these is a tree of its own, or a page inside its own entry if it is small. All numbers are
//! little-endian. (bbolt, `internal/common/page.go`, `meta.go`, `bucket.go`.)
//!
//! Nothing in the file is trusted: offsets are checked, no page is entered twice, so that a cycle is
//! an error and the work is bound by the file's size, and a page is as large as [`MAX_RUN`] at most.

use std::io::{self, Read, Seek, SeekFrom};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// Header of a page, of an element, and of a bucket.
const HEADER: usize = 16;
const META: usize = 64;
const BRANCH_PAGE: u16 = 0x01;
const LEAF_PAGE: u16 = 0x02;
const BUCKET_ENTRY: u32 = 0x01;
/// The largest page with its overflow that is read at once. etcd warns of requests above 10 MiB, and
/// a page holds about two of them.
const MAX_RUN: u64 = 64 << 20;
/// Trees of a whole page per key would have to hold 2^32 keys to be deeper.
const MAX_DEPTH: usize = 32;

/// What is wrong with a database file.
#[derive(Debug, thiserror::Error)]
pub enum BoltError {
    /// It cannot be read.
    #[error("cannot read it")]
    Io(#[from] io::Error),
    /// Neither meta page is valid.
    #[error("it is no bbolt database: neither of its meta pages is valid")]
    NoMeta,
    /// The file is shorter than its meta page says.
    #[error("it is cut off: it has {has} of {wants} pages")]
    Cut {
        /// How many pages there are.
        has: u64,
        /// How many there have to be.
        wants: u64,
    },
    /// A page is not what it has to be.
    #[error("page {page} of the database {fault}")]
    Page {
        /// The page's number.
        page: u64,
        /// What is wrong, a phrase.
        fault: &'static str,
    },
}

/// What the walk comes by, in the order of the file's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A bucket begins.
    Bucket(&'a [u8]),
    /// An entry of the bucket that began last.
    Entry(&'a [u8], &'a [u8]),
}

/// Shows every bucket and every entry of the database in the first `size` bytes of `source`.
pub(super) fn walk<R: Read + Seek>(
    mut source: R,
    size: u64,
    mut visit: impl FnMut(Found<'_>),
) -> Result<(), BoltError> {
    let meta = newest_meta(&mut source, size)?;
    let has = size / meta.page_size;
    if meta.pages > has {
        return Err(BoltError::Cut { has, wants: meta.pages });
    }
    let words = usize::try_from(meta.pages / 64 + 1).map_err(|_| BoltError::Cut { has, wants: meta.pages })?;
    let mut pages = Pages { source, page_size: meta.page_size, pages: meta.pages, entered: vec![0; words] };
    pages.tree(meta.root, 0, &mut Vec::new(), &mut |pages, page, flags, name, value| {
        if flags & BUCKET_ENTRY == 0 {
            return Err(BoltError::Page { page, fault: "holds an entry outside of all buckets" });
        }
        visit(Found::Bucket(name));
        let root = u64_at(value, 0).ok_or(BoltError::Page { page, fault: "holds a bucket that is cut off" })?;
        let mut entry = |_: &mut Pages<R>, page, flags, key: &[u8], value: &[u8]| {
            if flags & BUCKET_ENTRY != 0 {
                return Err(BoltError::Page { page, fault: "holds a bucket within a bucket, which etcd never makes" });
            }
            visit(Found::Entry(key, value));
            Ok(())
        };
        let last = &mut Vec::new();
        match root {
            0 => pages.leaf(page, value.get(HEADER..).unwrap_or_default(), last, &mut entry),
            root => pages.tree(root, 0, last, &mut entry),
        }
    })
}

struct Meta {
    page_size: u64,
    root: u64,
    pages: u64,
    transaction: u64,
}

fn newest_meta<R: Read + Seek>(source: &mut R, size: u64) -> Result<Meta, BoltError> {
    let first = meta_at(source, 0, size)?;
    // Where the first one is damaged, its size has to be guessed to find the second.
    let sizes = first.as_ref().map_or_else(|| (10..=16).map(|bits| 1 << bits).collect(), |meta| vec![meta.page_size]);
    let mut newest = first;
    for page_size in sizes {
        if let Some(second) = meta_at(source, page_size, size)?
            && second.page_size == page_size
            && newest.as_ref().is_none_or(|newest| newest.transaction < second.transaction)
        {
            newest = Some(second);
        }
    }
    newest.ok_or(BoltError::NoMeta)
}

/// The meta of the page that begins at this byte; `None` if it is not valid.
fn meta_at<R: Read + Seek>(source: &mut R, at: u64, size: u64) -> Result<Option<Meta>, BoltError> {
    if at + (HEADER + META) as u64 > size {
        return Ok(None);
    }
    let mut bytes = [0; HEADER + META];
    source.seek(SeekFrom::Start(at))?;
    source.read_exact(&mut bytes)?;
    let meta = &bytes[HEADER..];
    let number = |at| u64_at(meta, at).unwrap_or_default();
    let page_size = u32_at(meta, 8).unwrap_or_default();
    let valid = u32_at(meta, 0) == Some(MAGIC)
        && u32_at(meta, 4) == Some(VERSION)
        && number(META - 8) == fnv1a(&meta[..META - 8])
        && page_size.is_power_of_two()
        && (1 << 10..=1 << 16).contains(&page_size);
    let meta = Meta { page_size: page_size.into(), root: number(16), pages: number(40), transaction: number(48) };
    Ok(valid.then_some(meta))
}

struct Pages<R> {
    source: R,
    page_size: u64,
    pages: u64,
    /// A bit a page: whether it was entered.
    entered: Vec<u64>,
}

/// Takes an entry: page, flags, key, value.
type Visit<'v, R> = &'v mut dyn FnMut(&mut Pages<R>, u64, u32, &[u8], &[u8]) -> Result<(), BoltError>;

impl<R: Read + Seek> Pages<R> {
    /// Goes over all leaves below a page; `last` is the key that came before.
    fn tree(&mut self, page: u64, depth: usize, last: &mut Vec<u8>, visit: Visit<'_, R>) -> Result<(), BoltError> {
        let fault = |fault| BoltError::Page { page, fault };
        let bytes = self.enter(page)?;
        match u16_at(&bytes, 8) {
            Some(LEAF_PAGE) => self.leaf(page, &bytes, last, visit),
            Some(BRANCH_PAGE) if depth < MAX_DEPTH => {
                let count = usize::from(u16_at(&bytes, 10).unwrap_or_default());
                let child = |index| u64_at(&bytes, HEADER + HEADER * index + 8).ok_or(fault("is cut off"));
                let children = (0..count).map(child).collect::<Result<Vec<_>, _>>()?;
                // Only the numbers of the children are kept while these are gone over.
                drop(bytes);
                children.into_iter().try_for_each(|child| self.tree(child, depth + 1, last, visit))
            }
            Some(BRANCH_PAGE) => Err(fault("is too deep in its tree")),
            _ => Err(fault("is neither a branch nor a leaf")),
        }
    }

    /// Goes over the entries of a leaf; `page` is where it stands.
    fn leaf(&mut self, page: u64, bytes: &[u8], last: &mut Vec<u8>, visit: Visit<'_, R>) -> Result<(), BoltError> {
        let fault = |fault| BoltError::Page { page, fault };
        if u16_at(bytes, 8) != Some(LEAF_PAGE) {
            return Err(fault("holds a bucket that is no leaf"));
        }
        // Entries do not overlap: a small page must not stand for endless work.
        let mut room = bytes.len();
        for index in 0..usize::from(u16_at(bytes, 10).unwrap_or_default()) {
            let (flags, key, value) = entry(bytes, index).ok_or(fault("is cut off"))?;
            room = room.checked_sub(key.len() + value.len()).ok_or(fault("holds more than it has room for"))?;
            if key <= last.as_slice() {
                return Err(fault("is not in the order of its keys"));
            }
            last.clear();
            last.extend_from_slice(key);
            visit(self, page, flags, key, value)?;
        }
        Ok(())
    }

    /// Reads a page and those that it overflows into.
    fn enter(&mut self, page: u64) -> Result<Vec<u8>, BoltError> {
        let fault = |fault| BoltError::Page { page, fault };
        // The first two are the metas.
        if !(2..self.pages).contains(&page) {
            return Err(fault("is outside of the file"));
        }
        let mut header = [0; HEADER];
        self.source.seek(SeekFrom::Start(page * self.page_size))?;
        self.source.read_exact(&mut header)?;
        if u64_at(&header, 0) != Some(page) {
            return Err(fault("says that it is another one"));
        }
        let run = u64::from(u32_at(&header, 12).unwrap_or_default()) + 1;
        if run > self.pages - page {
            return Err(fault("is outside of the file"));
        }
        let size = run * self.page_size;
        if size > MAX_RUN {
            return Err(fault("is larger than 64 MiB"));
        }
        for page in page..page + run {
            let word = usize::try_from(page / 64).ok().and_then(|word| self.entered.get_mut(word));
            let (word, bit) = (word.ok_or(fault("is outside of the file"))?, 1 << (page % 64));
            if *word & bit != 0 {
                return Err(fault("stands in two places of the tree"));
            }
            *word |= bit;
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| fault("is larger than 64 MiB"))?];
        bytes[..HEADER].copy_from_slice(&header);
        self.source.read_exact(&mut bytes[HEADER..])?;
        Ok(bytes)
    }
}

/// Flags, key and value of a leaf's entry.
fn entry(bytes: &[u8], index: usize) -> Option<(u32, &[u8], &[u8])> {
    let at = HEADER + HEADER * index;
    let number = |offset| u32_at(bytes, at + offset);
    let length = |offset| usize::try_from(number(offset)?).ok();
    let key = at.checked_add(length(4)?)?;
    let value = key.checked_add(length(8)?)?;
    let end = value.checked_add(length(12)?)?;
    Some((number(0)?, bytes.get(key..value)?, bytes.get(value..end)?))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// FNV-1a, 64 bits: the checksum of a meta.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
