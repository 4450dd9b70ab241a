//! Host certificates and revoked keys, judged by us and by OpenSSH's client.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{Certificate, PrivateKey};

use super::known_hosts::{Answer, hashed, our_answer, their_answer};
use super::server::{Behaviour, new_key};
use super::{Fixture, installed};

/// A certificate in the making.
struct Wanted {
    principals: &'static [&'static str],
    /// From and to, in seconds from now.
    valid: (i64, i64),
    kind: CertType,
    option: Option<&'static str>,
}

const GOOD: Wanted = Wanted { principals: &["127.0.0.1"], valid: (-60, 3600), kind: CertType::Host, option: None };

fn certificate(key: &PrivateKey, authority: &PrivateKey, wanted: &Wanted) -> Certificate {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let at = |seconds: i64| u64::try_from(now + seconds).unwrap();
    let (from, to) = (at(wanted.valid.0), at(wanted.valid.1));
    let mut builder = Builder::new_with_random_nonce(&mut safe_rng(), key.public_key(), from, to).unwrap();
    builder.cert_type(wanted.kind).unwrap();
    for principal in wanted.principals {
        builder.valid_principal(*principal).unwrap();
    }
    if wanted.principals.is_empty() {
        builder.all_principals_valid().unwrap();
    }
    if let Some(option) = wanted.option {
        builder.critical_option(option, "").unwrap();
    }
    builder.sign(authority).unwrap()
}

/// A host with a key and a certificate, its authority, and keys that have nothing to do with it.
struct Stage {
    key: PrivateKey,
    authority: PrivateKey,
    other: PrivateKey,
}

impl Stage {
    fn new() -> Self {
        Self { key: new_key(), authority: new_key(), other: new_key() }
    }

    async fn host(&self, wanted: Option<&Wanted>) -> Fixture {
        let certificates = wanted.map(|wanted| certificate(&self.key, &self.authority, wanted)).into_iter().collect();
        let host_keys = vec![self.key.clone()];
        Fixture::new(Behaviour { host_keys, certificates, ..Behaviour::default() }).await
    }

    /// A file with `KEY`, `CA`, `OTHER` and `HOST` filled in.
    fn fill(&self, fixture: &Fixture, text: &str) -> String {
        let text = text.replace("HOST", &format!("[127.0.0.1]:{}", fixture.server.address.port()));
        // Word by word: a key in base64 may have any of these names in it.
        let filled = text.split_inclusive([' ', '\n']).map(|word| {
            let key = match word.trim_end() {
                "KEY" => &self.key,
                "CA" => &self.authority,
                "OTHER" => &self.other,
                _ => return word.to_owned(),
            };
            format!("{}{}", key.public_key().to_openssh().unwrap(), &word[word.trim_end().len()..])
        });
        filled.collect()
    }
}

#[tokio::test]
async fn we_and_openssh_judge_certificates_alike() {
    use Answer::{Accepted, Changed, Revoked, Unknown};
    if !["ssh", "ssh-keygen"].into_iter().all(installed) {
        return;
    }
    let stage = Stage::new();
    let elsewhere = Wanted { principals: &["node01", "127.0.0.2"], ..GOOD };
    let expired = Wanted { valid: (-3600, -60), ..GOOD };
    let not_yet = Wanted { valid: (600, 3600), ..GOOD };
    let for_users = Wanted { kind: CertType::User, ..GOOD };
    let with_conditions = Wanted { option: Some("force-command"), ..GOOD };
    let alias = "HostKeyAlias node01\n";
    for (wanted, config, file, expected) in [
        (Some(&GOOD), "", "@cert-authority HOST CA\n", Accepted),
        (Some(&GOOD), "", "@cert-authority * CA comment\n", Accepted),
        (Some(&GOOD), "", "@cert-authority [127.0.0.*]:* CA\n", Accepted),
        // The name without the port will do.
        (Some(&GOOD), "", "@cert-authority 127.0.0.1 CA\n", Accepted),
        (Some(&GOOD), "", "@cert-authority *,!HOST,!127.0.0.1 CA\n", Unknown),
        (Some(&GOOD), "", "@cert-authority node01 CA\n", Unknown),
        (Some(&GOOD), "", "@cert-authority HOST OTHER\n", Unknown),
        (Some(&GOOD), "", "@cert-authority HOST OTHER\n@cert-authority HOST CA\n", Accepted),
        (Some(&GOOD), "", "HOST CA\n", Changed),
        (Some(&GOOD), "", "HOST KEY\n", Accepted),
        (Some(&GOOD), "", "HOST OTHER\n@cert-authority HOST CA\n", Accepted),
        (None, "", "@cert-authority HOST CA\n", Unknown),
        (None, "", "@cert-authority HOST CA\nHOST KEY\n", Accepted),
        (Some(&elsewhere), "", "@cert-authority HOST CA\n", Unknown),
        (Some(&expired), "", "@cert-authority HOST CA\n", Unknown),
        (Some(&not_yet), "", "@cert-authority HOST CA\n", Unknown),
        (Some(&for_users), "", "@cert-authority HOST CA\n", Unknown),
        (Some(&with_conditions), "", "@cert-authority HOST CA\n", Unknown),
        // A certificate that does not count leaves the key in it.
        (Some(&expired), "", "@cert-authority HOST CA\nHOST KEY\n", Accepted),
        (Some(&expired), "", "@cert-authority HOST CA\nHOST OTHER\n", Changed),
        (Some(&GOOD), "", "@cert-authority HOST CA\n@revoked HOST CA\n", Revoked),
        (Some(&GOOD), "", "@revoked * KEY\n@cert-authority HOST CA\n", Revoked),
        (Some(&GOOD), "", "@revoked HOST OTHER\n@cert-authority HOST CA\n", Accepted),
        (Some(&GOOD), "", "@revoked node01 CA\n@cert-authority HOST CA\n", Accepted),
        (Some(&elsewhere), alias, "@cert-authority node01 CA\n", Accepted),
        (Some(&elsewhere), alias, "@cert-authority HOST CA\n", Unknown),
        (Some(&GOOD), alias, "@cert-authority node01 CA\n", Unknown),
        (Some(&GOOD), alias, "@cert-authority node01 CA\nnode01 KEY\n", Accepted),
        (None, alias, "node01 KEY\nHOST OTHER\n", Accepted),
        (None, alias, "node01 OTHER\nHOST KEY\n", Changed),
        (None, alias, "HOST KEY\n", Unknown),
        (Some(&GOOD), "HostKeyAlgorithms ssh-ed25519\n", "@cert-authority HOST CA\n", Unknown),
        (Some(&GOOD), "HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com\n", "@cert-authority HOST CA\n", Accepted),
        (Some(&GOOD), "HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com\n", "HOST KEY\n", Accepted),
    ] {
        let mut fixture = stage.host(wanted).await;
        fixture.configure(config);
        fs::write(&fixture.target.known_hosts[0], stage.fill(&fixture, file)).unwrap();
        let ours = our_answer(&fixture).await;
        assert_eq!(their_answer(&fixture).await, ours, "ssh has the left answer for\n{config}{file}");
        assert_eq!(ours, expected, "{config}{file}");
    }

    // An authority for a host whose name is hashed.
    let fixture = stage.host(Some(&GOOD)).await;
    let line = hashed(&fixture, &stage.fill(&fixture, "HOST CA\n"));
    fs::write(&fixture.target.known_hosts[0], format!("@cert-authority {line}")).unwrap();
    assert_eq!((our_answer(&fixture).await, their_answer(&fixture).await), (Accepted, Accepted));
}

#[tokio::test]
async fn principals_are_read_as_by_the_newest_openssh() {
    // Older ones take a certificate without principals for one of every host, and patterns for names.
    let stage = Stage::new();
    for (principals, expected) in [
        (&[][..], Answer::Unknown),
        (&["127.0.*"], Answer::Accepted),
        (&["127.0.0.?"], Answer::Accepted),
        (&["*.example"], Answer::Unknown),
    ] {
        let fixture = stage.host(Some(&Wanted { principals, ..GOOD })).await;
        fs::write(&fixture.target.known_hosts[0], stage.fill(&fixture, "@cert-authority * CA\n")).unwrap();
        assert_eq!(our_answer(&fixture).await, expected, "{principals:?}");
    }
}

#[tokio::test]
async fn it_is_said_why_a_certificate_does_not_count() {
    let stage = Stage::new();
    let expired = Wanted { valid: (-3600, -60), ..GOOD };
    let elsewhere = Wanted { principals: &["node01", "node\u{1b}[2J02"], ..GOOD };
    for (wanted, file, words) in [
        (&expired, "@cert-authority HOST CA\n", "; its certificate does not count: it expired at 2"),
        (&elsewhere, "@cert-authority HOST CA\n", "; its certificate does not count: it is for node01, node [2J02"),
        (&GOOD, "@cert-authority HOST OTHER\n", "; its certificate does not count: its authority SHA256:"),
        (&expired, "@cert-authority HOST CA\nHOST OTHER\n", "; its certificate does not count: it expired at 2"),
        (&GOOD, "@cert-authority HOST CA\n@revoked * CA\n", ", is certified by ssh-ed25519 SHA256:"),
        (&GOOD, "@cert-authority HOST CA\n@revoked * KEY\n", ", is revoked by `"),
    ] {
        let fixture = stage.host(Some(wanted)).await;
        fs::write(&fixture.target.known_hosts[0], stage.fill(&fixture, file)).unwrap();
        let error = fixture.connect().await.unwrap_err().to_string();
        assert!(error.contains(words), "{file}: {error}");
    }
}

#[tokio::test]
async fn revoked_host_keys_outdo_every_file() {
    use Answer::{Accepted, Revoked, Undecided};
    if !["ssh", "ssh-keygen"].into_iter().all(installed) {
        return;
    }
    let stage = Stage::new();
    let certified = "@cert-authority HOST CA\n";
    for (wanted, known, revoked, expected) in [
        (None, "HOST KEY\n", Some("KEY\n"), Revoked),
        (None, "HOST KEY\n", Some("# nothing\nOTHER\n"), Accepted),
        (None, "HOST KEY\n", Some("OTHER\nCA\n"), Accepted),
        (Some(&GOOD), certified, Some("OTHER\nCA\n"), Revoked),
        (Some(&GOOD), certified, Some("KEY\n"), Revoked),
        (Some(&GOOD), certified, Some("OTHER\n"), Accepted),
        (None, "HOST KEY\n", Some("OTHER\nnonsense\n"), Undecided),
        (None, "HOST KEY\n", None, Undecided),
    ] {
        let mut fixture = stage.host(wanted).await;
        let file = fixture.path("revoked");
        fixture.configure(&format!("RevokedHostKeys {}\n", file.display()));
        fs::write(&fixture.target.known_hosts[0], stage.fill(&fixture, known)).unwrap();
        if let Some(revoked) = revoked {
            fs::write(&file, stage.fill(&fixture, revoked)).unwrap();
        }
        let ours = our_answer(&fixture).await;
        assert_eq!(their_answer(&fixture).await, ours, "ssh has the left answer for\n{known}{revoked:?}");
        assert_eq!(ours, expected, "{known}{revoked:?}");
        // The same as a list of OpenSSH's own format.
        let Some(revoked) = revoked.filter(|text| !text.contains("nonsense")) else { continue };
        fs::remove_file(&file).unwrap();
        fs::write(fixture.path("keys"), stage.fill(&fixture, revoked)).unwrap();
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-k", "-f"]).arg(&file).arg(fixture.path("keys"));
        assert!(keygen.output().unwrap().status.success());
        let ours = our_answer(&fixture).await;
        assert_eq!(their_answer(&fixture).await, ours, "ssh has the left answer for the list of\n{known}{revoked:?}");
        assert_eq!(ours, expected, "the list of {known}{revoked:?}");
    }
}
