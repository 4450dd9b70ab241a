//! Bare binaries, packed like an official release, so that the hosts know one form only.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};
use tar::{EntryType, Header};

use super::cache::Cache;
use super::stamp::Stamp;
use super::{Archive, ReleaseError, Want, check, digest, elf, local};

/// What was packed, and into what.
#[derive(Serialize, Deserialize)]
struct Packed {
    inputs: Vec<Stamp>,
    sha256: String,
}

/// An archive of the programs in `folder`, or in its subfolder for the architecture. The same programs
/// give the same bytes, whenever and wherever they are packed. Which version they are is not checked: a
/// program for another machine cannot be asked, so that the host has to be.
pub(super) fn binaries(cache: &Cache, want: &Want<'_>, folder: &Path) -> Result<Archive, ReleaseError> {
    let folder = of_arch(want, folder)?;
    let stamps = || stamps(want, &folder);
    let inputs = stamps()?;
    let key = local::source_key(want, &folder)?;
    if let Some(packed) = cache.recall::<Packed>(&key)
        && packed.inputs == inputs
        && let Some(sha256) = digest::hex(&packed.sha256)
        && let Some(archive) = cache.checked(want, &sha256)
    {
        return Ok(archive);
    }

    let what = folder.display().to_string();
    want.tell(&format!("packing `{what}`"), 0, None);
    for (program, stamp) in want.programs().iter().zip(&inputs) {
        let path = folder.join(program);
        let head = head(&path).map_err(ReleaseError::io("read", &path))?;
        check::judge(program, &head, stamp.size, want, &what)?;
    }
    let name = digest::of_text(&key);
    let _lock = cache.lock(want, &name)?;
    let part = cache.folder("partial")?.join(format!("{name}.part"));
    pack(want, &folder, &inputs, &part)?;
    if stamps()? != inputs {
        return Err(ReleaseError::Changed { path: folder });
    }
    let sha256 = digest::of_file(&part)?;
    let _lock = cache.lock(want, &sha256)?;
    let archive = cache.adopt(want, &sha256, &part, &what)?;
    cache.remember(&key, &Packed { inputs, sha256 });
    Ok(archive)
}

fn of_arch(want: &Want<'_>, folder: &Path) -> Result<PathBuf, ReleaseError> {
    if !folder.is_dir() {
        return Err(ReleaseError::NotFound { what: "folder of binaries".to_owned(), looked: vec![folder.to_owned()] });
    }
    let own = folder.join(want.arch.as_str());
    Ok(if own.is_dir() { own } else { folder.to_owned() })
}

fn stamps(want: &Want<'_>, folder: &Path) -> Result<Vec<Stamp>, ReleaseError> {
    let missing =
        |program: &str| ReleaseError::MissingBinary { what: folder.display().to_string(), binary: program.to_owned() };
    want.programs()
        .iter()
        .map(|program| {
            let path = folder.join(program);
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => Ok(Stamp::from(&metadata)),
                Ok(_) => Err(missing(program)),
                Err(error) if local::absent(&error) => Err(missing(program)),
                Err(error) => Err(ReleaseError::io("read", &path)(error)),
            }
        })
        .collect()
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(elf::HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn pack(want: &Want<'_>, folder: &Path, inputs: &[Stamp], into: &Path) -> Result<(), ReleaseError> {
    let file = File::create(into).map_err(ReleaseError::io("create", into))?;
    let writing = |error| ReleaseError::io("write", into)(error);
    // Bare binaries come from the user's own disk: packing them fast serves better than packing them small.
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(io::BufWriter::new(file), Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    let top = want.top_folder();
    tar.append_data(&mut header(EntryType::Directory, 0), format!("{top}/"), io::empty()).map_err(writing)?;
    for (program, stamp) in want.programs().iter().zip(inputs) {
        let path = folder.join(program);
        let source = File::open(&path).map_err(ReleaseError::io("read", &path))?;
        // Never more than was announced; less shows in the check of the archive.
        tar.append_data(
            &mut header(EntryType::Regular, stamp.size),
            format!("{top}/{program}"),
            source.take(stamp.size),
        )
        .map_err(writing)?;
    }
    let mut file = tar.into_inner().and_then(|gzip| gzip.finish()).map_err(writing)?;
    file.flush().map_err(writing)?;
    file.get_ref().sync_all().map_err(writing)
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}
