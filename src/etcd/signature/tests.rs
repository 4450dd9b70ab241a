use super::{KNOWN, known};
use crate::etcd::journal::told;
use std::collections::BTreeSet;
use std::path::Path;

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
        ("remote error: tls: unknown certificate authority", "the other side does not trust the CA of its certificate"),
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
        ("failed to publish local member to cluster through raft: etcdserver: request timed out", "it finds no quorum"),
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
        ("etcd.service: Main process exited, code=exited, status=217/USER", "etcd's user is not there"),
        (
            "etcd.service: Failed to load environment files: No such file or directory",
            "the file with etcd's options is not there",
        ),
        ("Unit etcd.service has a bad unit file setting.", "systemd does not understand the unit, or a drop-in of it"),
        ("etcd.service: start operation timed out. Terminating.", "systemd ended it before it had found a quorum"),
    ] {
        assert_eq!(known(text).map(|signature| signature.cause), Some(cause), "{text}");
    }
}

#[test]
fn other_words_are_not_known() {
    for text in ["", "published local member to cluster through raft", "certificate is valid for a year", "open sesame"]
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

/// What `tests/lab/record` took on real hosts: `NAME.txt`, or `NAME@VARIANT.txt`, has the text of the signature NAME.
#[test]
fn every_signature_is_found_in_what_was_recorded_of_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/etcd/signature/recorded");
    let mut recorded = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let name = stem.split('@').next().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .filter_map(|line| Some(line.strip_prefix('#').map_or(line, |_| "").split_once(' ')?.1))
            .collect();
        let found = told(lines.iter().copied()).unwrap_or_else(|| panic!("{stem}: nothing is known in it"));
        assert_eq!(found.signature.name, name, "{stem}: {}", found.words);
        recorded.insert(name.to_owned());
    }
    let known: BTreeSet<String> = KNOWN.iter().map(|signature| signature.name.to_owned()).collect();
    assert_eq!(
        known.difference(&recorded).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "signatures without a recording"
    );
}
