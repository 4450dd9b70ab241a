//! File systems on which files can be written, and which are traps nevertheless.

use super::{Finding, Source, Verdict};
use crate::host::{Mount, Resources};
use crate::inventory::Host;

/// Kept in memory only.
const VOLATILE: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];
/// Somewhere else, with locks and syncs that are not those of a disk.
const REMOTE: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "virtiofs", "lustre"];

/// Judges where the inventory's paths lie.
pub(super) fn judge(host: &Host, resources: &Resources) -> Vec<Finding> {
    let paths = &host.paths;
    let all = [
        ("install dir", &paths.install),
        ("config dir", &paths.config),
        ("bin dir", &paths.bin),
        ("data dir", &paths.data),
    ];
    let mount = |path: &String| resources.mounts.get(path);
    all.into_iter().filter_map(|(subject, path)| Some(one(subject, path, mount(path)?))).collect()
}

fn one(subject: &'static str, path: &str, mount: &Mount) -> Finding {
    let Mount { point, kind, .. } = mount;
    let (is_data, is_run) = (subject == "data dir", subject == "install dir");
    let measured = format!("{kind} on {point}");
    let finding = |verdict, words: &str| Finding::new(subject, verdict, format!("{measured}: {words}"));
    let (threshold, source) = match subject {
        "install dir" => ("kept on disk, and programs can be run there", Source::EtcdHa),
        "data dir" => ("a file system on a local disk", Source::Bbolt),
        _ => ("kept on disk", Source::EtcdHa),
    };
    let found = if VOLATILE.contains(&kind.as_str()) {
        let what = if is_data { "the member's data" } else { "what is there" };
        finding(Verdict::Failed, &format!("{what} is gone at the next boot"))
            .hint(format!("give `{path}` a disk, or choose another in the inventory's `paths`"))
    } else if is_run && mount.has("noexec") {
        finding(Verdict::Failed, "noexec: etcd could not be run from there")
            .hint(format!("mount {point} without noexec, or choose another `paths.install`"))
    } else if is_data && REMOTE.contains(&kind.as_str()) {
        finding(Verdict::Failed, "locks and syncs over a network lose data and leaders")
            .hint("give the data dir a disk of the host's own")
    } else if is_data && kind.starts_with("fuse") {
        finding(Verdict::Warning, "a program is in charge of its locks and syncs, not the kernel")
            .hint("give the data dir a disk of the host's own")
    } else if is_data && matches!(kind.as_str(), "overlay" | "overlayfs" | "aufs") {
        finding(Verdict::Warning, "what is written there lasts as long as its upper layer")
            .hint("give the data dir a disk or partition, unless the upper layer is known to be on one")
    } else {
        Finding::new(subject, Verdict::Ok, measured)
    };
    found.wants(threshold, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traps() {
        for (subject, kind, options, verdict, measured) in [
            ("data dir", "ext4", "rw", Verdict::Ok, "ext4 on /srv"),
            ("data dir", "ext4", "rw,noexec", Verdict::Ok, "ext4 on /srv"),
            ("data dir", "tmpfs", "rw", Verdict::Failed, "tmpfs on /srv: the member's data is gone at the next boot"),
            (
                "data dir",
                "nfs4",
                "rw",
                Verdict::Failed,
                "nfs4 on /srv: locks and syncs over a network lose data and leaders",
            ),
            (
                "data dir",
                "cifs",
                "rw",
                Verdict::Failed,
                "cifs on /srv: locks and syncs over a network lose data and leaders",
            ),
            (
                "data dir",
                "fuse.sshfs",
                "rw",
                Verdict::Warning,
                "fuse.sshfs on /srv: a program is in charge of its locks and syncs, not the kernel",
            ),
            (
                "data dir",
                "overlay",
                "rw",
                Verdict::Warning,
                "overlay on /srv: what is written there lasts as long as its upper layer",
            ),
            ("install dir", "ext4", "rw,nosuid", Verdict::Ok, "ext4 on /srv"),
            (
                "install dir",
                "ext4",
                "rw,noexec",
                Verdict::Failed,
                "ext4 on /srv: noexec: etcd could not be run from there",
            ),
            ("install dir", "nfs4", "rw", Verdict::Ok, "nfs4 on /srv"),
            ("install dir", "overlay", "rw", Verdict::Ok, "overlay on /srv"),
            ("install dir", "tmpfs", "rw", Verdict::Failed, "tmpfs on /srv: what is there is gone at the next boot"),
            ("config dir", "tmpfs", "rw", Verdict::Failed, "tmpfs on /srv: what is there is gone at the next boot"),
            ("config dir", "xfs", "rw,noexec", Verdict::Ok, "xfs on /srv"),
        ] {
            let options = options.split(',').map(str::to_owned).collect();
            let mount = Mount { point: "/srv".to_owned(), kind: kind.to_owned(), options };
            let finding = one(subject, "/srv/etcd", &mount);
            assert_eq!((finding.verdict, finding.measured.as_str()), (verdict, measured), "{subject} {kind}");
            assert_eq!(finding.hint.is_some(), verdict != Verdict::Ok, "{subject} {kind}");
        }
    }
}
