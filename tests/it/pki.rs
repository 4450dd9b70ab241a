//! The certificates as OpenSSL sees them.

// clippy.toml allows these in `#[test]` functions only, not in what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod folder;
mod given;
mod sealed;

use etcd_ha::error::{ExitStatus, Explain as _};
use etcd_ha::pki::{Change, KeyAlgorithm, Kind, Member, Pki, PkiError, Settings, Subject, show};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration as StdDuration;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// A controller with a PKI folder, and an `openssl` beside it.
struct Controller {
    home: TempDir,
    settings: Settings,
    members: Vec<Member>,
    now: OffsetDateTime,
}

impl Controller {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings {
            dir: home.path().join("prod.pki"),
            ca_cert: None,
            ca_key: None,
            encrypt_ca_key: false,
            key: KeyAlgorithm::EcdsaP256,
            subject: Subject::default(),
            ca_lifetime: StdDuration::from_secs(87600 * HOUR),
            leaf_lifetime: StdDuration::from_secs(87600 * HOUR),
            renew_before: StdDuration::from_secs(30 * DAY),
        };
        let members = (1..=3)
            .map(|n| Member {
                name: format!("node0{n}"),
                names: vec![format!("10.19.0.5{}", n + 4), format!("node0{n}.example")],
            })
            .collect();
        Self { home, settings, members, now: OffsetDateTime::now_utc() }
    }

    /// One whose CA is the user's, made by `script` as `ca.crt` and `ca.key` in the home.
    fn with_own_authority(script: &str) -> Self {
        let mut controller = Self::new();
        controller.sh(script);
        controller.now = OffsetDateTime::now_utc();
        controller.settings.ca_cert = Some(controller.home.path().join("ca.crt"));
        controller.settings.ca_key = Some(controller.home.path().join("ca.key"));
        controller
    }

    fn load(&self) -> Result<Pki, PkiError> {
        Pki::load_or_issue(&self.settings, "prod", &self.members, self.now)
    }

    fn refusal(&self) -> PkiError {
        match self.load() {
            Err(error) => error,
            Ok(pki) => panic!("accepted: {:?}", pki.changes()),
        }
    }

    /// Loads, persists, and returns the changes in words.
    fn run(&self) -> Vec<String> {
        let pki = self.load().unwrap();
        pki.persist().unwrap();
        changes(&pki)
    }

    /// Runs `script` in the home and returns what it prints; fails with it.
    fn sh(&self, script: &str) -> String {
        let (ok, text) = self.try_sh(script);
        assert!(ok, "{script}\n{text}");
        text
    }

    fn try_sh(&self, script: &str) -> (bool, String) {
        let output = Command::new("sh").args(["-euc", script]).current_dir(self.home.path()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn text(&self, file: &str) -> String {
        self.sh(&format!("openssl x509 -in prod.pki/{file} -noout -text"))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.settings.dir.join(file)
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(&self.settings.dir)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }

    /// Checks with OpenSSL that every leaf verifies against the bundle that hosts get, for what
    /// etcd uses it for, and that every key is its certificate's.
    fn verify(&self, pki: &Pki) {
        self.verify_with(pki, "-x509_strict");
    }

    /// The same, where the user's CA lacks extensions that `-x509_strict` demands of it.
    fn verify_loosely(&self, pki: &Pki) {
        self.verify_with(pki, "");
    }

    fn verify_with(&self, pki: &Pki, options: &str) {
        fs::write(self.home.path().join("bundle.pem"), pki.ca_pem()).unwrap();
        let said = self.sh(&format!(
            "cd prod.pki
            for f in node0?-server.pem node0?-peer.pem; do
                openssl verify -CAfile ../bundle.pem {options} -purpose sslserver $f
            done
            for f in node0?-server.pem node0?-peer.pem admin.pem; do
                openssl verify -CAfile ../bundle.pem {options} -purpose sslclient $f
                test \"$(openssl x509 -in $f -noout -pubkey)\" = \"$(openssl pkey -in ${{f%.pem}}-key.pem -pubout)\"
            done"
        ));
        assert_eq!(said.matches(": OK\n").count(), 4 * self.members.len() + 1, "{said}");
    }
}

fn changes(pki: &Pki) -> Vec<String> {
    pki.changes().iter().map(ToString::to_string).collect()
}

/// The kinds that are issued.
fn issued(pki: &Pki) -> Vec<Kind> {
    pki.changes()
        .iter()
        .filter_map(|change| match change {
            Change::Issue { kind, .. } => Some(kind.clone()),
            Change::Restrict { .. } => None,
        })
        .collect()
}

fn peer(n: u8) -> Kind {
    Kind::Peer(format!("node0{n}"))
}

fn server(n: u8) -> Kind {
    Kind::Server(format!("node0{n}"))
}

fn all_leaves() -> Vec<Kind> {
    vec![Kind::Admin, server(1), peer(1), server(2), peer(2), server(3), peer(3)]
}

#[test]
fn issues_what_openssl_accepts() {
    let mut controller = Controller::new();
    controller.settings.subject = Subject {
        country: Some("DE".to_owned()),
        state: Some("Baden-Württemberg".to_owned()),
        locality: Some("Karlsruhe".to_owned()),
        organization: Some("Example".to_owned()),
    };
    let pki = controller.load().unwrap();
    assert!(!controller.settings.dir.exists(), "nothing is written before persist");
    assert_eq!(
        changes(&pki),
        [
            "issue CA certificate: there is none yet",
            "issue admin certificate: there is none yet",
            "issue server certificate of node01: there is none yet",
            "issue peer certificate of node01: there is none yet",
            "issue server certificate of node02: there is none yet",
            "issue peer certificate of node02: there is none yet",
            "issue server certificate of node03: there is none yet",
            "issue peer certificate of node03: there is none yet",
        ]
    );
    pki.persist().unwrap();
    controller.verify(&pki);
    controller.sh("openssl verify -x509_strict -CAfile prod.pki/ca.pem prod.pki/ca.pem");

    let ca = controller.text("ca.pem");
    for wanted in [
        "Subject: C = DE, ST = Baden-W\\C3\\BCrttemberg, L = Karlsruhe, O = Example, CN = prod etcd CA",
        "CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n",
        "X509v3 Subject Key Identifier",
        "ASN1 OID: prime256v1",
    ] {
        assert!(ca.contains(wanted), "{wanted}\n{ca}");
    }
    for (file, usage) in [
        ("node02-server.pem", "TLS Web Server Authentication, TLS Web Client Authentication"),
        ("node02-peer.pem", "TLS Web Server Authentication, TLS Web Client Authentication"),
    ] {
        let text = controller.text(file);
        for wanted in [
            "O = Example, CN = node02\n",
            "CA:FALSE",
            "X509v3 Key Usage: critical\n                Digital Signature\n",
            &format!("X509v3 Extended Key Usage: \n                {usage}\n"),
            "IP Address:10.19.0.56, DNS:node02.example, DNS:localhost, IP Address:127.0.0.1, \
             IP Address:0:0:0:0:0:0:0:1\n",
            "X509v3 Subject Key Identifier",
            "X509v3 Authority Key Identifier",
        ] {
            assert!(text.contains(wanted), "{file}: {wanted}\n{text}");
        }
    }
    let admin = controller.text("admin.pem");
    assert!(admin.contains("CN = root\n"), "{admin}");
    assert!(admin.contains("X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n"), "{admin}");
    assert!(!admin.contains("Subject Alternative Name"), "{admin}");

    // What is in memory is what is in the files.
    let node = pki.member("node02").unwrap();
    assert_eq!(fs::read_to_string(controller.path("node02-peer.pem")).unwrap(), node.peer.certificate);
    assert_eq!(fs::read_to_string(controller.path("node02-peer-key.pem")).unwrap(), node.peer.key.expose());
    assert_eq!(fs::read_to_string(controller.path("node02-server.pem")).unwrap(), node.server.certificate);
    assert_eq!(fs::read_to_string(controller.path("admin-key.pem")).unwrap(), pki.admin().key.expose());
    assert_eq!(fs::read_to_string(controller.path("ca.pem")).unwrap(), pki.ca_pem());
    assert!(pki.member("node04").is_none());
    let fingerprint = controller.sh("openssl x509 -in prod.pki/ca.pem -noout -fingerprint -sha256");
    assert!(fingerprint.trim_end().ends_with(&format!("={}", pki.ca_fingerprint())), "{fingerprint}");
}

#[test]
fn serials_are_random_positive_and_all_different() {
    let controller = Controller::new();
    controller.run();
    let serials: BTreeSet<_> = controller
        .sh("for f in prod.pki/ca.pem prod.pki/admin.pem prod.pki/node*-server.pem prod.pki/node*-peer.pem; do \
             openssl x509 -in $f -noout -serial; done")
        .lines()
        .map(|line| line.strip_prefix("serial=").unwrap().to_owned())
        .collect();
    assert_eq!(serials.len(), 8, "{serials:?}");
    assert!(serials.iter().all(|serial| serial.len() == 32 && !serial.starts_with('-')), "{serials:?}");
}

#[test]
fn changed_names_concern_that_member_only() {
    let mut controller = Controller::new();
    controller.run();
    controller.members[1].names.push("10.19.0.60".to_owned());
    controller.members[2].names = vec!["10.19.0.61".to_owned(), "node03.example".to_owned()];
    let pki = controller.load().unwrap();
    assert_eq!(
        changes(&pki),
        [
            "issue server certificate of node02: names differ (+10.19.0.60)",
            "issue peer certificate of node02: names differ (+10.19.0.60)",
            "issue server certificate of node03: names differ (+10.19.0.61, -10.19.0.57)",
            "issue peer certificate of node03: names differ (+10.19.0.61, -10.19.0.57)",
        ]
    );
    let before = controller.files();
    pki.persist().unwrap();
    controller.verify(&pki);
    let after = controller.files();
    let changed: Vec<_> = after.keys().filter(|name| after.get(*name) != before.get(*name)).cloned().collect();
    assert_eq!(changed.len(), 8, "{changed:?}");
    assert!(changed.iter().all(|name| name.starts_with("node02") || name.starts_with("node03")), "{changed:?}");
    assert_eq!(controller.run(), [""; 0]);

    controller.members.push(Member { name: "node04".to_owned(), names: vec!["10.19.0.58".to_owned()] });
    assert_eq!(issued(&controller.load().unwrap()), [server(4), peer(4)]);
}

#[test]
fn leaves_near_their_end_are_issued_anew() {
    let mut controller = Controller::new();
    controller.settings.leaf_lifetime = StdDuration::from_secs(90 * DAY);
    controller.run();
    let start = controller.now;
    controller.now = start + Duration::days(59);
    assert_eq!(controller.load().unwrap().changes(), []);
    controller.now = start + Duration::days(61);
    let pki = controller.load().unwrap();
    assert_eq!(issued(&pki), all_leaves());
    assert!(changes(&pki)[0].starts_with("issue admin certificate: it expires on "), "{:?}", changes(&pki));
    pki.persist().unwrap();
    assert_eq!(controller.run(), [""; 0]);
    // Also long after.
    controller.now = start + Duration::days(400);
    let pki = controller.load().unwrap();
    assert!(changes(&pki)[0].starts_with("issue admin certificate: it expired on "), "{:?}", changes(&pki));
    pki.persist().unwrap();
    assert_eq!(controller.run(), [""; 0]);
}

#[test]
fn lifetimes_are_kept_and_end_with_the_authority() {
    let mut controller = Controller::new();
    controller.settings.ca_lifetime = StdDuration::from_secs(30 * 365 * DAY);
    controller.settings.leaf_lifetime = StdDuration::from_secs(365 * DAY);
    let pki = controller.load().unwrap();
    pki.persist().unwrap();
    let start = controller.now.truncate_to_second();
    assert_eq!(pki.ca_not_after(), start + Duration::days(30 * 365));
    // The CA ends after 2049, where the form of the time changes; OpenSSL reads it.
    controller.verify(&pki);
    let year = (start + Duration::days(30 * 365)).year();
    assert!(year > 2049 && controller.text("ca.pem").contains(&format!(" {year} GMT")));
    let shown = show(&controller.settings, controller.now).unwrap();
    for info in &shown {
        let details = info.details.as_ref().unwrap();
        assert_eq!(details.not_before, start - Duration::HOUR, "{info:?}");
        let days = if info.kind == Some(Kind::Authority) { 30 * 365 } else { 365 };
        assert_eq!(details.not_after, start + Duration::days(days), "{info:?}");
        assert_eq!(info.problems, [""; 0]);
    }

    let mut controller = Controller::new();
    controller.settings.ca_lifetime = StdDuration::from_secs(10 * DAY);
    let pki = controller.load().unwrap();
    pki.persist().unwrap();
    controller.verify(&pki);
    for info in show(&controller.settings, controller.now).unwrap() {
        assert_eq!(info.details.unwrap().not_after, pki.ca_not_after());
    }
    // There is nothing to gain from issuing such leaves again, at any time; but the user is warned.
    let pki = controller.load().unwrap();
    assert_eq!(pki.changes(), []);
    controller.now += Duration::days(9);
    let pki = controller.load().unwrap();
    assert_eq!(pki.changes(), []);
    assert!(pki.warnings()[0].starts_with("the CA expires on "), "{:?}", pki.warnings());
    controller.now += Duration::days(2);
    let error = controller.refusal();
    assert!(error.to_string().contains("has expired"), "{error}");
    assert_eq!(error.exit(), ExitStatus::Refused);

    let mut controller = Controller::new();
    controller.settings.ca_lifetime = StdDuration::from_secs(u64::MAX);
    controller.settings.leaf_lifetime = StdDuration::from_secs(u64::MAX);
    let pki = controller.load().unwrap();
    pki.persist().unwrap();
    controller.verify(&pki);
    assert!(controller.text("node01-peer.pem").contains("Not After : Dec 31 23:59:59 9999 GMT"));
    assert_eq!(controller.run(), [""; 0]);
}

#[test]
fn rsa_keys_work() {
    let mut controller = Controller::new();
    controller.settings.key = KeyAlgorithm::Rsa2048;
    controller.members.truncate(1);
    let pki = controller.load().unwrap();
    pki.persist().unwrap();
    controller.verify(&pki);
    let text = controller.text("node01-peer.pem");
    for wanted in ["Public-Key: (2048 bit)", "Digital Signature, Key Encipherment\n", "sha256WithRSAEncryption"] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    assert_eq!(controller.run(), [""; 0]);
    // Another algorithm is taken for what is issued from now on; nothing is issued for its sake.
    controller.settings.key = KeyAlgorithm::EcdsaP256;
    assert_eq!(controller.run(), [""; 0]);
    controller.members[0].names.push("10.19.0.60".to_owned());
    let pki = controller.load().unwrap();
    assert_eq!(issued(&pki), [server(1), peer(1)]);
    pki.persist().unwrap();
    controller.verify(&pki);
}

#[test]
fn debug_shows_no_key() {
    let controller = Controller::new();
    let pki = controller.load().unwrap();
    pki.persist().unwrap();
    let shown = format!("{pki:?} {pki:#?}");
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    for (name, bytes) in controller.files() {
        if name.ends_with("-key.pem") {
            let text = String::from_utf8(bytes).unwrap();
            for line in text.lines().filter(|line| !line.starts_with('-')) {
                assert!(!shown.contains(line), "{name}");
            }
        }
    }
    assert!(shown.contains(&pki.ca_fingerprint()), "{shown}");
}

#[test]
fn shows_certificates_as_they_are() {
    let mut controller = Controller::new();
    controller.settings.leaf_lifetime = StdDuration::from_secs(100 * DAY);
    assert_eq!(show(&controller.settings, controller.now).unwrap(), []);
    controller.run();
    fs::write(controller.path("node01-peer.pem"), "rubbish").unwrap();
    fs::remove_file(controller.path("node02-peer-key.pem")).unwrap();
    fs::copy(controller.path("admin-key.pem"), controller.path("node02-server-key.pem")).unwrap();
    let other = Controller::new();
    other.run();
    fs::copy(other.path("node03-peer.pem"), controller.path("node03-peer.pem")).unwrap();
    fs::copy(other.path("node03-peer-key.pem"), controller.path("node03-peer-key.pem")).unwrap();

    let shown = show(&controller.settings, controller.now + Duration::days(1)).unwrap();
    let seen: Vec<_> = shown
        .iter()
        .map(|info| {
            let file = info.file.file_name().unwrap().to_str().unwrap();
            (file, info.details.as_ref().map(|details| details.days_left), info.problems.join("; "))
        })
        .collect();
    let seen: Vec<_> = seen.iter().map(|(file, days, problems)| (*file, *days, problems.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("ca.pem", Some(3649), ""),
            ("admin.pem", Some(99), ""),
            ("node01-peer.pem", None, "it holds no certificate in PEM form"),
            ("node01-server.pem", Some(99), ""),
            ("node02-peer.pem", Some(99), "its key is missing"),
            ("node02-server.pem", Some(99), "its key belongs to another certificate"),
            ("node03-peer.pem", Some(3649), "another CA issued it"),
            ("node03-server.pem", Some(99), ""),
        ]
    );
    let node = shown[3].details.as_ref().unwrap();
    assert_eq!(node.subject, "CN=node01");
    assert_eq!(node.issuer, "CN=prod etcd CA");
    assert_eq!(node.names, ["10.19.0.55", "node01.example", "localhost", "127.0.0.1", "::1"]);
    let serial = controller.sh("openssl x509 -in prod.pki/node01-server.pem -noout -serial");
    assert_eq!(serial.trim_end(), format!("serial={}", node.serial));

    let json = serde_json::to_value(&shown[3]).unwrap();
    assert_eq!((&json["kind"], &json["member"]), (&"server".into(), &"node01".into()));
    assert_eq!(json["days_left"], 99);

    let shown = show(&controller.settings, controller.now + Duration::days(101)).unwrap();
    assert!(shown[1].problems[0].starts_with("it expired on "), "{shown:?}");
    assert_eq!(shown[1].details.as_ref().unwrap().days_left, -1);
}
