//! The signatures, each with an example in `recorded/`, which `tests/lab/record` takes on the lab.

use super::{Signature, Weight};

const fn signature(
    name: &'static str,
    words: &'static [&'static str],
    cause: &'static str,
    next: &'static str,
) -> Signature {
    Signature { name, words, weight: Weight::Cause, cause, next }
}

/// One that says what does not work, whatever the cause.
const fn effect(
    name: &'static str,
    words: &'static [&'static str],
    cause: &'static str,
    next: &'static str,
) -> Signature {
    Signature { name, words, weight: Weight::Effect, cause, next }
}

/// One that is heard of several causes.
const fn heard(
    name: &'static str,
    words: &'static [&'static str],
    cause: &'static str,
    next: &'static str,
) -> Signature {
    Signature { name, words, weight: Weight::Heard, cause, next }
}

/// Where several fit, the first one is meant.
pub(super) const KNOWN: &[Signature] = &[
    // Ports and addresses.
    signature(
        "port-taken",
        &["bind: address already in use"],
        "another program listens on that port",
        "`ss -ltnp` on that host names it: stop it, or choose other ports",
    ),
    signature(
        "foreign-address",
        &["bind: cannot assign requested address"],
        "the address is none of that host's",
        "correct `address` or the listen URLs in the inventory; `ip address` on that host lists what it has",
    ),
    signature(
        "unknown-name",
        &["couldn't find local name", "in the initial cluster configuration"],
        "its name is not among the members that it is told of",
        "take `name` and `initial-cluster` out of the settings, if they are there: etcd-ha writes both",
    ),
    signature(
        "other-peer-url",
        &["missing from --initial-advertise-peer-urls"],
        "it advertises another peer URL than the members are told of",
        "take `initial-advertise-peer-urls` out of the settings, if it is there, and correct `address`",
    ),
    // Versions.
    signature(
        "downgrade",
        &["invalid downgrade"],
        "all members ran a newer minor version, and from then on etcd does not start an older one on their data",
        "deploy the newer version again; data for the older one comes from the snapshot that was taken before the upgrade",
    ),
    signature(
        "downgraded",
        &["cluster cannot be downgraded"],
        "all members ran a newer minor version, and from then on etcd does not start an older one on their data",
        "deploy the newer version again; data for the older one comes from the snapshot that was taken before the upgrade",
    ),
    signature(
        "older-version",
        &["incompatible with current running cluster"],
        "the members that run are of a newer minor version, and let no older one join",
        "deploy the version that the others run",
    ),
    // Certificates of its own.
    signature(
        "not-a-pair",
        &["private key does not match public key"],
        "certificate and key are not a pair",
        "run `etcd-ha deploy` again, which brings both anew",
    ),
    signature(
        "certificate-cut",
        &["failed to find any PEM data in certificate input"],
        "a certificate file is empty or cut off",
        "run `etcd-ha deploy` again, which brings the certificates anew",
    ),
    // Certificates of peers; most of it stands in the journal of the one that refuses.
    signature(
        "no-client-usage",
        &["specifies an incompatible key usage"],
        "a member shows a certificate that is not for clients, and members are each other's clients",
        "have the peer certificates issued for both server and client authentication",
    ),
    signature(
        "wrong-dns-name",
        &["does not match any of DNSNames"],
        "a member connects from an address that its certificate does not name",
        "add that address to `extra_names` of the host it belongs to",
    ),
    signature(
        "wrong-name",
        &["certificate is valid for", ", not "],
        "a member is reached at an address, or connects from one, that its certificate does not name",
        "add that address to `extra_names` of the host it belongs to",
    ),
    signature(
        "expired",
        &["certificate has expired or is not yet valid"],
        "a certificate has expired or is not valid yet, or a clock is wrong",
        "compare the hosts' clocks, then run `etcd-ha deploy`, which renews what has expired",
    ),
    heard(
        "told-expired",
        &["tls: expired certificate"],
        "the other side finds its certificate expired or not valid yet",
        "compare the hosts' clocks, then run `etcd-ha deploy`, which renews what has expired",
    ),
    signature(
        "other-ca",
        &["certificate signed by unknown authority"],
        "a member's certificate is from another CA than the one that is trusted",
        "all members have to trust the CA before certificates from it are used: deploy from the PKI folder that the others have theirs from",
    ),
    heard(
        "told-other-ca",
        &["unknown certificate authority"],
        "the other side does not trust the CA of its certificate",
        "all members have to trust the CA before certificates from it are used: deploy from the PKI folder that the others have theirs from",
    ),
    signature(
        "gateway",
        &["error reading server preface", "tls: bad certificate"],
        "its server certificate is not for clients, and the JSON gateway is a client of its own member",
        "have the server certificates issued for both server and client authentication",
    ),
    heard(
        "told-bad",
        &["remote error: tls: bad certificate"],
        "the other side refuses its certificate",
        "the journal of the other member says why",
    ),
    // What a client finds.
    signature(
        "served-expired",
        &["invalid peer certificate: certificate expired"],
        "its server certificate has expired",
        "run `etcd-ha deploy`, which renews what has expired",
    ),
    signature(
        "served-other-ca",
        &["invalid peer certificate: UnknownIssuer"],
        "its server certificate is from another CA than the one in the PKI folder",
        "run `etcd-ha deploy` from the PKI folder that the members have their certificates from",
    ),
    signature(
        "served-wrong-name",
        &["invalid peer certificate: certificate not valid for name"],
        "its server certificate does not name the address that it is reached at",
        "run `etcd-ha deploy`, which brings the certificates anew",
    ),
    // Identity and data.
    signature(
        "bootstrapped",
        &["has already been bootstrapped"],
        "its data dir is empty, but the cluster knows it as a member that had data",
        "bring its data dir back, or remove the member from the cluster and add it anew; never start it as new",
    ),
    signature(
        "data-lost",
        &["tocommit(", "is out of range"],
        "it lacks data that it had confirmed: its data dir is empty, or older than what the others know of it",
        "bring its data dir back, or remove the member from the cluster and add it anew",
    ),
    signature(
        "other-cluster",
        &["cluster ID mismatch"],
        "its data dir belongs to another cluster than its peers",
        "look which of them has the right data; nothing is to be deleted before that is clear",
    ),
    signature(
        "removed",
        &["permanently removed from the cluster"],
        "it was removed from the cluster",
        "move its data dir aside before it is added again",
    ),
    signature(
        "removed",
        &["data-dir used by this member must be removed"],
        "it was removed from the cluster",
        "move its data dir aside before it is added again",
    ),
    signature(
        "other-count",
        &["member count is unequal"],
        "it is told of other members than the cluster has",
        "make the inventory's hosts the same as the cluster's members: `etcdctl member list` on a healthy one",
    ),
    effect(
        "no-answer-of-others",
        &["could not retrieve cluster information from the given URLs"],
        "none of the other members answers it",
        "start the other members first, or open the peer port between the hosts",
    ),
    effect(
        "no-quorum",
        &["failed to publish local member to cluster through raft"],
        "it finds no quorum",
        "see to the other members: more than half of all have to run and reach each other",
    ),
    // The way between members.
    effect(
        "peer-silent",
        &["dial tcp ", "i/o timeout"],
        "nothing answers at a member's peer port",
        "open the peer port between the hosts, and see that they are up",
    ),
    effect(
        "peer-refuses",
        &["connect: connection refused"],
        "nobody listens on a member's peer port",
        "start that member",
    ),
    // The disk.
    signature(
        "disk-full",
        &["no space left on device"],
        "the disk is full",
        "make room on that host; etcd starts again by itself",
    ),
    signature(
        "quota",
        &["database space exceeded"],
        "the database has reached its quota",
        "compact the history and defragment the members one by one, then disarm the alarm NOSPACE",
    ),
    heard(
        "slow",
        &["leader failed to send out heartbeat on time"],
        "the leader's disk or CPU is too slow",
        "look what else uses that host's disk and CPU; `etcd_disk_wal_fsync_duration_seconds` should stay below 10 ms",
    ),
    signature(
        "broken-wal",
        &["walpb: crc mismatch"],
        "its write-ahead log is damaged",
        "keep the data dir aside, and have the member join anew: the others have all the data",
    ),
    signature(
        "broken-db",
        &["failed to open database", "invalid database"],
        "its database file is damaged",
        "keep the data dir aside, and have the member join anew: the others have all the data",
    ),
    // Options.
    signature(
        "removed-logger",
        &["--logger=capnslog is removed"],
        "this version has no such logger any more",
        "take `logger` out of the settings",
    ),
    signature(
        "invalid-value",
        &["invalid value", "for ETCD_"],
        "an option has a value that this version does not take",
        "correct that option in the inventory's settings",
    ),
    signature(
        "bad-options",
        &["failed to verify flags"],
        "the options do not fit together, or one of them is not of this version",
        "correct that option in the inventory's settings",
    ),
    signature(
        "unknown-flag",
        &["flag provided but not defined"],
        "the unit starts etcd with a flag that this version does not know",
        "take the flag out of the unit or its drop-in; options belong in the inventory's settings",
    ),
    // systemd.
    signature(
        "wrong-architecture",
        &["Failed at step EXEC", "Exec format error"],
        "the binary is for another architecture, or is damaged",
        "run `etcd-ha deploy` again, which checks the release on that host",
    ),
    signature(
        "no-binary",
        &["Failed at step EXEC", "No such file or directory"],
        "the binary is not there",
        "run `etcd-ha deploy` again, which brings it",
    ),
    signature(
        "closed-binary",
        &["Failed at step EXEC", "Permission denied"],
        "the binary, or a folder above it, is closed to etcd's user, or its file system is mounted noexec",
        "open the folders above `paths.install` to all, or choose another place for it",
    ),
    signature(
        "no-user",
        &["status=217/USER"],
        "etcd's user is not there",
        "run `etcd-ha deploy` again, which makes it",
    ),
    signature(
        "no-environment",
        &["Failed to load environment files"],
        "the file with etcd's options is not there",
        "run `etcd-ha deploy` again, which writes it",
    ),
    signature(
        "bad-unit",
        &["bad unit file setting"],
        "systemd does not understand the unit, or a drop-in of it",
        "`systemd-analyze verify etcd.service` on that host names the line",
    ),
    effect(
        "start-timeout",
        &["start operation timed out"],
        "systemd ended it before it had found a quorum",
        "see to the other members: more than half of all have to run and reach each other",
    ),
    // Whatever was not meant above.
    signature(
        "no-permission",
        &[": permission denied"],
        "etcd's user is kept from that file or folder",
        "run `etcd-ha deploy` again, which sets owners and modes; the folders above have to be open to that user, too",
    ),
    heard(
        "file-missing",
        &["open ", ": no such file or directory"],
        "a file that the options name is not there",
        "run `etcd-ha deploy` again, which brings what it writes; other files are named in the inventory's settings",
    ),
];
