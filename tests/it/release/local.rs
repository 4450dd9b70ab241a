//! Archives and binaries that the user has.

use std::fs::{self, File};
use std::io::Read as _;
use std::time::{Duration, SystemTime};

use etcd_ha::release::{Arch, Source};
use tar::EntryType;

use super::fake::{self, Archive, files, program, sha256};
use super::{Desk, NAME, VERSION, archive_at, assert_whole, exit, said, url};

fn release() -> Vec<u8> {
    Archive::release(VERSION, Arch::Amd64).pack()
}

#[test]
fn found_by_file_folder_mirror_template_and_file_url() {
    let content = release();
    let desk = Desk::new();
    desk.put(NAME, &content);
    desk.put(&format!("mirror/v{VERSION}/{NAME}"), &content);
    desk.put("renamed.tgz", &content);
    let root = desk.file("");
    let root = root.to_str().unwrap().trim_end_matches('/');
    for (source, path) in [
        (archive_at(&desk.file(NAME)), NAME),
        (archive_at(&desk.file("renamed.tgz")), "renamed.tgz"),
        (archive_at(&desk.file("")), NAME),
        (archive_at(&desk.file("mirror")), "mirror/v3.5.16/etcd-v3.5.16-linux-amd64.tar.gz"),
        (archive_at(&desk.file("etcd-v{version}-linux-{arch}.tar.gz")), NAME),
        (url(format!("file://{root}/{NAME}")), NAME),
        (url(format!("file://localhost{root}/etcd%2Dv{{version}}-linux-{{arch}}.tar.gz")), NAME),
        (Source::parse(root), NAME),
    ] {
        let archive = desk.obtain(&source).unwrap();
        assert_whole(&archive, &content);
        assert_eq!(archive.path.canonicalize().unwrap(), desk.file(path), "{source:?}");
    }
    assert!(files(&desk.cache().join("releases")).is_empty(), "it stays where it is");
}

#[test]
fn a_second_run_reads_nothing_and_a_changed_file_is_read_again() {
    let content = release();
    let desk = Desk::new();
    let path = desk.put(NAME, &content);
    desk.obtain(&archive_at(&path)).unwrap();
    assert!(!desk.told().is_empty());
    assert_whole(&desk.obtain(&archive_at(&path)).unwrap(), &content);
    assert_eq!(desk.told(), [], "nothing to do");

    // The same size and the same time of modification do not hide a change.
    let modified = path.metadata().unwrap().modified().unwrap();
    let mut broken = content.clone();
    broken[content.len() / 2] ^= 1;
    fs::write(&path, &broken).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let error = desk.obtain(&archive_at(&path)).unwrap_err();
    assert!(said(error).contains("cannot be read as a tar.gz archive"));

    fs::write(&path, &content).unwrap();
    desk.obtain(&archive_at(&path)).unwrap();
    assert!(!desk.told().is_empty());

    // A record that means nothing costs a check.
    for record in files(&desk.cache().join("sources")) {
        fs::write(desk.cache().join("sources").join(record), "{").unwrap();
    }
    desk.obtain(&archive_at(&path)).unwrap();
    assert!(!desk.told().is_empty());
}

#[test]
fn digests_count_where_there_are_any() {
    let content = release();
    let right = sha256(&content);
    let wrong = sha256(b"something else");
    let mut with_digest = archive_at(&Desk::new().file(NAME));
    for (sums, given, verdict) in [
        (None, None, None),
        (Some(format!("{right}  {NAME}\n")), None, None),
        (Some(format!("{right} *{NAME}\r\n")), None, None),
        (Some(format!("{wrong}  other.tar.gz\n")), None, None),
        (Some(format!("{wrong}  {NAME}\n")), None, Some("SHA256SUMS` says")),
        (None, Some(right.to_uppercase()), None),
        (None, Some(wrong.clone()), Some("but the inventory says")),
        (None, Some("abc".to_owned()), Some("not a SHA-256 digest for amd64")),
        // The inventory's own digest outweighs one that lies about.
        (Some(format!("{wrong}  {NAME}\n")), Some(right.clone()), None),
    ] {
        let desk = Desk::new();
        let file = desk.put(NAME, &content);
        if let Some(sums) = &sums {
            desk.put("SHA256SUMS", sums.as_bytes());
        }
        if let Source::Archive { path, sha256 } = &mut with_digest {
            *path = file;
            sha256.clear();
            sha256.extend(given.clone().map(|digest| (Arch::Amd64, digest)));
        }
        match (desk.obtain(&with_digest), verdict) {
            (Ok(archive), None) => assert_whole(&archive, &content),
            (Err(error), Some(verdict)) => {
                assert_eq!(exit(&error), "Usage");
                let said = said(error);
                assert!(said.contains(verdict), "{said}");
            }
            (result, _) => panic!("{sums:?} {given:?}: {result:?}"),
        }
    }
}

#[test]
fn a_digest_that_came_later_is_held_against_what_was_checked_before() {
    let desk = Desk::new();
    let path = desk.put(NAME, &release());
    desk.obtain(&archive_at(&path)).unwrap();
    desk.put("SHA256SUMS", format!("{}  {NAME}\n", sha256(b"x")).as_bytes());
    let error = desk.obtain(&archive_at(&path)).unwrap_err();
    assert!(said(error).contains("SHA256SUMS` says"));
}

#[test]
fn wrong_archives_are_refused_each_for_its_reason() {
    let top = "etcd-v3.5.16-linux-amd64";
    let etcd = program(Arch::Amd64, 9000, 1);
    let with = |path: &str, content: &[u8]| Archive::release(VERSION, Arch::Amd64).file(path, content).pack();
    let link = |path: &str, kind, target: &str| Archive::release(VERSION, Arch::Amd64).link(path, kind, target).pack();
    let only = |programs: &[(&str, &[u8])]| {
        let mut archive = Archive::empty();
        for (name, content) in programs {
            archive = archive.file(&format!("./{top}/{name}"), content);
        }
        archive.pack()
    };
    let whole = release();
    for (content, verdict) in [
        (whole[..whole.len() / 2].to_vec(), "is cut short"),
        (whole[..whole.len() - 1].to_vec(), "is cut short"),
        (Vec::new(), "is cut short"),
        (b"<html>not found</html>".to_vec(), "cannot be read as a tar.gz archive"),
        (fake::gzip(b"no tar archive"), "cannot be read as a tar.gz archive"),
        ([&whole[..], b"and more that is no gzip"].concat(), "cannot be read as a tar.gz archive"),
        (only(&[]), "lacks the binary `etcd`"),
        (only(&[("etcd", &etcd), ("etcdctl", &etcd)]), "lacks the binary `etcdutl`"),
        (only(&[("etcd", &program(Arch::Arm64, 9000, 1))]), "`etcd` in `PATH` is built for arm64, not for amd64"),
        (only(&[("etcdctl", b"#!/bin/sh\n")]), "`etcdctl` in `PATH` is not a Linux program"),
        (only(&[("etcd", &etcd[..8999])]), "`etcd` in `PATH` is cut short"),
        (
            Archive::release("3.5.30", Arch::Amd64).pack(),
            "holds `etcd-v3.5.30-linux-amd64` instead of the folder `etcd-v3.5.16-linux-amd64`",
        ),
        (
            Archive::release(VERSION, Arch::Arm64).pack(),
            "holds `etcd-v3.5.16-linux-arm64` instead of the folder `etcd-v3.5.16-linux-amd64`",
        ),
        (Archive::empty().file("etcd", &etcd).pack(), "holds `etcd` instead of the folder"),
        (with(&format!("{top}/../../etc/cron.d/x"), b"x"), "leads outside"),
        (with("/etc/cron.d/x", b"x"), "leads outside"),
        (with(&format!("{top}/etcd"), &etcd), "a second time"),
        (link(&format!("{top}/x"), EntryType::Symlink, "/etc"), "a link that leads outside"),
        (link(&format!("{top}/x"), EntryType::Link, "/etc/shadow"), "neither a file"),
        (Archive::empty().link(top, EntryType::Symlink, "/usr/local/bin").pack(), "which is not a folder"),
        (
            Archive::empty().link(&format!("{top}/etcd"), EntryType::Symlink, "etcdctl").pack(),
            "which is not a regular file",
        ),
    ] {
        let desk = Desk::new();
        let path = desk.put(NAME, &content);
        let error = desk.obtain(&archive_at(&path)).unwrap_err();
        assert_eq!(exit(&error), "Usage");
        let said = said(error);
        let verdict = verdict.replace("PATH", path.to_str().unwrap());
        assert!(said.contains(&verdict), "{said}\nis not\n{verdict}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
        assert_eq!(files(&desk.cache()), [""; 0], "{said}: nothing to remember");
    }
}

#[test]
fn a_cut_archive_is_called_cut_also_where_its_digest_tells() {
    let desk = Desk::new();
    let whole = release();
    let path = desk.put(NAME, &whole[..100_000]);
    desk.put("SHA256SUMS", format!("{}  {NAME}\n", sha256(&whole)).as_bytes());
    let error = desk.obtain(&archive_at(&path)).unwrap_err();
    assert!(said(error).ends_with("is cut short"));
}

#[test]
fn releases_before_3_5_have_two_programs() {
    let mut desk = Desk::new();
    desk.version = semver::Version::new(3, 4, 23);
    let top = "etcd-v3.4.23-linux-amd64";
    let content = Archive::empty()
        .file(&format!("./{top}/etcd"), &program(Arch::Amd64, 9000, 1))
        .file(&format!("./{top}/etcdctl"), &program(Arch::Amd64, 9000, 2))
        .link(&format!("./{top}/Documentation/README.md"), EntryType::Symlink, "docs.md")
        .pack();
    let archive = desk.obtain(&archive_at(&desk.put("e.tgz", &content))).unwrap();
    let names: Vec<_> = archive.binaries.iter().map(|binary| binary.name.as_str()).collect();
    assert_eq!(names, ["etcd", "etcdctl"]);
}

#[test]
fn what_is_not_there_is_said_with_every_place() {
    let desk = Desk::new();
    let folder = desk.file("");
    let folder = folder.to_str().unwrap();
    for (source, verdict) in [
        (archive_at(&desk.file("no.tgz")), format!("no release archive at `{folder}no.tgz`")),
        (archive_at(&desk.file("")), format!("no release archive at `{folder}{NAME}`, `{folder}v3.5.16/{NAME}`")),
        (url(format!("file://{folder}no/{NAME}")), format!("`{folder}no/{NAME}`")),
        (Source::Binaries(desk.file("no")), format!("no folder of binaries at `{folder}no`")),
        (url("ftp://h/x.tgz"), "only https, http and file URLs".to_owned()),
        (url("file://h/x.tgz"), "three slashes".to_owned()),
        (url("http://127.0.0.1/"), "names no file".to_owned()),
        (url("http://127.0.0.1:port/x.tgz"), "its port is no number".to_owned()),
    ] {
        let error = desk.obtain(&source).unwrap_err();
        assert_eq!(exit(&error), "Usage", "{error}");
        let said = said(error);
        assert!(said.contains(&verdict), "{said}\nis not\n{verdict}");
    }
}

/// A folder with the three programs.
fn bare(desk: &Desk, folder: &str, arch: Arch) {
    for (seed, name) in (1..).zip(["etcd", "etcdctl", "etcdutl"]) {
        desk.put(&format!("{folder}/{name}"), &program(arch, fake::SIZE, seed));
    }
}

#[test]
fn bare_binaries_become_an_archive_of_the_official_layout_always_the_same() {
    let (one, two) = (Desk::new(), Desk::new());
    bare(&one, "bin", Arch::Amd64);
    bare(&two, "elsewhere", Arch::Amd64);
    for name in ["etcd", "etcdctl", "etcdutl"] {
        let file = File::options().write(true).open(two.file("elsewhere").join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
    }
    let a = one.obtain(&Source::Binaries(one.file("bin"))).unwrap();
    let b = two.obtain(&Source::parse(two.file("elsewhere").to_str().unwrap())).unwrap();
    let content = fs::read(&a.path).unwrap();
    assert_whole(&a, &content);
    assert_eq!(a.sha256, b.sha256);

    let mut entries = Vec::new();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(content.as_slice()));
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mode = entry.header().mode().unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        entries.push((path, mode, content));
    }
    let top = a.top_folder();
    let program = |name, seed| (format!("{top}/{name}"), 0o755, program(Arch::Amd64, fake::SIZE, seed));
    assert!(
        entries
            == [
                (format!("{top}/"), 0o755, Vec::new()),
                program("etcd", 1),
                program("etcdctl", 2),
                program("etcdutl", 3)
            ]
    );

    // Nothing to do, and then something.
    one.obtain(&Source::Binaries(one.file("bin"))).unwrap();
    assert_eq!(one.told(), []);
    one.put("bin/etcd", &fake::program(Arch::Amd64, fake::SIZE, 9));
    let c = one.obtain(&Source::Binaries(one.file("bin"))).unwrap();
    assert_ne!(c.sha256, a.sha256);
    assert_eq!(c.binaries[0].sha256, sha256(&fake::program(Arch::Amd64, fake::SIZE, 9)));
    assert!(files(&one.cache()).iter().all(|file| !file.ends_with(".part")), "no half-made file stays");
}

#[test]
fn a_folder_of_binaries_serves_the_architecture_that_it_holds() {
    let desk = Desk::new();
    bare(&desk, "mixed/amd64", Arch::Amd64);
    bare(&desk, "mixed/arm64", Arch::Arm64);
    let mixed = Source::parse(desk.file("mixed").to_str().unwrap());
    for arch in Arch::ALL {
        let archive = desk.obtain_for(&mixed, arch).unwrap();
        assert_eq!(archive.arch, arch);
        assert_whole_of(&archive, arch);
    }

    bare(&desk, "bare", Arch::Amd64);
    bare(&desk, "part", Arch::Amd64);
    bare(&desk, "cut", Arch::Amd64);
    fs::remove_file(desk.file("part/etcdutl")).unwrap();
    fs::create_dir(desk.file("part/etcdutl")).unwrap();
    desk.put("cut/etcdctl", &program(Arch::Amd64, 9000, 1)[..8000]);
    for (folder, arch, verdict) in [
        ("bare", Arch::Arm64, "`etcd` in `PATH` is built for amd64, not for arm64"),
        ("part", Arch::Amd64, "`PATH` lacks the binary `etcdutl`"),
        ("cut", Arch::Amd64, "`etcdctl` in `PATH` is cut short"),
        ("", Arch::Amd64, "lacks the binary `etcd`"),
    ] {
        let path = desk.file(folder);
        let error = desk.obtain_for(&Source::Binaries(path.clone()), arch).unwrap_err();
        assert_eq!(exit(&error), "Usage");
        let said = said(error);
        let verdict = verdict.replace("PATH", path.to_str().unwrap());
        assert!(said.contains(&verdict), "{said}\nis not\n{verdict}");
    }
}

fn assert_whole_of(archive: &etcd_ha::release::Archive, arch: Arch) {
    for (seed, binary) in (1..).zip(&archive.binaries) {
        assert_eq!(binary.sha256, sha256(&program(arch, fake::SIZE, seed)));
    }
}
