//! The table of etcd's options.
//!
//! Sources: `server/embed/config.go` (AddFlags) and `server/etcdmain/config.go` of etcd's 3.5, 3.6 and
//! 3.7 series, `etcdmain/config.go` of 3.4, their changelogs for options that came with a patch
//! release, and the flag sets of real 3.4 and 3.5 binaries.

/// The first patch release of 3.4, 3.5, 3.6 and 3.7 that knows something, if the series does.
pub(super) type Availability = [Option<u64>; 4];

/// The minor number of the first series in an [`Availability`].
pub(super) const FIRST_MINOR: u64 = 4;

const ALL: Availability = [Some(0), Some(0), Some(0), Some(0)];
const FROM_3_5: Availability = [None, Some(0), Some(0), Some(0)];
const FROM_3_6: Availability = [None, None, Some(0), Some(0)];
const FROM_3_7: Availability = [None, None, None, Some(0)];
const ONLY_3_4: Availability = [Some(0), None, None, None];
const ONLY_3_5: Availability = [None, Some(0), None, None];
const ONLY_3_6: Availability = [None, None, Some(0), None];
const TO_3_5: Availability = [Some(0), Some(0), None, None];
const TO_3_6: Availability = [Some(0), Some(0), Some(0), None];
const IN_3_5_AND_3_6: Availability = [None, Some(0), Some(0), None];

/// One option of etcd.
pub(super) struct EtcdOption {
    pub(super) name: &'static str,
    pub(super) known: Availability,
    pub(super) kind: Kind,
    pub(super) successor: Option<Successor>,
    /// Why users cannot set it, and which key of the inventory does what they want.
    pub(super) owned: Option<&'static str>,
}

/// What an option takes.
pub(super) enum Kind {
    /// As Go's `strconv.ParseBool` takes it.
    Bool,
    /// A whole number within bounds.
    Number { least: u64, most: u64 },
    /// A size in bytes.
    Bytes { most: u64 },
    /// As Go's `time.ParseDuration` takes it.
    Duration { zero: bool },
    /// A duration, or a number of hours or revisions.
    Retention,
    /// One of a few words, each with the versions that know it.
    Words(&'static [(&'static str, Availability)]),
    /// `Name=true,Other=false`, with names that the version knows.
    Gates(&'static [(&'static str, Availability)]),
    /// Anything that fits on a line.
    Text,
}

/// What took an option's place.
pub(super) enum Successor {
    /// Another option, with the same values.
    Option(&'static str),
    /// Another option, with values of its own.
    Instead(&'static str),
    /// A gate of `feature-gates`.
    Gate(&'static str),
}

impl EtcdOption {
    const fn owned(mut self, why: &'static str) -> Self {
        self.owned = Some(why);
        self
    }

    const fn renamed(mut self, name: &'static str) -> Self {
        self.successor = Some(Successor::Option(name));
        self
    }

    const fn instead(mut self, name: &'static str) -> Self {
        self.successor = Some(Successor::Instead(name));
        self
    }

    const fn gate(mut self, name: &'static str) -> Self {
        self.successor = Some(Successor::Gate(name));
        self
    }
}

const fn option(name: &'static str, known: Availability, kind: Kind) -> EtcdOption {
    EtcdOption { name, known, kind, successor: None, owned: None }
}

const NUMBER: Kind = Kind::Number { least: 0, most: u64::MAX };
const NUMBER_32: Kind = Kind::Number { least: 0, most: u32::MAX as u64 };
const DURATION: Kind = Kind::Duration { zero: true };
const TLS_VERSIONS: Kind = Kind::Words(&[("TLS1.2", ALL), ("TLS1.3", ALL)]);
/// Backported together with the fix for starving watches: 3.4.25 and 3.5.8.
const WITH_3_4_25: Availability = [Some(25), Some(8), Some(0), Some(0)];

const MEMBER: &str = "`name` of the host names the member";
const ADDRESS: &str = "`address` of the host and `etcd.client_port` and `etcd.peer_port` decide it";
const CLUSTER: &str = "the list of `hosts` decides it, and every run writes what is right at that time";
const CERTIFICATES: &str = "certificates are made and placed as `pki` says; TLS with client certificates is always on";
const DISCOVERY: &str = "the members are the list of `hosts`; no discovery is used";
const V2: &str = "the v2 API is gone in 3.6, and data written through it blocks the upgrade";
const PROXY: &str = "`hosts` are members; proxies are not run";

/// Every option of the known series, in etcd's own order.
pub(super) const OPTIONS: &[EtcdOption] = &[
    // Member
    option("name", ALL, Kind::Text).owned(MEMBER),
    option("data-dir", ALL, Kind::Text).owned("`paths.data` is the data folder"),
    option("wal-dir", ALL, Kind::Text).owned("the log lies in the data folder, `paths.data`"),
    option("snapshot-count", ALL, NUMBER),
    option("heartbeat-interval", ALL, Kind::Number { least: 1, most: 50_000 }),
    // etcd refuses more than 50 s (maxElectionMs).
    option("election-timeout", ALL, Kind::Number { least: 1, most: 50_000 }),
    option("initial-election-tick-advance", ALL, Kind::Bool),
    option("listen-peer-urls", ALL, Kind::Text).owned(ADDRESS),
    option("listen-client-urls", ALL, Kind::Text)
        .owned("`address`, `etcd.client_port` and `etcd.local_plaintext` of the host decide it"),
    option("listen-client-http-urls", WITH_3_4_25, Kind::Text).owned(ADDRESS),
    option("max-snapshots", ALL, NUMBER),
    option("max-wals", ALL, NUMBER),
    option("quota-backend-bytes", ALL, Kind::Bytes { most: i64::MAX as u64 }),
    option("backend-bbolt-freelist-type", FROM_3_5, Kind::Words(&[("array", ALL), ("map", ALL)])),
    option("experimental-backend-bbolt-freelist-type", ONLY_3_4, Kind::Words(&[("array", ALL), ("map", ALL)]))
        .renamed("backend-bbolt-freelist-type"),
    option("backend-batch-interval", ALL, DURATION),
    option("backend-batch-limit", ALL, NUMBER_32),
    option("max-txn-ops", ALL, NUMBER_32),
    option("max-request-bytes", ALL, Kind::Bytes { most: i32::MAX as u64 }),
    option("max-concurrent-streams", [Some(20), Some(5), Some(0), Some(0)], NUMBER_32),
    option("enable-grpc-gateway", ALL, Kind::Bool),
    option("grpc-keepalive-min-time", ALL, DURATION),
    option("grpc-keepalive-interval", ALL, DURATION),
    option("grpc-keepalive-timeout", ALL, DURATION),
    option("socket-reuse-port", FROM_3_5, Kind::Bool),
    option("socket-reuse-address", FROM_3_5, Kind::Bool),
    option("raft-read-timeout", FROM_3_5, DURATION),
    option("raft-write-timeout", FROM_3_5, DURATION),
    // Clustering
    option("initial-advertise-peer-urls", ALL, Kind::Text).owned(ADDRESS),
    option("advertise-client-urls", ALL, Kind::Text).owned(ADDRESS),
    option("initial-cluster", ALL, Kind::Text).owned(CLUSTER),
    option("initial-cluster-state", ALL, Kind::Text).owned(CLUSTER),
    option("initial-cluster-token", ALL, Kind::Text)
        .owned("every bootstrap gets a token of its own, so that old data never joins a new cluster"),
    option("discovery", TO_3_6, Kind::Text).owned(DISCOVERY),
    option("discovery-proxy", TO_3_6, Kind::Text).owned(DISCOVERY),
    option("discovery-fallback", ALL, Kind::Text).owned(DISCOVERY),
    option("discovery-srv", ALL, Kind::Text).owned(DISCOVERY),
    option("discovery-srv-name", ALL, Kind::Text).owned(DISCOVERY),
    option("discovery-endpoints", FROM_3_6, Kind::Text).owned(DISCOVERY),
    option("discovery-token", FROM_3_6, Kind::Text).owned(DISCOVERY),
    option("discovery-dial-timeout", FROM_3_6, DURATION).owned(DISCOVERY),
    option("discovery-request-timeout", FROM_3_6, DURATION).owned(DISCOVERY),
    option("discovery-keepalive-time", FROM_3_6, DURATION).owned(DISCOVERY),
    option("discovery-keepalive-timeout", FROM_3_6, DURATION).owned(DISCOVERY),
    option("discovery-insecure-transport", FROM_3_6, Kind::Bool).owned(DISCOVERY),
    option("discovery-insecure-skip-tls-verify", FROM_3_6, Kind::Bool).owned(DISCOVERY),
    option("discovery-cert", FROM_3_6, Kind::Text).owned(DISCOVERY),
    option("discovery-key", FROM_3_6, Kind::Text).owned(DISCOVERY),
    option("discovery-cacert", FROM_3_6, Kind::Text).owned(DISCOVERY),
    option("discovery-user", FROM_3_6, Kind::Text).owned(DISCOVERY),
    option("discovery-password", FROM_3_6, Kind::Text).owned(DISCOVERY),
    option("strict-reconfig-check", ALL, Kind::Bool),
    option("pre-vote", ALL, Kind::Bool),
    option("auto-compaction-retention", ALL, Kind::Retention),
    option("auto-compaction-mode", ALL, Kind::Words(&[("periodic", ALL), ("revision", ALL)])),
    option("enable-v2", TO_3_5, Kind::Bool).owned(V2),
    option("experimental-enable-v2v3", TO_3_5, Kind::Text).owned(V2),
    option(
        "v2-deprecation",
        FROM_3_5,
        Kind::Words(&[
            ("not-yet", ONLY_3_5),
            ("write-only", ALL),
            ("write-only-drop-data", ALL),
            ("write-only-skip-check", [None, Some(32), Some(13), None]),
            ("gone", ALL),
        ]),
    ),
    option("next-cluster-version-compatible", [Some(32), None, None, None], Kind::Bool)
        .owned("it belongs to a downgrade from 3.5, which is not done this way"),
    // Proxy
    option("proxy", TO_3_5, Kind::Text).owned(PROXY),
    option("proxy-failure-wait", TO_3_5, NUMBER).owned(PROXY),
    option("proxy-refresh-interval", TO_3_5, NUMBER).owned(PROXY),
    option("proxy-dial-timeout", TO_3_5, NUMBER).owned(PROXY),
    option("proxy-write-timeout", TO_3_5, NUMBER).owned(PROXY),
    option("proxy-read-timeout", TO_3_5, NUMBER).owned(PROXY),
    // Security
    option("cert-file", ALL, Kind::Text).owned(CERTIFICATES),
    option("key-file", ALL, Kind::Text).owned(CERTIFICATES),
    option("client-cert-file", FROM_3_5, Kind::Text).owned(CERTIFICATES),
    option("client-key-file", FROM_3_5, Kind::Text).owned(CERTIFICATES),
    option("client-cert-auth", ALL, Kind::Bool).owned(CERTIFICATES),
    option("client-crl-file", ALL, Kind::Text),
    option("client-cert-allowed-hostname", ALL, Kind::Text),
    option("trusted-ca-file", ALL, Kind::Text).owned(CERTIFICATES),
    option("auto-tls", ALL, Kind::Bool).owned(CERTIFICATES),
    option("peer-cert-file", ALL, Kind::Text).owned(CERTIFICATES),
    option("peer-key-file", ALL, Kind::Text).owned(CERTIFICATES),
    option("peer-client-cert-file", FROM_3_5, Kind::Text).owned(CERTIFICATES),
    option("peer-client-key-file", FROM_3_5, Kind::Text).owned(CERTIFICATES),
    option("peer-client-cert-auth", ALL, Kind::Bool).owned(CERTIFICATES),
    option("peer-trusted-ca-file", ALL, Kind::Text).owned(CERTIFICATES),
    option("peer-auto-tls", ALL, Kind::Bool).owned(CERTIFICATES),
    option("self-signed-cert-validity", FROM_3_5, NUMBER).owned(CERTIFICATES),
    option("peer-crl-file", ALL, Kind::Text),
    option("peer-cert-allowed-cn", ALL, Kind::Text),
    option("peer-cert-allowed-hostname", ALL, Kind::Text),
    option("experimental-peer-skip-client-san-verification", TO_3_6, Kind::Bool)
        .renamed("peer-skip-client-san-verification"),
    option("peer-skip-client-san-verification", FROM_3_6, Kind::Bool),
    option("cipher-suites", ALL, Kind::Text),
    option("tls-min-version", WITH_3_4_25, TLS_VERSIONS),
    option("tls-max-version", WITH_3_4_25, TLS_VERSIONS),
    option("cors", ALL, Kind::Text),
    option("host-whitelist", ALL, Kind::Text),
    // Authentication
    option("auth-token", ALL, Kind::Text),
    option("auth-token-ttl", [Some(10), Some(0), Some(0), Some(0)], NUMBER_32),
    option("bcrypt-cost", ALL, Kind::Number { least: 4, most: 31 }),
    // Logging
    option("logger", ALL, Kind::Words(&[("zap", ALL), ("capnslog", ONLY_3_4)])),
    option("log-outputs", ALL, Kind::Text),
    option("log-output", ONLY_3_4, Kind::Text).renamed("log-outputs"),
    option(
        "log-level",
        ALL,
        Kind::Words(&[("debug", ALL), ("info", ALL), ("warn", ALL), ("error", ALL), ("panic", ALL), ("fatal", ALL)]),
    ),
    option("log-format", FROM_3_6, Kind::Words(&[("json", ALL), ("console", ALL)])),
    option("log-package-levels", ONLY_3_4, Kind::Text).instead("log-level"),
    option("debug", ONLY_3_4, Kind::Bool).instead("log-level"),
    option("enable-log-rotation", FROM_3_5, Kind::Bool),
    option("log-rotation-config-json", FROM_3_5, Kind::Text),
    // Profiling, metrics, tracing
    option("enable-pprof", ALL, Kind::Bool),
    option("metrics", ALL, Kind::Words(&[("basic", ALL), ("extensive", ALL)])),
    option("listen-metrics-urls", ALL, Kind::Text),
    option("experimental-enable-distributed-tracing", IN_3_5_AND_3_6, Kind::Bool).renamed("enable-distributed-tracing"),
    option("experimental-distributed-tracing-address", IN_3_5_AND_3_6, Kind::Text)
        .renamed("distributed-tracing-address"),
    option("experimental-distributed-tracing-service-name", IN_3_5_AND_3_6, Kind::Text)
        .renamed("distributed-tracing-service-name"),
    option("experimental-distributed-tracing-instance-id", IN_3_5_AND_3_6, Kind::Text)
        .renamed("distributed-tracing-instance-id"),
    option("experimental-distributed-tracing-sampling-rate", [None, Some(11), Some(0), None], NUMBER_32)
        .renamed("distributed-tracing-sampling-rate"),
    option("enable-distributed-tracing", FROM_3_6, Kind::Bool),
    option("distributed-tracing-address", FROM_3_6, Kind::Text),
    option("distributed-tracing-service-name", FROM_3_6, Kind::Text),
    option("distributed-tracing-instance-id", FROM_3_6, Kind::Text),
    option("distributed-tracing-sampling-rate", FROM_3_6, NUMBER_32),
    // Features
    option(
        "feature-gates",
        FROM_3_6,
        Kind::Gates(&[
            ("AllAlpha", ALL),
            ("AllBeta", ALL),
            ("CompactHashCheck", ALL),
            ("FastLeaseKeepAlive", FROM_3_7),
            ("InitialCorruptCheck", ALL),
            ("LeaseCheckpoint", ALL),
            ("LeaseCheckpointPersist", ALL),
            ("PriorityRequest", FROM_3_7),
            ("SetMemberLocalAddr", ALL),
            ("StopGRPCServiceOnDefrag", ALL),
            ("TxnModeWriteWithSharedBuffer", ALL),
        ]),
    ),
    option("experimental-initial-corrupt-check", TO_3_6, Kind::Bool).gate("InitialCorruptCheck"),
    option("experimental-corrupt-check-time", TO_3_6, DURATION).renamed("corrupt-check-time"),
    option("corrupt-check-time", FROM_3_6, DURATION),
    option("experimental-compact-hash-check-enabled", [None, Some(5), Some(0), None], Kind::Bool)
        .gate("CompactHashCheck"),
    option("experimental-compact-hash-check-time", [None, Some(5), Some(0), None], Kind::Duration { zero: false })
        .renamed("compact-hash-check-time"),
    option("compact-hash-check-time", FROM_3_6, Kind::Duration { zero: false }),
    option("experimental-enable-lease-checkpoint", TO_3_6, Kind::Bool).gate("LeaseCheckpoint"),
    option("experimental-enable-lease-checkpoint-persist", [Some(20), Some(2), Some(0), None], Kind::Bool)
        .gate("LeaseCheckpointPersist"),
    option("experimental-compaction-batch-limit", TO_3_6, NUMBER_32).renamed("compaction-batch-limit"),
    option("compaction-batch-limit", FROM_3_6, NUMBER_32),
    option("experimental-compaction-sleep-interval", IN_3_5_AND_3_6, DURATION).renamed("compaction-sleep-interval"),
    option("compaction-sleep-interval", FROM_3_6, DURATION),
    option("experimental-watch-progress-notify-interval", [Some(11), Some(0), Some(0), None], DURATION)
        .renamed("watch-progress-notify-interval"),
    option("watch-progress-notify-interval", FROM_3_6, DURATION),
    option("experimental-downgrade-check-time", IN_3_5_AND_3_6, DURATION).renamed("downgrade-check-time"),
    option("downgrade-check-time", FROM_3_6, DURATION),
    option("experimental-warning-apply-duration", [Some(16), Some(0), Some(0), None], DURATION)
        .renamed("warning-apply-duration"),
    option("warning-apply-duration", FROM_3_6, DURATION),
    option("experimental-warning-unary-request-duration", ONLY_3_6, DURATION).renamed("warning-unary-request-duration"),
    option("warning-unary-request-duration", FROM_3_6, DURATION),
    option("experimental-memory-mlock", IN_3_5_AND_3_6, Kind::Bool).renamed("memory-mlock"),
    option("memory-mlock", FROM_3_6, Kind::Bool),
    option("experimental-txn-mode-write-with-shared-buffer", IN_3_5_AND_3_6, Kind::Bool)
        .gate("TxnModeWriteWithSharedBuffer"),
    option("experimental-stop-grpc-service-on-defrag", IN_3_5_AND_3_6, Kind::Bool).gate("StopGRPCServiceOnDefrag"),
    option("experimental-bootstrap-defrag-threshold-megabytes", IN_3_5_AND_3_6, NUMBER_32)
        .renamed("bootstrap-defrag-threshold-megabytes"),
    option("bootstrap-defrag-threshold-megabytes", FROM_3_6, NUMBER_32),
    option("max-learners", FROM_3_6, Kind::Number { least: 1, most: i32::MAX as u64 }),
    option("experimental-snapshot-catchup-entries", IN_3_5_AND_3_6, NUMBER).renamed("snapshot-catchup-entries"),
    option("snapshot-catchup-entries", FROM_3_6, NUMBER),
    // Unsafe
    option("force-new-cluster", ALL, Kind::Bool)
        .owned("it throws the other members away; rescues have procedures of their own"),
    option("unsafe-no-fsync", [Some(10), Some(0), Some(0), Some(0)], Kind::Bool)
        .owned("without fsync, a power cut loses acknowledged writes"),
    // Not settings
    option("config-file", ALL, Kind::Text).owned("a configuration file would void every other option"),
    option("version", ALL, Kind::Bool).owned("`etcd.version` is the version to run"),
];
