//! Just enough of the ELF format (elf(5)) to tell whether a program is whole and for which machine.

use super::Arch;

/// How much of a file's beginning [`check`] wants to see, if the file has that much. Go's linker puts
/// both header tables there; other linkers put the section headers at the end, where their place
/// alone tells a cut file.
pub(super) const HEAD: usize = 8192;

/// What is wrong with a program.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No ELF file at all.
    NotElf,
    /// For another machine than the wanted one.
    Machine(String),
    /// The headers speak of bytes beyond the file's end.
    Cut,
}

/// Judges a program by its first bytes, `head`, and its whole size.
pub(super) fn check(head: &[u8], size: u64, wanted: Arch) -> Result<(), Fault> {
    if head.get(..4) != Some(b"\x7fELF") {
        return Err(Fault::NotElf);
    }
    // e_ident[EI_CLASS] and [EI_DATA], e_machine: at the same place in every ELF file.
    let (Some(&class), Some(&order), Some(machine)) = (head.get(4), head.get(5), u16_at(head, 18)) else {
        return Err(Fault::Cut);
    };
    let machine = if order == LITTLE_ENDIAN { machine } else { machine.swap_bytes() };
    if (class, order, machine) != (CLASS_64, LITTLE_ENDIAN, wanted.elf_machine()) {
        return Err(Fault::Machine(describe(class, order, machine)));
    }
    match end(head) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Fault::Cut),
    }
}

const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
/// `SHT_NOBITS`: a section that takes no room in the file.
const NOBITS: u32 = 8;

/// The last byte in the file that a 64-bit little-endian ELF header or a header table in `head`
/// speaks of, plus one. `None` if the header itself is cut or nonsense.
fn end(head: &[u8]) -> Option<u64> {
    let segments = Table { at: u64_at(head, 32)?, entry: u16_at(head, 54)?.into(), count: u16_at(head, 56)?.into() };
    let sections = Table { at: u64_at(head, 40)?, entry: u16_at(head, 58)?.into(), count: u16_at(head, 60)?.into() };
    let mut end = segments.end()?.max(sections.end()?);
    for entry in segments.entries(head) {
        // p_offset, p_filesz
        let (Some(offset), Some(size)) = (u64_at(entry, 8), u64_at(entry, 32)) else {
            break;
        };
        end = end.max(offset.checked_add(size)?);
    }
    for entry in sections.entries(head) {
        // sh_type, sh_offset, sh_size
        let (Some(kind), Some(offset), Some(size)) = (u32_at(entry, 4), u64_at(entry, 24), u64_at(entry, 32)) else {
            break;
        };
        if kind != NOBITS {
            end = end.max(offset.checked_add(size)?);
        }
    }
    Some(end)
}

/// A table of headers in the file.
struct Table {
    at: u64,
    entry: u64,
    count: u64,
}

impl Table {
    fn end(&self) -> Option<u64> {
        self.at.checked_add(self.entry * self.count)
    }

    /// The entries that lie in `head`; one of no size would be none at all.
    fn entries<'a>(&self, head: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let from = usize::try_from(self.at).unwrap_or(usize::MAX);
        let entry = usize::try_from(self.entry).unwrap_or(0).max(1);
        let count = usize::try_from(self.count).unwrap_or(0);
        head.get(from..).unwrap_or_default().chunks(entry).take(count)
    }
}

fn describe(class: u8, order: u8, machine: u16) -> String {
    if let Some(arch) = Arch::ALL.into_iter().find(|arch| arch.elf_machine() == machine)
        && order == LITTLE_ENDIAN
    {
        return if class == CLASS_64 { arch.to_string() } else { format!("32-bit {arch}") };
    }
    // e_machine numbers of what etcd has been built for, with Go's names.
    match (machine, order) {
        (3, _) => "386".to_owned(),
        (21, LITTLE_ENDIAN) => "ppc64le".to_owned(),
        (21, _) => "ppc64".to_owned(),
        (22, _) => "s390x".to_owned(),
        (40, _) => "arm".to_owned(),
        (243, _) => "riscv64".to_owned(),
        (258, _) => "loong64".to_owned(),
        _ => format!("ELF machine {machine}"),
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A program of one loaded segment that is the whole file.
    fn program(machine: u16, size: u64) -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        elf.extend(2u16.to_le_bytes());
        elf.extend(machine.to_le_bytes());
        elf.resize(32, 0);
        elf.extend(64u64.to_le_bytes());
        elf.resize(54, 0);
        elf.extend(56u16.to_le_bytes());
        elf.extend(1u16.to_le_bytes());
        elf.resize(64 + 32, 0);
        elf.extend(size.to_le_bytes());
        elf.resize(64 + 56, 0);
        elf
    }

    fn changed(at: usize, value: u8) -> Vec<u8> {
        let mut elf = program(62, 1000);
        elf[at] = value;
        elf
    }

    #[test]
    fn tells_whole_programs_for_the_wanted_machine_from_others() {
        let machine = |name: &str| Err(Fault::Machine(name.to_owned()));
        for (head, wanted, verdict) in [
            (program(62, 1000), Arch::Amd64, Ok(())),
            (program(183, 1000), Arch::Arm64, Ok(())),
            (program(183, 1000), Arch::Amd64, machine("arm64")),
            (program(62, 1000), Arch::Arm64, machine("amd64")),
            (program(243, 1000), Arch::Amd64, machine("riscv64")),
            (program(4711, 1000), Arch::Amd64, machine("ELF machine 4711")),
            // The x32 ABI, and a big-endian machine.
            (changed(4, 1), Arch::Amd64, machine("32-bit amd64")),
            (changed(5, 2), Arch::Amd64, machine("ELF machine 15872")),
            (program(62, 1001), Arch::Amd64, Err(Fault::Cut)),
            (program(62, u64::MAX), Arch::Amd64, Err(Fault::Cut)),
            (program(62, 1000)[..40].to_vec(), Arch::Amd64, Err(Fault::Cut)),
            (b"\x7fELF".to_vec(), Arch::Amd64, Err(Fault::Cut)),
            (b"#!/bin/sh\n".to_vec(), Arch::Amd64, Err(Fault::NotElf)),
            (Vec::new(), Arch::Amd64, Err(Fault::NotElf)),
        ] {
            assert_eq!(check(&head, 1000, wanted), verdict, "{head:02x?}");
        }
    }

    #[test]
    fn sections_beyond_the_end_are_missed_and_sections_without_room_are_not() {
        let mut elf = program(62, 200);
        let section = |kind: u32, offset: u64, size: u64| {
            let mut header = vec![0; 4];
            header.extend(kind.to_le_bytes());
            header.resize(24, 0);
            header.extend(offset.to_le_bytes());
            header.extend(size.to_le_bytes());
            header.resize(64, 0);
            header
        };
        elf.extend(section(NOBITS, 300, 1 << 40));
        elf.extend(section(1, 300, 60));
        elf[40..48].copy_from_slice(&120u64.to_le_bytes());
        elf[58..60].copy_from_slice(&64u16.to_le_bytes());
        elf[60..62].copy_from_slice(&2u16.to_le_bytes());
        assert_eq!(check(&elf, 360, Arch::Amd64), Ok(()));
        assert_eq!(check(&elf, 359, Arch::Amd64), Err(Fault::Cut));
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_verdict(mut bytes in prop::collection::vec(any::<u8>(), 0..200), size in any::<u64>(), real in any::<bool>()) {
            if real {
                let start = program(62, 100);
                let n = bytes.len().min(20);
                bytes[..n].copy_from_slice(&start[..n]);
            }
            let _ = check(&bytes, size, Arch::Amd64);
        }
    }
}
