//! A CA whose key is encrypted: opened only where something is to be issued.

use super::given::chain;
use super::{Controller, HOUR, all_leaves, changes, issued};
use etcd_ha::error::{Error, ExitStatus, Explain as _};
use etcd_ha::pki::{AuthorityKey, Passphrase, Pki, PkiError, show};
use std::os::unix::fs::PermissionsExt as _;
use time::Duration;
use zeroize::Zeroizing;

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
}

impl Controller {
    fn open(&self, text: &str) -> Result<Pki, PkiError> {
        Pki::open(&self.settings, "prod", &self.members, &passphrase(text), self.now)
    }

    /// Issues and writes what is to be issued.
    fn run_with(&self, text: &str) -> Vec<String> {
        let pki = self.open(text).unwrap();
        pki.persist().unwrap();
        changes(&pki)
    }

    fn encrypt(&self, old: Option<&str>, new: Option<&str>) -> Result<(), PkiError> {
        let (old, new) = (old.map(passphrase), new.map(passphrase));
        AuthorityKey::find(&self.settings)?.rewrite(old.as_ref(), new.as_ref())
    }
}

#[test]
fn a_new_ca_is_encrypted_if_the_inventory_says_so() {
    let mut controller = Controller::new();
    controller.settings.encrypt_ca_key = true;
    let pki = controller.load().unwrap();
    let occasion = pki.occasion().unwrap();
    assert_eq!((&occasion.key, occasion.new), (&controller.path("ca-key.pem"), true));
    assert_eq!(issued(&pki).len(), 8);
    // Without a passphrase nothing is written.
    let refused = pki.persist().unwrap_err();
    assert_eq!(refused.exit(), ExitStatus::Usage);
    assert!(Error::from(refused).line().ends_with("ca-key.pem` is to be encrypted, and there is no passphrase for it"));
    assert!(!controller.settings.dir.exists());

    let pki = controller.open("sesame open").unwrap();
    assert_eq!(pki.occasion(), None);
    pki.persist().unwrap();
    controller.verify(&pki);
    let text = controller.sh("cat prod.pki/ca-key.pem");
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n") && !text.contains("BEGIN PRIVATE"), "{text}");
    let mode = controller.path("ca-key.pem").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);

    // Nothing is left to issue: no passphrase is wanted, nothing is warned of, and a leaf is as good as ever.
    let pki = controller.load().unwrap();
    assert_eq!((changes(&pki), pki.occasion(), pki.warnings()), (Vec::new(), None, &[][..]));
    pki.persist().unwrap();
    controller.verify(&pki);
    let shown = show(&controller.settings, controller.now).unwrap();
    assert!(shown.len() == 8 && shown.iter().all(|info| info.problems.is_empty()), "{shown:?}");

    // OpenSSL takes it for what it is, and for the CA's.
    let public = controller.sh("openssl pkey -in prod.pki/ca-key.pem -passin 'pass:sesame open' -pubout");
    assert_eq!(public, controller.sh("openssl x509 -in prod.pki/ca.pem -noout -pubkey"));
    assert!(!controller.try_sh("openssl pkey -in prod.pki/ca-key.pem -passin pass:other -noout").0);
    let parameters = controller.sh("openssl asn1parse -in prod.pki/ca-key.pem");
    for words in ["PBES2", "scrypt", "aes-256-cbc"] {
        assert!(parameters.contains(words), "{parameters}");
    }
}

#[test]
fn what_is_to_be_issued_is_told_and_takes_the_passphrase() {
    let mut controller = Controller::new();
    controller.settings.leaf_lifetime = std::time::Duration::from_secs(1000 * HOUR);
    controller.run();
    controller.encrypt(None, Some("p")).unwrap();
    let before = controller.files();
    controller.members[1].names.push("node02.new".to_owned());
    let pki = controller.load().unwrap();
    let peer = "issue peer certificate of node02: names differ (+node02.new)";
    let server = "issue server certificate of node02: names differ (+node02.new)";
    assert_eq!(changes(&pki), [server, peer]);
    assert!(pki.occasion().is_some_and(|occasion| !occasion.new));
    // What is not to be issued is there; what is, is not there yet.
    assert!(pki.admin().certificate.starts_with("-----BEGIN") && pki.admin().key.expose().len() > 100);
    let member = pki.member("node02").unwrap();
    assert_eq!((&*member.peer.certificate, member.peer.key.expose()), ("", ""));
    assert!(pki.member("node01").unwrap().peer.certificate.starts_with("-----BEGIN"));
    let refused = pki.persist().unwrap_err();
    assert!(matches!(refused, PkiError::Sealed { new: false, .. }), "{refused}");
    let wrong = controller.open("q").unwrap_err();
    assert!(wrong.is_wrong_passphrase() && wrong.exit() == ExitStatus::Usage);
    assert_eq!(
        wrong.to_string(),
        format!("the passphrase of CA key `{}` is wrong", controller.path("ca-key.pem").display())
    );
    assert_eq!(controller.files(), before);

    assert_eq!(controller.run_with("p"), [server, peer]);
    let pki = controller.load().unwrap();
    controller.verify(&pki);
    assert_eq!(controller.run(), [""; 0]);

    // Near its end the admin's is still what members are asked with.
    controller.now += Duration::days(35);
    let pki = controller.load().unwrap();
    assert!(pki.admin().certificate.starts_with("-----BEGIN") && pki.occasion().is_some());
}

#[test]
fn a_run_that_was_killed_after_the_key_goes_on_with_it() {
    let mut controller = Controller::new();
    controller.settings.encrypt_ca_key = true;
    controller.run_with("p");
    controller.sh("cd prod.pki; mkdir keep; mv ca-key.pem keep; rm *.pem; mv keep/ca-key.pem .; rmdir keep");
    let key = controller.sh("cat prod.pki/ca-key.pem");
    let pki = controller.load().unwrap();
    assert!(pki.occasion().is_some_and(|occasion| !occasion.new) && issued(&pki).len() == 8);
    assert!(controller.open("q").unwrap_err().is_wrong_passphrase());
    controller.run_with("p");
    assert_eq!(controller.sh("cat prod.pki/ca-key.pem"), key);
    controller.verify(&controller.load().unwrap());
    let public = controller.sh("openssl pkey -in prod.pki/ca-key.pem -passin pass:p -pubout");
    assert_eq!(public, controller.sh("openssl x509 -in prod.pki/ca.pem -noout -pubkey"));
}

#[test]
fn a_key_is_encrypted_encrypted_anew_and_decrypted() {
    let controller = Controller::new();
    assert!(matches!(controller.encrypt(None, Some("a")), Err(PkiError::NoAuthority { .. })));
    controller.run();
    let plain = controller.sh("cat prod.pki/ca-key.pem");
    let others = |controller: &Controller| {
        let mut files = controller.files();
        files.remove("ca-key.pem");
        files
    };
    let before = others(&controller);
    controller.sh("echo half >prod.pki/.ca-key.pem.new; chmod 644 prod.pki/ca-key.pem");
    controller.encrypt(None, Some("a")).unwrap();
    assert!(matches!(controller.encrypt(None, Some("b")), Err(PkiError::Sealed { .. })));
    assert!(controller.encrypt(Some("b"), Some("c")).unwrap_err().is_wrong_passphrase());
    controller.encrypt(Some("a"), Some("ü b")).unwrap();
    controller.sh("openssl pkey -in prod.pki/ca-key.pem -passin 'pass:ü b' -noout");
    assert!(!controller.try_sh("openssl pkey -in prod.pki/ca-key.pem -passin pass:a -noout").0);
    let mode = controller.path("ca-key.pem").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    controller.encrypt(Some("ü b"), None).unwrap();
    assert_eq!(controller.sh("cat prod.pki/ca-key.pem"), plain);
    // What a killed run left is gone, and nothing else is touched.
    assert_eq!(others(&controller), before);
    assert!(Passphrase::new(Zeroizing::default()).is_none());

    // A key that is not the CA's is left alone.
    controller.sh("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out prod.pki/ca-key.pem");
    let before = controller.files();
    assert!(matches!(controller.encrypt(None, Some("a")), Err(PkiError::AuthorityMismatch { .. })));
    assert_eq!(controller.files(), before);
}

#[test]
fn the_inventory_s_wish_is_remembered_where_the_key_is_plain() {
    let mut controller = Controller::new();
    controller.run();
    controller.settings.encrypt_ca_key = true;
    let pki = controller.load().unwrap();
    let path = controller.path("ca-key.pem");
    let warning = format!(
        "`pki.encrypt_ca_key` is set, but the CA key `{}` is not encrypted: `etcd-ha certs encrypt-ca` does that",
        path.display()
    );
    assert_eq!((pki.warnings(), changes(&pki).len()), (&[warning][..], 0));
}

const AUTHORITY: &str = "openssl req -x509 -new -key plain.key -subj '/O=Corp/CN=Corp CA' -days 3650 -out ca.crt";

#[test]
fn encrypted_authorities_of_the_users_own_work_as_tools_write_them() {
    let ec = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out plain.key";
    let rsa = "openssl genrsa -out plain.key 2048";
    let p8 = "openssl pkcs8 -topk8 -in plain.key -passout pass:x -out ca.key";
    for (case, make, encrypt) in [
        ("openssl's default", ec, p8.to_owned()),
        ("pkey", ec, "openssl pkey -in plain.key -aes256 -passout pass:x -out ca.key".to_owned()),
        ("AES-128", rsa, format!("{p8} -v2 aes-128-cbc")),
        ("SHA-512", rsa, format!("{p8} -v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 100000")),
        ("scrypt", rsa, format!("{p8} -scrypt")),
        ("Ed25519", "openssl genpkey -algorithm ED25519 -out plain.key", p8.to_owned()),
        ("in one file", ec, format!("{p8}; cat ca.key >>ca.crt; cp ca.crt ca.key")),
    ] {
        let mut controller =
            Controller::with_own_authority(&format!("{make}; {AUTHORITY}; {encrypt}; chmod 600 ca.key"));
        controller.members.truncate(1);
        assert!(controller.load().unwrap().occasion().is_some_and(|occasion| !occasion.new), "{case}");
        assert!(controller.open("y").unwrap_err().is_wrong_passphrase(), "{case}");
        let pki = controller.open("x").unwrap_or_else(|error| panic!("{case}: {}", Error::from(error).line()));
        pki.persist().unwrap();
        controller.verify_loosely(&pki);
        assert_eq!(controller.run(), [""; 0], "{case}");
        assert!(matches!(controller.encrypt(None, Some("z")), Err(PkiError::NotOurs { .. })), "{case}");
    }
}

#[test]
fn an_encrypted_intermediate_is_told_from_its_root() {
    // The root stands first, and only what was issued says which of the two issues.
    let script = chain("CA:TRUE", "CA:TRUE,pathlen:0")
        + "cat root.crt ca.crt >both; mv both ca.crt; openssl pkcs8 -topk8 -in ca.key -passout pass:x -out k; mv k ca.key";
    let controller = Controller::with_own_authority(&script);
    assert_eq!(controller.run_with("x").len(), all_leaves().len());
    let pki = controller.load().unwrap();
    assert_eq!((changes(&pki), pki.occasion()), (Vec::new(), None));
    controller.verify_loosely(&pki);
}

#[test]
fn keys_that_no_passphrase_opens() {
    let ec = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out plain.key";
    let p8 = "openssl pkcs8 -topk8 -in plain.key -passout pass:x -out ca.key";
    let refused = |encrypt: &str| {
        let controller = Controller::with_own_authority(&format!("{ec}; {AUTHORITY}; {encrypt}"));
        let refused = controller.open("x").unwrap_err();
        assert_eq!(refused.exit(), ExitStatus::Usage, "{encrypt}");
        (refused.to_string(), refused.hint().unwrap())
    };
    for encrypt in [
        format!("{p8} -v2 des3"),
        format!("{p8} -v1 PBE-SHA1-3DES"),
        format!("{p8} -v2 aes-256-cbc -v2prf hmacWithSHA1"),
    ] {
        let (words, hint) = refused(&encrypt);
        assert!(words.contains("is of a kind that cannot be used (in a `ENCRYPTED PRIVATE KEY` block)"), "{words}");
        assert!(hint.contains("openssl pkcs8 -topk8"), "{hint}");
    }
    let (words, hint) = refused("openssl ec -in plain.key -aes256 -passout pass:x -out ca.key");
    assert!(words.ends_with("ca.key` is encrypted"), "{words}");
    assert!(hint.contains("`openssl pkcs8 -topk8 -in ") && hint.contains("asks for both passphrases"), "{hint}");
    let (words, _) = refused(&format!("{p8}; sed -i 3d ca.key"));
    assert!(words.ends_with("is damaged: its `ENCRYPTED PRIVATE KEY` block cannot be read"), "{words}");
}
