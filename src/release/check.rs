//! Reads an archive to its end and judges what is in it.
//!
//! A host unpacks the archive as root, so that no entry of it, relied on or not, may reach outside of the
//! one folder at its top, and nothing may lie at a program's place but that program.

use crate::files;
use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::digest::{Hasher, drain};
use super::{Binary, ReleaseError, Want, elf};

/// The most that an archive may unpack to. A release is of some 60 MB; this stops a tar bomb.
pub(super) const UNPACKED_LIMIT: u64 = 1 << 30;

/// Why a file does not have the digest that `origin` demands: cut short, or something else altogether.
pub(super) fn mismatch(
    file: &Path,
    want: &Want<'_>,
    what: &str,
    found: String,
    wanted: String,
    origin: String,
) -> ReleaseError {
    match archive(file, want, what) {
        Err(cut @ ReleaseError::Truncated { .. }) => cut,
        _ => ReleaseError::WrongDigest { what: what.to_owned(), found, wanted, origin },
    }
}

/// Checks the archive in a file, called `what` in errors, and tells which programs it holds.
pub(super) fn archive(file: &Path, want: &Want<'_>, what: &str) -> Result<Vec<Binary>, ReleaseError> {
    let file = files::open(file).map_err(ReleaseError::io("open", file))?;
    read(BufReader::with_capacity(128 * 1024, file), want, what, UNPACKED_LIMIT)
}

fn read(packed: impl io::BufRead, want: &Want<'_>, what: &str, limit: u64) -> Result<Vec<Binary>, ReleaseError> {
    let left = Cell::new(limit);
    let fault = |source: io::Error| {
        let what = what.to_owned();
        if left.get() == 0 {
            ReleaseError::TooLarge { what, limit }
        } else if source.kind() == io::ErrorKind::UnexpectedEof {
            ReleaseError::Truncated { what }
        } else {
            ReleaseError::Damaged { what, source }
        }
    };
    let mut layout = Layout::new(want, what);
    let mut found = Vec::new();
    let mut tar = tar::Archive::new(Bounded {
        // A gzip file may consist of several members; `gzip -d` on the hosts reads them all.
        inner: MultiGzDecoder::new(packed),
        left: &left,
    });
    for entry in tar.entries().map_err(fault)? {
        let mut entry = entry.map_err(fault)?;
        let name = entry.path_bytes().into_owned();
        let target = entry.link_name_bytes().map(|target| target.into_owned());
        let Some(program) = layout.admit(&name, entry.header().entry_type(), target.as_deref())? else {
            continue;
        };
        let size = entry.size();
        let (binary, head) = read_program(program, &mut entry).map_err(fault)?;
        // The tar reader takes an early end of the file for the end of the entry.
        if binary.size != size {
            return Err(ReleaseError::Truncated { what: what.to_owned() });
        }
        judge(program, &head, size, want, what)?;
        found.push(binary);
    }
    // Only the end of the gzip stream, with its checksum, tells whether the archive is whole.
    drain(tar.into_inner(), |_| {}).map_err(fault)?;
    in_order(found, want, what)
}

/// A program's size and digest, and its first bytes.
fn read_program(name: &str, reader: impl Read) -> io::Result<(Binary, Vec<u8>)> {
    let mut hasher = Hasher::default();
    let mut head = Vec::with_capacity(elf::HEAD);
    let size = drain(reader, |bytes| {
        hasher.update(bytes);
        let room = elf::HEAD - head.len();
        head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    })?;
    let binary = Binary { name: name.to_owned(), sha256: hasher.hex(), size };
    Ok((binary, head))
}

/// Whether a program is whole and for the right machine.
pub(super) fn judge(program: &str, head: &[u8], size: u64, want: &Want<'_>, what: &str) -> Result<(), ReleaseError> {
    let what = what.to_owned();
    let binary = program.to_owned();
    match elf::check(head, size, want.arch) {
        Ok(()) => Ok(()),
        Err(elf::Fault::NotElf) => Err(ReleaseError::NotElf { what, binary }),
        Err(elf::Fault::Cut) => Err(ReleaseError::CutBinary { what, binary }),
        Err(elf::Fault::Machine(found)) => Err(ReleaseError::WrongArch { what, binary, found, wanted: want.arch }),
    }
}

/// All programs of the version, in their order.
fn in_order(found: Vec<Binary>, want: &Want<'_>, what: &str) -> Result<Vec<Binary>, ReleaseError> {
    want.programs()
        .iter()
        .map(|program| {
            let binary = found.iter().find(|binary| binary.name == *program);
            binary
                .cloned()
                .ok_or_else(|| ReleaseError::MissingBinary { what: what.to_owned(), binary: (*program).to_owned() })
        })
        .collect()
}

/// What may lie where in an archive.
struct Layout<'a> {
    programs: &'static [&'static str],
    top: String,
    what: &'a str,
    seen: HashSet<&'static str>,
    links: HashSet<Vec<Vec<u8>>>,
}

impl<'a> Layout<'a> {
    fn new(want: &Want<'_>, what: &'a str) -> Self {
        Self { programs: want.programs(), top: want.top_folder(), what, seen: HashSet::new(), links: HashSet::new() }
    }

    /// Judges the place and kind of an entry; says which program it is, if one that counts.
    fn admit(
        &mut self,
        name: &[u8],
        kind: EntryType,
        target: Option<&[u8]>,
    ) -> Result<Option<&'static str>, ReleaseError> {
        if kind == EntryType::XGlobalHeader {
            return Ok(None);
        }
        let refuse = |why| {
            Err(ReleaseError::UnsafeEntry {
                what: self.what.to_owned(),
                entry: String::from_utf8_lossy(name).into_owned(),
                why,
            })
        };
        let Some(path) = inside(&[], name) else {
            return refuse("which leads outside of the folder that it is unpacked in");
        };
        let Some(top) = path.first() else {
            return Ok(None);
        };
        if top != self.top.as_bytes() {
            return Err(ReleaseError::WrongContent {
                what: self.what.to_owned(),
                found: String::from_utf8_lossy(top).into_owned(),
                wanted: self.top.clone(),
            });
        }
        if (1..=path.len()).any(|end| self.links.contains(&path[..end])) {
            return refuse("which lies beyond a link");
        }
        let program = match path.as_slice() {
            [_] if kind != EntryType::Directory => return refuse("which is not a folder"),
            [_, name] => {
                let same = |program: &&&str| program.as_bytes() == name.as_slice();
                self.programs.iter().find(same).copied()
            }
            _ => None,
        };
        match kind {
            EntryType::Regular | EntryType::Continuous => {
                let Some(program) = program else {
                    return Ok(None);
                };
                if self.seen.contains(program) {
                    return refuse("a second time");
                }
                self.seen.insert(program);
                Ok(Some(program))
            }
            _ if program.is_some() => refuse("which is not a regular file"),
            EntryType::Directory => Ok(None),
            EntryType::Symlink => {
                // Releases before 3.5 have one, from one document to another.
                let target = inside(&path[..path.len() - 1], target.unwrap_or_default());
                if target.is_none_or(|target| target.first() != path.first()) {
                    return refuse("a link that leads outside of its folder");
                }
                self.links.insert(path);
                Ok(None)
            }
            _ => refuse("which is neither a file, a folder nor a symbolic link"),
        }
    }
}

/// The parts of a path seen from a folder, `.` and `..` resolved; `None` if it is absolute or leads out of
/// the archive on its way.
fn inside(folder: &[Vec<u8>], path: &[u8]) -> Option<Vec<Vec<u8>>> {
    if path.starts_with(b"/") {
        return None;
    }
    let mut parts = folder.to_vec();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            // In an entry's own name tar refuses it even where it stays inside.
            b".." if folder.is_empty() => return None,
            b".." => drop(parts.pop()?),
            _ => parts.push(part.to_vec()),
        }
    }
    Some(parts)
}

/// Stops after so many bytes.
struct Bounded<'a, R> {
    inner: R,
    left: &'a Cell<u64>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        match self.left.get().checked_sub(n as u64) {
            Some(left) if left > 0 => {
                self.left.set(left);
                Ok(n)
            }
            _ => {
                self.left.set(0);
                Err(io::Error::other("too large"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Arch;
    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gz, bytes).unwrap();
        gz.finish().unwrap()
    }

    fn read_all(archive: &[u8], limit: u64) -> Result<Vec<Binary>, ReleaseError> {
        let version = semver::Version::new(3, 4, 23);
        let want = Want { version: &version, arch: Arch::Amd64, on_progress: &|_| {} };
        read(archive, &want, "a.tgz", limit)
    }

    #[test]
    fn a_tar_bomb_is_stopped() {
        // Within an entry, and behind the end of the archive.
        let mut entry = tar::Header::new_gnu();
        entry.set_path("etcd-v3.4.23-linux-amd64/zeros").unwrap();
        entry.set_size(1 << 20);
        entry.set_cksum();
        let mut inside = entry.as_bytes().to_vec();
        inside.resize(2 << 20, 0);
        for bytes in [inside, vec![0; 1 << 20]] {
            let archive = packed(&bytes);
            assert!(archive.len() < 20_000);
            assert!(matches!(read_all(&archive, 500_000), Err(ReleaseError::TooLarge { limit: 500_000, .. })));
            assert!(matches!(read_all(&archive, 4 << 20), Err(ReleaseError::MissingBinary { .. })));
        }
    }

    #[test]
    fn an_end_of_the_tar_stream_within_a_program_is_noticed() {
        let mut entry = tar::Header::new_gnu();
        entry.set_path("etcd-v3.4.23-linux-amd64/etcd").unwrap();
        entry.set_size(4096);
        entry.set_cksum();
        let mut tar = entry.as_bytes().to_vec();
        tar.resize(2048, 0);
        assert!(matches!(read_all(&packed(&tar), 1 << 20), Err(ReleaseError::Truncated { .. })));
    }

    #[test]
    fn entries_of_any_kind_and_place() {
        use EntryType as Kind;
        let version = semver::Version::new(3, 5, 16);
        let want = Want { version: &version, arch: Arch::Amd64, on_progress: &|_| {} };
        const FINE: &str = "";
        for (name, kind, target, verdict) in [
            ("T/etcd", Kind::Regular, None, FINE),
            ("./T/etcd", Kind::Regular, None, FINE),
            ("T//./etcd", Kind::Regular, None, FINE),
            ("./", Kind::Directory, None, FINE),
            ("T/", Kind::Directory, None, FINE),
            ("T/Documentation/x.md", Kind::Regular, None, FINE),
            ("T/Documentation/README.md", Kind::Symlink, Some("docs.md"), FINE),
            ("T/a/b/link", Kind::Symlink, Some("../../c"), FINE),
            ("pax_global_header", Kind::XGlobalHeader, None, FINE),
            ("../T/etcd", Kind::Regular, None, "outside of the folder"),
            ("T/../etcd", Kind::Regular, None, "outside of the folder"),
            ("T/x/../../../etc/cron.d/x", Kind::Regular, None, "outside of the folder"),
            ("/etc/passwd", Kind::Regular, None, "outside of the folder"),
            ("etcd", Kind::Regular, None, "instead of the folder"),
            ("etcd-v3.5.30-linux-amd64/etcd", Kind::Regular, None, "instead of the folder"),
            ("T", Kind::Symlink, Some("/usr/local/bin"), "not a folder"),
            ("T", Kind::Regular, None, "not a folder"),
            ("T/etcd", Kind::Symlink, Some("other"), "not a regular file"),
            ("T/etcd", Kind::Link, Some("T/other"), "not a regular file"),
            ("T/etcdctl", Kind::Directory, None, "not a regular file"),
            ("T/etcdutl", Kind::GNUSparse, None, "not a regular file"),
            ("T/x", Kind::Symlink, Some("/etc"), "leads outside"),
            ("T/x", Kind::Symlink, Some(".."), "leads outside"),
            ("T/x", Kind::Symlink, Some("../../../etc"), "leads outside"),
            ("T/x", Kind::Symlink, Some("../other"), "leads outside"),
            ("T/x", Kind::Link, Some("T/etcd"), "neither a file"),
            ("T/x", Kind::Char, None, "neither a file"),
            ("T/x", Kind::Fifo, None, "neither a file"),
        ] {
            let top = want.top_folder();
            let name = if name == "T" { top.clone() } else { name.replace("T/", &format!("{top}/")) };
            let error = Layout::new(&want, "a.tgz")
                .admit(name.as_bytes(), kind, target.map(str::as_bytes))
                .map_or_else(|error| error.to_string(), |_| String::new());
            assert!(
                if verdict == FINE { error.is_empty() } else { error.contains(verdict) },
                "{name} {kind:?}: {error:?} is not {verdict:?}"
            );
        }
    }

    #[test]
    fn nothing_lies_beyond_a_link_or_twice() {
        let version = semver::Version::new(3, 5, 16);
        let want = Want { version: &version, arch: Arch::Amd64, on_progress: &|_| {} };
        let name = |rest: &str| format!("{}/{rest}", want.top_folder()).into_bytes();
        let mut layout = Layout::new(&want, "a.tgz");
        layout.admit(&name("x"), EntryType::Symlink, Some(b".")).unwrap();
        for beyond in ["x", "x/etcd", "x/y/z"] {
            let error = layout.admit(&name(beyond), EntryType::Regular, None).unwrap_err();
            assert!(error.to_string().contains("beyond a link"), "{error}");
        }
        assert_eq!(layout.admit(&name("etcd"), EntryType::Regular, None).unwrap(), Some("etcd"));
        let error = layout.admit(&name("etcd"), EntryType::Regular, None).unwrap_err();
        assert!(error.to_string().contains("second time"), "{error}");
    }
}
