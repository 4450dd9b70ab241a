//! Files of this machine that are too large, have no end, or are none: refused early, and read into little memory.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use etcd_ha::release::Arch;

use super::desk::Desk;
use super::host::{Attack, FRESH, Hostile};
use crate::release::fake::{Archive, sha256};

/// What the program takes at most while it refuses a file of 100 MB.
const MEMORY: u64 = 120 << 20;

/// What stands in the place of a file.
#[derive(Debug, Clone, Copy)]
enum Instead {
    /// 100 MB of nothing.
    Sparse,
    /// 100 MB of text.
    Large,
    /// A device without end.
    Zeros,
    /// A pipe into which nobody writes.
    Pipe,
    Folder,
}

impl Instead {
    fn put(self, path: &Path, large: &Path) {
        let _ = fs::remove_file(path);
        match self {
            Self::Sparse => File::create(path).unwrap().set_len(100_000_000).unwrap(),
            Self::Large => std::os::unix::fs::symlink(large, path).unwrap(),
            Self::Zeros => std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
            Self::Pipe => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            Self::Folder => fs::create_dir(path).unwrap(),
        }
    }
}

/// The files that are read, and a command that reads them; a folder in the place of one makes no sense everywhere.
const FILES: &[(&str, &str)] = &[
    ("prod.yaml", "status -i prod.yaml"),
    ("site.yaml", "run site.yaml -i prod.yaml --dry-run"),
    ("known_hosts", "status -i prod.yaml"),
    ("id", "status -i prod.yaml"),
    ("id-cert.pub", "status -i prod.yaml"),
    ("ssh_config", "ssh-config -i configured.yaml node01"),
    ("prod.pki/ca.pem", "certs show -i prod.yaml"),
    ("prod.pki/ca-key.pem", "plan -i prod.yaml"),
    ("prod.pki/node01-server.pem", "plan -i prod.yaml"),
    ("etcd.tar.gz", "plan -i released.yaml"),
    ("SHA256SUMS", "plan -i released.yaml"),
    ("copied", "run copy.yaml -i prod.yaml --dry-run"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_too_large_or_none_are_refused_early() {
    let clock = time::OffsetDateTime::now_utc().unix_timestamp();
    let attack = Attack::answer(move |asked| asked.good(&format!("{FRESH}clock {clock}\n"), b""));
    let host = Hostile::start(attack).await;
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    fs::write(&large, [&[b'a'; 99][..], b"\n"].concat().repeat(1_000_000)).unwrap();
    let archive = Archive::release("3.5.16", Arch::Amd64).pack();
    let mut wrong = Vec::new();
    for (name, line) in FILES {
        use Instead::{Folder, Large, Pipe, Sparse, Zeros};
        for instead in [Sparse, Large, Zeros, Pipe, Folder] {
            let desk = Desk::new(&[host.address], &host.known(), "false");
            let inventory = fs::read_to_string(desk.path("prod.yaml")).unwrap();
            desk.write("site.yaml", "name: x\nplays:\n  - name: y\n    tasks: [preflight]\n");
            desk.write(
                "copy.yaml",
                "name: x\nplays:\n  - name: y\n    tasks:\n      - copy: { src: copied, dest: /tmp/copied }\n",
            );
            desk.write("copied", "x");
            desk.write("ssh_config", "Host *\n");
            desk.write("configured.yaml", &inventory.replace("config: none", "config: ./ssh_config"));
            let release = |more: &str| {
                let url = desk.path("etcd.tar.gz");
                format!("etcd: {{ version: 3.5.16 }}\nrelease: {{ url: \"file://{}\"{more} }}\nhosts:\n", url.display())
            };
            desk.write("released.yaml", &inventory.replace("hosts:\n", &release("")));
            let pinned = release(&format!(", sha256: {{ amd64: {} }}", sha256(&archive)));
            desk.write("prod.yaml", &inventory.replace("hosts:\n", &pinned));
            fs::write(desk.path("etcd.tar.gz"), &archive).unwrap();
            instead.put(&desk.path(name), &large);
            let ended = desk.run_with(line, &[("PATH", "/nowhere")]).await;
            let row = format!("{name} {instead:?}: {line}");
            wrong.extend(ended.wrong(&row));
            // A file to be copied may be as large as it likes: it is never held as a whole.
            let fine = matches!(
                (*name, instead),
                ("copied", Sparse | Large) | ("ssh_config", Pipe) | ("id-cert.pub" | "SHA256SUMS", _)
            );
            // An empty certificate is made anew.
            let fine = fine || matches!((*name, instead), ("prod.pki/node01-server.pem", Pipe));
            let fine = fine || (*name == "known_hosts" && !matches!(instead, Folder));
            if ended.status == Some(0) && !fine && !line.starts_with("certs show") {
                wrong.push(format!("{row}: it is taken for good: {}", ended.said()));
            }
            // Whoever is to mend it has to know which file it is.
            if ended.status != Some(0) && !fine && !ended.said().contains(name) {
                wrong.push(format!("{row}: the file is not named: {}", ended.said()));
            }
            if ended.memory > MEMORY {
                wrong.push(format!("{row}: {} MiB", ended.memory >> 20));
            }
            if ended.took > Duration::from_secs(12) {
                wrong.push(format!("{row}: {:?}", ended.took));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
}
