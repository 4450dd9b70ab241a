//! The architectures that etcd is released for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A processor architecture that etcd is released for (its tier-1 platforms on Linux).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// From what `uname -m` prints; `None` for a machine that etcd is not released for.
    #[must_use]
    pub fn from_uname(machine: &str) -> Option<Self> {
        match machine {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }

    /// The name in release archives, Go's GOARCH.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The machine number in the header of an ELF file, `EM_X86_64` or `EM_AARCH64` (elf(5)).
    #[must_use]
    pub fn elf_machine(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_of_uname() {
        for (machine, arch) in [
            ("x86_64", Some(Arch::Amd64)),
            ("aarch64", Some(Arch::Arm64)),
            ("i686", None),
            ("armv7l", None),
            ("riscv64", None),
            ("", None),
        ] {
            assert_eq!(Arch::from_uname(machine), arch, "{machine}");
        }
    }

    #[test]
    fn names_are_the_ones_in_archives() {
        for arch in Arch::ALL {
            assert_eq!(arch.to_string(), arch.as_str());
            assert_eq!(serde_json::to_value(arch).unwrap(), serde_json::Value::from(arch.as_str()));
        }
    }
}
