//! The CA's key under a passphrase: encrypted, decrypted, and opened where something is issued.

use super::{Desk, json, said};
use std::process::Command;

const ENCRYPTED: &str = "prod.pki/ca-key.pem: encrypted; copies of before, in backups say, are not\n";
const SEALED: &str = "error: CA key `prod.pki/ca-key.pem` is encrypted, and there is no passphrase for it\n\n\
     hint: it is asked for on a terminal; elsewhere say `--ca-pass-command` or `--ca-pass-fd`\n";
const WRONG: &str = "error: the passphrase of CA key `prod.pki/ca-key.pem` is wrong\n";

/// A desk with a CA whose key is encrypted, and files with passphrases.
fn encrypted() -> Desk {
    let desk = Desk::with_inventory();
    desk.make_certificates();
    desk.write("right", "c0rrect horse\nmore\n");
    desk.write("wrong", "battery\n");
    desk.write("empty", "\nmore\n");
    assert_eq!(desk.run("certs encrypt-ca -i prod.yaml --new-ca-pass-command cat<right"), said(0, "", ENCRYPTED));
    desk
}

/// Whether OpenSSL reads the key with this passphrase.
fn openssl_opens(desk: &Desk, passphrase: &str) -> bool {
    let mut command = Command::new("openssl");
    command.args(["pkey", "-in", "prod.pki/ca-key.pem", "-noout", "-passin", &format!("pass:{passphrase}")]);
    command.current_dir(desk.path("")).output().unwrap().status.success()
}

#[test]
fn it_is_encrypted_encrypted_anew_and_decrypted() {
    let desk = encrypted();
    assert!(desk.read("prod.pki/ca-key.pem").starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    assert!(openssl_opens(&desk, "c0rrect horse") && !openssl_opens(&desk, "battery"));
    let to_wrong = "certs encrypt-ca -i prod.yaml --new-ca-pass-command cat<wrong --ca-pass-command";
    assert_eq!(desk.run(&format!("{to_wrong} cat<wrong")), said(2, "", WRONG));
    let anew = "prod.pki/ca-key.pem: encrypted under the new passphrase; older copies have the old one\n";
    assert_eq!(desk.run(&format!("{to_wrong} cat<right")), said(0, "", anew));
    assert!(openssl_opens(&desk, "battery") && !openssl_opens(&desk, "c0rrect horse"));
    let decrypt = "-o json certs decrypt-ca -i prod.yaml --ca-pass-command cat<wrong";
    let ended = desk.run(decrypt);
    assert_eq!((ended.status, &*ended.stderr), (0, ""));
    let line = &json(&ended.stdout)[0];
    assert_eq!((&line["key"], &line["encrypted"]), (&"prod.pki/ca-key.pem".into(), &false.into()));
    assert!(desk.read("prod.pki/ca-key.pem").starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let nothing = "prod.pki/ca-key.pem: not encrypted, nothing to do\n";
    assert_eq!(desk.run("certs decrypt-ca -i prod.yaml"), said(0, "", nothing));
}

#[test]
fn without_a_passphrase_it_stays_as_it_is() {
    let desk = encrypted();
    let before = desk.read("prod.pki/ca-key.pem");
    for (words, stderr) in [
        ("decrypt-ca", SEALED),
        ("encrypt-ca", SEALED),
        ("decrypt-ca --ca-pass-command cat<wrong", WRONG),
        (
            "encrypt-ca --ca-pass-command cat<right",
            "error: there is no new passphrase for CA key `prod.pki/ca-key.pem`\n\n\
             hint: nothing was changed; it is asked for twice on a terminal, elsewhere say `--new-ca-pass-command` or \
             `--new-ca-pass-fd`\n",
        ),
        ("decrypt-ca --ca-pass-command cat<empty", "error: nothing came from `--ca-pass-command`\n"),
        ("decrypt-ca --ca-pass-command false", "error: the command of `--ca-pass-command` failed: exit status: 1\n"),
        (
            "encrypt-ca --ca-pass-command cat<right --new-ca-pass-command cat<empty",
            "error: nothing came from `--new-ca-pass-command`\n",
        ),
        (
            "decrypt-ca --ca-pass-fd 7",
            "error: cannot read what `--ca-pass-fd 7` is to hand over\n  caused by: No such file or directory (os error 2)\n",
        ),
    ] {
        assert_eq!(desk.run(&format!("certs {words} -i prod.yaml")), said(2, "", stderr), "{words}");
    }
    assert_eq!(desk.read("prod.pki/ca-key.pem"), before);
    assert_eq!(
        Desk::with_inventory().run("certs encrypt-ca -i prod.yaml").stderr.lines().next(),
        Some("error: there are no usable certificates in `prod.pki`")
    );
}

#[test]
fn only_what_is_issued_takes_the_passphrase() {
    let desk = encrypted();
    let issue = "certs issue -i prod.yaml --client --name app1";
    assert_eq!(desk.run(issue), said(2, "", SEALED));
    assert_eq!(desk.run(&format!("{issue} --ca-pass-command cat<wrong")), said(2, "", WRONG));
    assert!(!desk.path("prod.pki/clients").exists());
    let ended = desk.run(&format!("{issue} --ca-pass-command cat<right"));
    assert!(ended.status == 0 && ended.stderr.contains("wrote prod.pki/clients/app1.pem and "), "{ended:?}");
    // That there is one already is said before a passphrase is asked for.
    let ended = desk.run(issue);
    assert!(ended.stderr.starts_with("error: there is a client certificate `app1` already"), "{ended:?}");
    for words in ["certs export --name app1 --to -", "certs show", "env", "plan --ca-pass-fd 9", "health"] {
        let ended = desk.run(&format!("{words} -i prod.yaml"));
        assert!(!format!("{ended:?}").contains("passphrase"), "{words}: {ended:?}");
    }
    // The user's own is the user's.
    desk.write(
        "own.yaml",
        &desk.read("prod.yaml").replace("hosts:", "pki: { ca_cert: ca.pem, ca_key: ca.key }\nhosts:"),
    );
    let own = "error: CA key `ca.key` was not made here\n\n\
               hint: `openssl pkcs8 -topk8 -in ca.key -out NEW` writes it encrypted, as it is understood here\n";
    assert_eq!(desk.run("certs encrypt-ca -i own.yaml"), said(2, "", own));
}
