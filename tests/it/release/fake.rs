//! Archives that look like releases, right or wrong in one point.

use std::path::Path;

use etcd_ha::release::Arch;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

pub fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// A program of one loaded segment, of which all but the header is noise that does not compress.
pub fn program(arch: Arch, size: usize, seed: u8) -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend(2u16.to_le_bytes());
    elf.extend(arch.elf_machine().to_le_bytes());
    elf.resize(32, 0);
    elf.extend(64u64.to_le_bytes());
    elf.resize(54, 0);
    elf.extend(56u16.to_le_bytes());
    elf.extend(1u16.to_le_bytes());
    elf.resize(64 + 32, 0);
    elf.extend((size as u64).to_le_bytes());
    elf.resize(64 + 56, 0);
    let mut state = u64::from(seed) + 1;
    while elf.len() < size {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        elf.extend(state.to_le_bytes());
    }
    elf.truncate(size);
    elf
}

pub const SIZE: usize = 150_000;

/// An archive under construction.
pub struct Archive {
    tar: tar::Builder<Vec<u8>>,
}

impl Archive {
    pub fn empty() -> Self {
        Self { tar: tar::Builder::new(Vec::new()) }
    }

    /// An official release of 3.5 or later.
    pub fn release(version: &str, arch: Arch) -> Self {
        let top = format!("etcd-v{version}-linux-{arch}");
        Self::empty()
            .folder(&format!("{top}/"))
            .file(&format!("{top}/README.md"), b"# etcd")
            .file(&format!("{top}/etcd"), &program(arch, SIZE, 1))
            .file(&format!("{top}/etcdctl"), &program(arch, SIZE, 2))
            .file(&format!("{top}/etcdutl"), &program(arch, SIZE, 3))
    }

    pub fn folder(self, path: &str) -> Self {
        self.entry(path, EntryType::Directory, b"", None)
    }

    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, EntryType::Regular, content, None)
    }

    pub fn link(self, path: &str, kind: EntryType, target: &str) -> Self {
        self.entry(path, kind, b"", Some(target))
    }

    /// Any path, also those that the tar crate would not write.
    fn entry(mut self, path: &str, kind: EntryType, content: &[u8], target: Option<&str>) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        if let Some(target) = target {
            header.set_link_name_literal(target).unwrap();
        }
        header.set_cksum();
        self.tar.append(&header, content).unwrap();
        self
    }

    pub fn pack(self) -> Vec<u8> {
        gzip(&self.tar.into_inner().unwrap())
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut gz, bytes).unwrap();
    gz.finish().unwrap()
}

/// Every file below a folder, by its path in it, locks aside.
pub fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(current) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|ext| ext != "lock") {
                let below = path.strip_prefix(folder).unwrap();
                found.push(below.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}
