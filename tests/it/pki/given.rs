//! Authorities of the user's own, in every form in which people have them.

use super::{Controller, all_leaves, changes, issued};
use etcd_ha::error::{Error, ExitStatus, Explain as _};
use std::fs;
use time::{Duration, OffsetDateTime};

const SELF_SIGNED: &str = "openssl req -x509 -new -key ca.key -subj '/O=Corp/OU=PKI/CN=Corp CA' \
    -addext keyUsage=critical,keyCertSign,cRLSign -days 3650 -out ca.crt";

#[test]
fn authorities_of_the_users_own_work_in_every_common_form() {
    let ec = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key";
    let subject = |subject: &str, more: &str| {
        format!("{ec}; openssl req -x509 -new -key ca.key {more} -subj '{subject}' -days 3650 -out ca.crt")
    };
    let with_key = |make: &str| format!("{make}; {SELF_SIGNED}");
    let cases = [
        ("RSA, PKCS#1", with_key("openssl genrsa -traditional -out ca.key 2048")),
        ("RSA, PKCS#8", with_key("openssl genrsa -out ca.key 2048")),
        ("RSA 4096, PKCS#1", with_key("openssl genrsa -traditional -out ca.key 4096")),
        ("EC, SEC1", with_key("openssl ecparam -name prime256v1 -genkey -noout -out ca.key")),
        ("EC, parameters and SEC1", with_key("openssl ecparam -name prime256v1 -genkey -out ca.key")),
        ("EC, PKCS#8", with_key(ec)),
        ("P-384", with_key("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out ca.key")),
        ("Ed25519", with_key("openssl genpkey -algorithm ED25519 -out ca.key")),
        ("CRLF", format!("{ec}; {SELF_SIGNED}; sed -i 's/$/\\r/' ca.crt ca.key")),
        ("text around", format!("{ec}; {SELF_SIGNED}; openssl x509 -in ca.crt -text -out t; mv t ca.crt")),
        ("both in one file", format!("{ec}; {SELF_SIGNED}; cat ca.key >> ca.crt; cp ca.crt ca.key")),
        ("repeated attributes", subject("/DC=com/DC=example/OU=a/OU=b/CN=AD CA", "")),
        ("several attributes in one", subject("/O=x+OU=y/CN=multi", "-multivalue-rdn")),
        ("only a common name, in UTF-8", subject("/CN=Zertifizierungsstelle Köln", "-utf8")),
        ("an e-mail address", subject("/CN=x/emailAddress=ca@example.com", "")),
        ("a path length", subject("/CN=x", "-addext basicConstraints=critical,CA:TRUE,pathlen:0")),
        (
            "signed by SHA-1",
            format!("{ec}; openssl req -x509 -sha1 -new -key ca.key -subj /CN=x -days 3650 -out ca.crt"),
        ),
    ];
    for (case, script) in cases {
        let mut controller = Controller::with_own_authority(&script);
        controller.members.truncate(1);
        controller.sh("chmod 400 ca.key");
        let before = controller.sh("cat ca.crt ca.key | sha256sum");
        let pki = controller.load().unwrap_or_else(|e| panic!("{case}: {}", Error::from(e).line()));
        pki.persist().unwrap();
        println!("{case}");
        controller.verify_loosely(&pki);
        assert!(!pki.ca_pem().contains("PRIVATE"), "{case}");
        assert_eq!(controller.run(), [""; 0], "{case}");
        assert_eq!(controller.sh("cat ca.crt ca.key | sha256sum"), before, "{case}");
        assert!(!controller.path("ca.pem").exists() && !controller.path("ca-key.pem").exists(), "{case}");
    }
}

/// `root.crt`, an intermediate below it as `ca.crt` and `ca.key`, with these extensions each.
pub(super) fn chain(root: &str, intermediate: &str) -> String {
    format!(
        "openssl ecparam -name prime256v1 -genkey -noout -out root.key
        openssl req -x509 -new -key root.key -subj /CN=Root -days 3650 -addext basicConstraints=critical,{root} -out root.crt
        openssl ecparam -name prime256v1 -genkey -noout -out ca.key
        printf 'basicConstraints=critical,{intermediate}\\nkeyUsage=keyCertSign\\nsubjectKeyIdentifier=hash\\nauthorityKeyIdentifier=keyid\\n' > ext
        openssl req -new -key ca.key -subj /CN=Intermediate -out ca.csr
        openssl x509 -req -in ca.csr -CA root.crt -CAkey root.key -CAcreateserial -days 1000 -extfile ext -out ca.crt\n"
    )
}

#[test]
fn an_intermediate_with_its_root_works_in_either_order() {
    for order in ["ca.crt root.crt", "root.crt ca.crt"] {
        let script = chain("CA:TRUE", "CA:TRUE,pathlen:0") + &format!("cat {order} > both; mv both ca.crt");
        let controller = Controller::with_own_authority(&script);
        let pki = controller.load().unwrap();
        pki.persist().unwrap();
        controller.verify_loosely(&pki);
        assert_eq!(pki.ca_pem().matches("BEGIN CERTIFICATE").count(), 2);
        assert!(pki.ca_not_after() < controller.now + Duration::days(1001));
        let text = controller.text("node01-peer.pem");
        assert!(text.contains("Issuer: CN = Intermediate\n"), "{text}");
        assert_eq!(controller.run(), [""; 0]);
    }
}

#[test]
fn wrong_authorities_of_the_users_own_are_refused() {
    let key = "openssl ecparam -name prime256v1 -genkey -noout -out ca.key";
    let good = format!("{key}; {SELF_SIGNED}; ");
    let with = |extension: &str| {
        format!("{key}; openssl req -x509 -new -key ca.key -subj /CN=x -days 3650 -addext {extension} -out ca.crt")
    };
    let dated = |from: &str, to: &str| {
        format!(
            "{key}; openssl req -new -key ca.key -subj /CN=x -out ca.csr
            printf '[ca]\\ndefault_ca=a\\n[a]\\ndatabase=index\\nserial=serial\\nnew_certs_dir=.\\ndefault_md=sha256\\npolicy=p\\nx509_extensions=e\\n[p]\\ncommonName=supplied\\n[e]\\nbasicConstraints=critical,CA:TRUE\\n' > cnf
            : > index; echo 01 > serial
            openssl ca -batch -config cnf -selfsign -keyfile ca.key -in ca.csr -startdate {from}Z -enddate {to}Z -notext -out ca.crt"
        )
    };
    let root_appended = "cat root.crt >> ca.crt";
    let cases = [
        (
            "another's key",
            format!("{good} openssl ecparam -name prime256v1 -genkey -noout -out ca.key"),
            "does not belong to CA certificate",
        ),
        (
            "expired",
            dated("20200101000000", "20210101000000"),
            "has expired: `CN=x` was valid until 2021-01-01 00:00 UTC",
        ),
        (
            "not yet valid",
            dated("20990101000000", "21000101000000"),
            "is not valid yet: `CN=x` is valid from 2099-01-01 00:00 UTC",
        ),
        ("no CA", with("basicConstraints=critical,CA:FALSE"), "lacks the basic constraint CA:TRUE"),
        ("no keyCertSign", with("keyUsage=digitalSignature"), "lacks the key usage keyCertSign"),
        ("servers only", with("extendedKeyUsage=serverAuth"), "lacks serverAuth or clientAuth"),
        ("name constraints", with("nameConstraints=critical,permitted\\;DNS:example.com"), "would not verify"),
        (
            "encrypted SEC1",
            format!("{good} openssl ec -in ca.key -aes256 -passout pass:x -out k; mv k ca.key"),
            "is encrypted",
        ),
        (
            "P-521",
            format!("openssl ecparam -name secp521r1 -genkey -noout -out ca.key; {SELF_SIGNED}"),
            "is of a kind that cannot be used",
        ),
        ("RSA 1024", format!("openssl genrsa -out ca.key 1024; {SELF_SIGNED}"), "is of a kind that cannot be used"),
        ("no key", format!("{good} cp ca.crt ca.key"), "holds no private key in PEM form"),
        ("no certificate", format!("{good} cp ca.key ca.crt"), "holds no certificate in PEM form"),
        ("empty", format!("{good} : > ca.crt"), "holds no certificate in PEM form"),
        ("cut off", format!("{good} head -c 300 ca.crt > c; mv c ca.crt"), "is damaged: its PEM text is cut off"),
        ("missing", format!("{good} rm ca.key"), "failed to read"),
        ("no root", chain("CA:TRUE", "CA:TRUE"), "`CN=Intermediate` was issued by `CN=Root`, which is not in the file"),
        (
            "path length",
            chain("CA:TRUE,pathlen:0", "CA:TRUE") + root_appended,
            "the path length of `CN=Root` allows no CA",
        ),
        (
            "another root of the same name",
            chain("CA:TRUE", "CA:TRUE")
                + "openssl ecparam -name prime256v1 -genkey -noout -out root.key
                openssl req -x509 -new -key root.key -subj /CN=Root -days 3650 -out root.crt
                cat root.crt >> ca.crt",
            "the signature on `CN=Intermediate` is not by the key of `CN=Root`",
        ),
        (
            "flipped bit",
            format!(
                "{good} openssl x509 -in ca.crt -outform DER -out d
                last=$(tail -c1 d | od -An -tu1)
                printf \"\\\\$(printf %o $((last ^ 1)))\" | dd of=d bs=1 seek=$(($(wc -c < d) - 1)) conv=notrunc 2>&1
                openssl x509 -inform DER -in d -out ca.crt"
            ),
            "the signature on",
        ),
    ];
    for (case, script, wanted) in cases {
        let controller = Controller::with_own_authority(&script);
        let error = controller.refusal();
        let text = error.to_string();
        assert!(text.contains(wanted), "{case}: {text}");
        assert_eq!(error.exit(), ExitStatus::Usage, "{case}");
        assert!(!controller.settings.dir.exists(), "{case}");
        let rendered = Error::from(error).render();
        assert!(rendered.contains("ca.crt") || rendered.contains("ca.key"), "{case}: {rendered}");
        let key = fs::read_to_string(controller.home.path().join("ca.key")).unwrap_or_default();
        for secret in key.lines().filter(|line| line.len() > 30 && !line.starts_with('-')) {
            assert!(!rendered.contains(secret), "{case}: {rendered}");
        }
    }
    let mut controller = Controller::new();
    controller.settings.ca_cert = Some("x".into());
    assert_eq!(controller.refusal().to_string(), "`pki.ca_cert` is given without `pki.ca_key`");
}

#[test]
fn name_constraints_that_permit_the_names_are_no_obstacle() {
    let controller = Controller::with_own_authority(
        "openssl ecparam -name prime256v1 -genkey -noout -out ca.key
        openssl req -x509 -new -key ca.key -subj /CN=x -days 3650 -out ca.crt -addext \
          'nameConstraints=critical,permitted;DNS:example,permitted;DNS:localhost,permitted;IP:10.19.0.0/255.255.0.0,permitted;IP:127.0.0.0/255.0.0.0,permitted;IP:0:0:0:0:0:0:0:0/FFFF:0:0:0:0:0:0:0'",
    );
    let pki = controller.load().unwrap();
    pki.persist().unwrap();
    controller.verify_loosely(&pki);
}

#[test]
fn another_authority_issues_all_leaves_anew() {
    let mut controller = Controller::new();
    controller.run();
    controller.sh(&format!("openssl ecparam -name prime256v1 -genkey -noout -out ca.key; {SELF_SIGNED}"));
    controller.settings.ca_cert = Some(controller.home.path().join("ca.crt"));
    controller.settings.ca_key = Some(controller.home.path().join("ca.key"));
    controller.now = OffsetDateTime::now_utc();
    let pki = controller.load().unwrap();
    assert_eq!(issued(&pki), all_leaves());
    assert_eq!(changes(&pki)[0], "issue admin certificate: another CA issued it");
    pki.persist().unwrap();
    controller.verify(&pki);
    assert_eq!(controller.run(), [""; 0]);

    // A CA of the same name with another key is another CA.
    controller.sh(&format!("openssl ecparam -name prime256v1 -genkey -noout -out ca.key; {SELF_SIGNED}"));
    controller.now = OffsetDateTime::now_utc();
    assert_eq!(issued(&controller.load().unwrap()), all_leaves());
}
