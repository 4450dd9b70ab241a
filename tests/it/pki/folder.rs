//! The folder through second runs, kills, losses and other runs.

use super::{Controller, all_leaves, changes, issued, peer, server};
use etcd_ha::error::{ExitStatus, Explain as _};
use etcd_ha::pki::{Kind, show};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

#[test]
fn a_second_run_changes_nothing() {
    let controller = Controller::new();
    controller.run();
    let before = controller.files();
    let pki = controller.load().unwrap();
    assert_eq!(changes(&pki), [""; 0]);
    assert_eq!(pki.warnings(), [""; 0]);
    pki.persist().unwrap();
    assert_eq!(controller.files(), before);
    assert_eq!(before.len(), 2 + 2 + 3 * 4 + 1, "{:?}", before.keys());
}

#[test]
fn persisting_twice_is_harmless() {
    let controller = Controller::new();
    let pki = controller.load().unwrap();
    pki.persist().unwrap();
    let before = controller.files();
    pki.persist().unwrap();
    assert_eq!(controller.files(), before);
}

#[test]
fn keys_and_folder_are_their_owners() {
    let controller = Controller::new();
    controller.run();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&controller.settings.dir), 0o700);
    for name in controller.files().keys().filter(|name| name.ends_with("-key.pem")) {
        assert_eq!(mode(&controller.path(name)), 0o600, "{name}");
    }
    assert_eq!(fs::read_to_string(controller.path(".gitignore")).unwrap(), "*\n");

    // What others opened is closed again, and said.
    fs::set_permissions(&controller.settings.dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(controller.path("ca-key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let said = controller.run();
    assert_eq!(
        said,
        [
            format!("restrict `{}` to its owner: its mode is 0755", controller.settings.dir.display()),
            format!("restrict `{}` to its owner: its mode is 0640", controller.path("ca-key.pem").display()),
        ]
    );
    assert_eq!(mode(&controller.settings.dir), 0o700);
    assert_eq!(mode(&controller.path("ca-key.pem")), 0o600);
    assert_eq!(controller.run(), [""; 0]);
}

#[test]
fn a_lost_or_torn_leaf_is_issued_anew() {
    type Damage = fn(&Controller);
    let cases: &[(&str, Damage, &[Kind])] = &[
        ("no certificate", |c| fs::remove_file(c.path("node02-peer.pem")).unwrap(), &[peer(2)]),
        ("no key", |c| fs::remove_file(c.path("node02-peer-key.pem")).unwrap(), &[peer(2)]),
        ("empty certificate", |c| fs::write(c.path("admin.pem"), "").unwrap(), &[Kind::Admin]),
        ("empty key", |c| fs::write(c.path("admin-key.pem"), "").unwrap(), &[Kind::Admin]),
        (
            "half a certificate",
            |c| {
                let text = fs::read_to_string(c.path("node01-server.pem")).unwrap();
                fs::write(c.path("node01-server.pem"), &text[..text.len() / 2]).unwrap();
            },
            &[server(1)],
        ),
        ("binary", |c| fs::write(c.path("node01-server-key.pem"), [0xff; 300]).unwrap(), &[server(1)]),
        (
            "new key, old certificate: killed between the two",
            |c| {
                fs::copy(c.path("node03-server-key.pem"), c.path("node03-peer-key.pem")).unwrap();
            },
            &[peer(3)],
        ),
        (
            "another member's",
            |c| {
                fs::copy(c.path("node03-server.pem"), c.path("node01-server.pem")).unwrap();
                fs::copy(c.path("node03-server-key.pem"), c.path("node01-server-key.pem")).unwrap();
            },
            &[server(1)],
        ),
        (
            "the administrator's in place of a peer's",
            |c| {
                fs::copy(c.path("admin.pem"), c.path("node01-peer.pem")).unwrap();
                fs::copy(c.path("admin-key.pem"), c.path("node01-peer-key.pem")).unwrap();
            },
            &[peer(1)],
        ),
        (
            "left half written",
            |c| {
                fs::write(c.path(".node01-peer-key.pem.new"), "half").unwrap();
                fs::remove_file(c.path("node01-peer-key.pem")).unwrap();
            },
            &[peer(1)],
        ),
        ("all leaves", |c| c.sh("rm prod.pki/node* prod.pki/admin*").clear(), &all_leaves()),
    ];
    let controller = Controller::new();
    controller.run();
    for (case, damage, wanted) in cases {
        damage(&controller);
        let pki = controller.load().unwrap();
        assert_eq!(issued(&pki), *wanted, "{case}");
        pki.persist().unwrap();
        assert_eq!(controller.run(), [""; 0], "{case}");
        assert!(controller.files().keys().all(|name| !name.ends_with(".new")), "{case}");
    }
    controller.verify(&controller.load().unwrap());
}

/// Whatever the writes were of which a kill left the first few, the next run finishes the job.
#[test]
fn a_first_run_killed_anywhere_is_finished_by_the_next() {
    let model = Controller::new();
    model.run();
    let files = model.files();
    let mut order = vec![".gitignore".to_owned(), "ca-key.pem".to_owned(), "ca.pem".to_owned()];
    for stem in
        ["admin", "node01-server", "node01-peer", "node02-server", "node02-peer", "node03-server", "node03-peer"]
    {
        order.push(format!("{stem}-key.pem"));
        order.push(format!("{stem}.pem"));
    }
    assert_eq!(order.iter().collect::<BTreeSet<_>>(), files.keys().collect::<BTreeSet<_>>());
    for written in 0..=order.len() {
        let controller = Controller::new();
        fs::create_dir(&controller.settings.dir).unwrap();
        fs::set_permissions(&controller.settings.dir, fs::Permissions::from_mode(0o700)).unwrap();
        for name in &order[..written] {
            fs::write(controller.path(name), &files[name]).unwrap();
            fs::set_permissions(controller.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let pki = controller.load().unwrap_or_else(|e| panic!("after {written}: {e}"));
        pki.persist().unwrap();
        let after = controller.files();
        assert_eq!(after.len(), files.len());
        for name in &order[..written] {
            // Only a key whose certificate was not written yet is made anew, and never the CA's.
            let is_orphan = written == order.iter().position(|other| other == name).unwrap() + 1
                && name.ends_with("-key.pem")
                && name != "ca-key.pem";
            assert_eq!(after[name] != files[name], is_orphan, "after {written}: {name}");
        }
        assert_eq!(controller.run(), [""; 0], "after {written}");
    }
}

#[test]
fn a_lost_authority_is_never_replaced() {
    type Damage = fn(&Controller);
    let cases: &[(&str, Damage, &str)] = &[
        ("key gone", |c| c.sh("rm prod.pki/ca-key.pem").clear(), "ca-key.pem` is missing while `"),
        (
            "key gone, no leaves",
            |c| c.sh("rm prod.pki/ca-key.pem prod.pki/node* prod.pki/admin*").clear(),
            "ca-key.pem` is missing while `",
        ),
        ("certificate gone", |c| c.sh("rm prod.pki/ca.pem").clear(), "ca.pem` is missing while `"),
        ("both gone", |c| c.sh("rm prod.pki/ca*").clear(), "ca-key.pem` is missing while `"),
        ("key emptied", |c| c.sh(": > prod.pki/ca-key.pem").clear(), "ca-key.pem` holds no private key"),
        ("certificate emptied", |c| c.sh(": > prod.pki/ca.pem").clear(), "ca.pem` holds no certificate"),
        (
            "key cut",
            |c| c.sh("head -c 100 prod.pki/ca-key.pem > t; cat t > prod.pki/ca-key.pem").clear(),
            "ca-key.pem` is damaged",
        ),
        (
            "another's key",
            |c| c.sh("cat prod.pki/admin-key.pem > prod.pki/ca-key.pem").clear(),
            "does not belong to CA certificate",
        ),
    ];
    for (case, damage, wanted) in cases {
        let controller = Controller::new();
        controller.run();
        damage(&controller);
        let before = controller.files();
        let error = controller.refusal();
        assert!(error.to_string().contains(wanted), "{case}: {error}");
        assert_eq!(error.exit(), ExitStatus::Refused, "{case}");
        assert!(error.hint().is_some(), "{case}");
        assert_eq!(controller.files(), before, "{case}");
        // `certs show` still shows what there is, and says what is wrong.
        let shown = show(&controller.settings, controller.now).unwrap();
        assert_eq!(shown[0].kind, Some(Kind::Authority), "{case}");
        assert!(shown[0].problems[0].contains(wanted), "{case}: {shown:?}");
    }
}

#[test]
fn two_first_runs_at_once_make_one_authority() {
    let controller = Controller::new();
    let (first, second) = (controller.load().unwrap(), controller.load().unwrap());
    first.persist().unwrap();
    let before = controller.files();
    let error = second.persist().unwrap_err();
    assert!(error.to_string().contains("was made by another run"), "{error}");
    assert_eq!(error.exit(), ExitStatus::Locked);
    assert_eq!(controller.files(), before);
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_it() {
    let mut controller = Controller::new();
    fs::write(controller.home.path().join("file"), "").unwrap();
    controller.settings.dir = controller.home.path().join("file/pki");
    let error = match controller.load() {
        Ok(pki) => pki.persist().unwrap_err(),
        Err(error) => error,
    };
    assert!(error.to_string().contains("file/pki`"), "{error}");
    assert_eq!(error.exit(), ExitStatus::Failed);
}
