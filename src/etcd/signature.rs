//! What etcd's and systemd's words mean, and what to do: the failures that were seen on real members.

/// A failure that is known by its words.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// All of these are in the text.
    words: &'static [&'static str],
    /// What it means, a clause.
    pub cause: &'static str,
    /// The next step, without a full stop.
    pub next: &'static str,
}

const fn signature(words: &'static [&'static str], cause: &'static str, next: &'static str) -> Signature {
    Signature { words, cause, next }
}

/// Where several fit, the first one is meant.
const KNOWN: &[Signature] = &[
    // Ports and addresses.
    signature(
        &["bind: address already in use"],
        "another program listens on that port",
        "`ss -ltnp` on that host names it: stop it, or choose other ports",
    ),
    signature(
        &["bind: cannot assign requested address"],
        "the address is none of that host's",
        "correct `address` or the listen URLs in the inventory; `ip address` on that host lists what it has",
    ),
    signature(
        &["couldn't find local name", "in the initial cluster configuration"],
        "its name is not among the members that it is told of",
        "take `name` and `initial-cluster` out of the settings, if they are there: etcd-ha writes both",
    ),
    signature(
        &["missing from --initial-advertise-peer-urls"],
        "it advertises another peer URL than the members are told of",
        "take `initial-advertise-peer-urls` out of the settings, if it is there, and correct `address`",
    ),
    // Versions.
    signature(
        &["invalid downgrade"],
        "all members ran a newer minor version, and from then on etcd does not start an older one on their data",
        "deploy the newer version again; data for the older one comes from the snapshot that was taken before the upgrade",
    ),
    signature(
        &["incompatible with current running cluster"],
        "the members that run are of a newer minor version, and let no older one join",
        "deploy the version that the others run",
    ),
    // Certificates of its own.
    signature(
        &["private key does not match public key"],
        "certificate and key are not a pair",
        "run `etcd-ha deploy` again, which brings both anew",
    ),
    signature(
        &["failed to find any PEM data in certificate input"],
        "a certificate file is empty or cut off",
        "run `etcd-ha deploy` again, which brings the certificates anew",
    ),
    // Certificates of peers; most of it stands in the journal of the one that refuses.
    signature(
        &["specifies an incompatible key usage"],
        "a member shows a certificate that is not for clients, and members are each other's clients",
        "have the peer certificates issued for both server and client authentication",
    ),
    signature(
        &["does not match any of DNSNames"],
        "a member connects from an address that its certificate does not name",
        "add that address to `extra_names` of the host it belongs to",
    ),
    signature(
        &["certificate is valid for", ", not "],
        "a member is reached at an address, or connects from one, that its certificate does not name",
        "add that address to `extra_names` of the host it belongs to",
    ),
    signature(
        &["certificate has expired or is not yet valid"],
        "a certificate has expired or is not valid yet, or a clock is wrong",
        "compare the hosts' clocks, then run `etcd-ha deploy`, which renews what has expired",
    ),
    signature(
        &["tls: expired certificate"],
        "the other side finds its certificate expired or not valid yet",
        "compare the hosts' clocks, then run `etcd-ha deploy`, which renews what has expired",
    ),
    signature(
        &["certificate signed by unknown authority"],
        "a member's certificate is from another CA than the one that is trusted",
        "all members have to trust the CA before certificates from it are used: deploy from the PKI folder that the others have theirs from",
    ),
    signature(
        &["unknown certificate authority"],
        "the other side does not trust the CA of its certificate",
        "all members have to trust the CA before certificates from it are used: deploy from the PKI folder that the others have theirs from",
    ),
    signature(
        &["error reading server preface", "tls: bad certificate"],
        "its server certificate is not for clients, and the JSON gateway is a client of its own member",
        "have the server certificates issued for both server and client authentication",
    ),
    signature(
        &["remote error: tls: bad certificate"],
        "the other side refuses its certificate",
        "the journal of the other member says why",
    ),
    // Identity and data.
    signature(
        &["has already been bootstrapped"],
        "its data dir is empty, but the cluster knows it as a member that had data",
        "bring its data dir back, or remove the member from the cluster and add it anew; never start it as new",
    ),
    signature(
        &["tocommit(", "is out of range"],
        "it lacks data that it had confirmed: its data dir is empty, or older than what the others know of it",
        "bring its data dir back, or remove the member from the cluster and add it anew",
    ),
    signature(
        &["cluster ID mismatch"],
        "its data dir belongs to another cluster than its peers",
        "look which of them has the right data; nothing is to be deleted before that is clear",
    ),
    signature(
        &["failed to find remote peer in cluster"],
        "a peer is there that the cluster does not know under its id: it has lost its data dir",
        "bring that peer's data dir back, or remove it from the cluster and add it anew",
    ),
    signature(
        &["permanently removed from the cluster"],
        "it was removed from the cluster",
        "move its data dir aside before it is added again",
    ),
    signature(
        &["data-dir used by this member must be removed"],
        "it was removed from the cluster",
        "move its data dir aside before it is added again",
    ),
    signature(
        &["member count is unequal"],
        "it is told of other members than the cluster has",
        "make the inventory's hosts the same as the cluster's members: `etcdctl member list` on a healthy one",
    ),
    signature(
        &["could not retrieve cluster information from the given URLs"],
        "none of the other members answers it",
        "start the other members first, or open the peer port between the hosts",
    ),
    signature(
        &["failed to publish local member to cluster through raft"],
        "it finds no quorum",
        "see to the other members: more than half of all have to run and reach each other",
    ),
    // The disk.
    signature(&["no space left on device"], "the disk is full", "make room on that host; etcd starts again by itself"),
    signature(
        &["database space exceeded"],
        "the database has reached its quota",
        "compact the history and defragment the members one by one, then disarm the alarm NOSPACE",
    ),
    signature(
        &["leader failed to send out heartbeat on time"],
        "the leader's disk or CPU is too slow",
        "look what else uses that host's disk and CPU; `etcd_disk_wal_fsync_duration_seconds` should stay below 10 ms",
    ),
    // Options.
    signature(
        &["--logger=capnslog is removed"],
        "this version has no such logger any more",
        "take `logger` out of the settings",
    ),
    signature(
        &["invalid value", "for ETCD_"],
        "an option has a value that this version does not take",
        "correct that option in the inventory's settings",
    ),
    signature(
        &["failed to verify flags"],
        "the options do not fit together, or one of them is not of this version",
        "correct that option in the inventory's settings",
    ),
    // systemd.
    signature(
        &["Failed at step EXEC", "Exec format error"],
        "the binary is for another architecture, or is damaged",
        "run `etcd-ha deploy` again, which checks the release on that host",
    ),
    signature(
        &["Failed at step EXEC", "No such file or directory"],
        "the binary is not there",
        "run `etcd-ha deploy` again, which brings it",
    ),
    signature(
        &["Failed at step EXEC", "Permission denied"],
        "the binary, or a folder above it, is closed to etcd's user, or its file system is mounted noexec",
        "open the folders above `paths.install` to all, or choose another place for it",
    ),
    signature(&["Failed at step USER"], "etcd's user is not there", "run `etcd-ha deploy` again, which makes it"),
    signature(
        &["Failed to load environment files"],
        "the file with etcd's options is not there",
        "run `etcd-ha deploy` again, which writes it",
    ),
    signature(
        &["bad unit file setting"],
        "systemd does not understand the unit, or a drop-in of it",
        "`systemd-analyze verify etcd.service` on that host names the line",
    ),
    signature(
        &["start operation timed out"],
        "systemd ended it before it had found a quorum",
        "see to the other members: more than half of all have to run and reach each other",
    ),
    // Whatever was not meant above.
    signature(
        &[": permission denied"],
        "etcd's user is kept from that file or folder",
        "run `etcd-ha deploy` again, which sets owners and modes; the folders above have to be open to that user, too",
    ),
    signature(
        &["open ", ": no such file or directory"],
        "a file that the options name is not there",
        "run `etcd-ha deploy` again, which brings what it writes; other files are named in the inventory's settings",
    ),
];

/// What is known of a text of etcd's or systemd's.
#[must_use]
pub fn known(text: &str) -> Option<&'static Signature> {
    KNOWN.iter().find(|signature| signature.words.iter().all(|words| text.contains(words)))
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, known};

    /// What real members, and systemd, said.
    #[test]
    fn real_words_are_known() {
        for (text, cause) in [
            ("listen tcp 10.19.4.57:2380: bind: address already in use", "another program listens on that port"),
            ("listen tcp 192.0.2.1:2381: bind: cannot assign requested address", "the address is none of that host's"),
            (
                r#"couldn't find local name "node33" in the initial cluster configuration"#,
                "its name is not among the members that it is told of",
            ),
            (
                "--initial-cluster has node03=https://10.19.4.57:2380 but missing from \
                 --initial-advertise-peer-urls=https://10.19.4.58:2380",
                "it advertises another peer URL than the members are told of",
            ),
            ("tls: private key does not match public key", "certificate and key are not a pair"),
            ("tls: failed to find any PEM data in certificate input", "a certificate file is empty or cut off"),
            ("open /etc/etcd/ssl/peer.key: permission denied", "etcd's user is kept from that file or folder"),
            (
                "failed to list data directory: open /var/lib/etcd: permission denied",
                "etcd's user is kept from that file or folder",
            ),
            ("open /etc/etcd/ssl/ca.crt: no such file or directory", "a file that the options name is not there"),
            (
                r#"rejected connection on peer endpoint: tls: "10.19.4.57" does not match any of DNSNames ["node03"]"#,
                "a member connects from an address that its certificate does not name",
            ),
            (
                "x509: certificate is valid for 10.99.9.9, not 10.19.4.57",
                "a member is reached at an address, or connects from one, that its certificate does not name",
            ),
            (
                "x509: certificate has expired or is not yet valid: current time 2026-11-24T01:00:00Z is before \
                 2026-11-24T02:00:00Z",
                "a certificate has expired or is not valid yet, or a clock is wrong",
            ),
            ("remote error: tls: expired certificate", "the other side finds its certificate expired or not valid yet"),
            (
                "x509: certificate specifies an incompatible key usage",
                "a member shows a certificate that is not for clients, and members are each other's clients",
            ),
            (
                "x509: certificate signed by unknown authority",
                "a member's certificate is from another CA than the one that is trusted",
            ),
            (
                "remote error: tls: unknown certificate authority",
                "the other side does not trust the CA of its certificate",
            ),
            ("remote error: tls: bad certificate", "the other side refuses its certificate"),
            (
                r#"connection error: desc = "error reading server preface: remote error: tls: bad certificate""#,
                "its server certificate is not for clients, and the JSON gateway is a client of its own member",
            ),
            (
                "invalid downgrade; server version is lower than determined cluster version",
                "all members ran a newer minor version, and from then on etcd does not start an older one on their data",
            ),
            (
                "incompatible with current running cluster",
                "the members that run are of a newer minor version, and let no older one join",
            ),
            ("leader failed to send out heartbeat on time; took too long", "the leader's disk or CPU is too slow"),
            (
                "discovery failed: member 3efba05573f68e1 has already been bootstrapped",
                "its data dir is empty, but the cluster knows it as a member that had data",
            ),
            (
                "tocommit(15) is out of range [lastIndex(0)]. Was the raft log corrupted, truncated, or lost?",
                "it lacks data that it had confirmed: its data dir is empty, or older than what the others know of it",
            ),
            ("request cluster ID mismatch", "its data dir belongs to another cluster than its peers"),
            (
                "failed to find remote peer in cluster",
                "a peer is there that the cluster does not know under its id: it has lost its data dir",
            ),
            ("the member has been permanently removed from the cluster", "it was removed from the cluster"),
            ("data-dir used by this member must be removed", "it was removed from the cluster"),
            (
                "error validating peerURLs {ClusterID:c1 Members:[] RemovedMemberIDs:[]}: member count is unequal",
                "it is told of other members than the cluster has",
            ),
            (
                "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs",
                "none of the other members answers it",
            ),
            (
                "failed to publish local member to cluster through raft: etcdserver: request timed out",
                "it finds no quorum",
            ),
            ("failed to commit tx: write /var/lib/etcd/member/snap/db: no space left on device", "the disk is full"),
            ("etcdserver: mvcc: database space exceeded", "the database has reached its quota"),
            ("--logger=capnslog is removed in v3.5", "this version has no such logger any more"),
            (
                r#"failed to verify flags: invalid value "maybe" for ETCD_CLIENT_CERT_AUTH: parse error"#,
                "an option has a value that this version does not take",
            ),
            (
                "failed to verify flags: something else",
                "the options do not fit together, or one of them is not of this version",
            ),
            (
                "etcd.service: Failed at step EXEC spawning /usr/local/bin/etcd: No such file or directory",
                "the binary is not there",
            ),
            (
                "etcd.service: Failed at step EXEC spawning /usr/local/bin/etcd: Exec format error",
                "the binary is for another architecture, or is damaged",
            ),
            (
                "etcd.service: Failed at step EXEC spawning /usr/local/bin/etcd: Permission denied",
                "the binary, or a folder above it, is closed to etcd's user, or its file system is mounted noexec",
            ),
            (
                "etcd.service: Failed at step USER spawning /usr/local/bin/etcd: No such process",
                "etcd's user is not there",
            ),
            (
                "etcd.service: Failed to load environment files: No such file or directory",
                "the file with etcd's options is not there",
            ),
            (
                "Unit etcd.service has a bad unit file setting.",
                "systemd does not understand the unit, or a drop-in of it",
            ),
            ("etcd.service: start operation timed out. Terminating.", "systemd ended it before it had found a quorum"),
        ] {
            assert_eq!(known(text).map(|signature| signature.cause), Some(cause), "{text}");
        }
    }

    #[test]
    fn other_words_are_not_known() {
        for text in
            ["", "published local member to cluster through raft", "certificate is valid for a year", "open sesame"]
        {
            assert_eq!(known(text), None, "{text}");
        }
    }

    #[test]
    fn none_hides_another_one_and_all_are_phrases() {
        for signature in KNOWN {
            assert_eq!(known(&signature.words.join(" ")), Some(signature));
            for words in [signature.cause, signature.next] {
                assert!(!words.ends_with('.') && !words.contains('\n'), "{words}");
            }
        }
    }
}
