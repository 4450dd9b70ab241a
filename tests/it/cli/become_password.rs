//! Where the password for sudo and doas comes from, and that it is in order before anything begins.

use super::{Desk, said};

#[test]
fn there_is_one_way_to_give_it() {
    let desk = Desk::with_inventory();
    for flags in [
        "--ask-become-pass --become-pass-fd 3",
        "--become-pass-fd 3 --become-pass-command true",
        "--ask-become-pass --become-pass-command true",
    ] {
        for command in ["deploy", "plan", "upgrade --to 3.5.33", "rollback", "restart", "stop", "start", "health"] {
            let ended = desk.run(&format!("{command} {flags} -i prod.yaml"));
            assert_eq!(ended.status, 2, "{ended:?}");
            assert!(ended.stderr.contains("cannot be used with"), "{ended:?}");
        }
    }
    assert_eq!(desk.logs().len(), 0);
}

#[test]
fn without_one_nothing_begins() {
    let desk = Desk::with_inventory();
    desk.write("empty", "\nsecond line\n");
    for (flags, words) in [
        (
            "--ask-become-pass",
            "error: `--ask-become-pass` asks on the terminal, and there is none\n\nhint: say `--become-pass-command` or \
             `--become-pass-fd` where nobody is there to type it\n",
        ),
        (
            "--become-pass-fd 7",
            "error: cannot read what `--become-pass-fd 7` is to hand over\n  caused by: No such file or directory (os error 2)\n",
        ),
        ("--become-pass-command false", "error: the command of `--become-pass-command` failed: exit status: 1\n"),
        ("--become-pass-command cat<empty", "error: nothing came from `--become-pass-command`\n"),
    ] {
        for command in ["deploy", "health"] {
            assert_eq!(desk.run(&format!("{command} {flags} -i prod.yaml")), said(2, "", words), "{command} {flags}");
        }
    }
    assert_eq!((desk.names(), desk.logs().len()), (vec!["empty".to_owned(), "prod.yaml".to_owned()], 0));
}

#[test]
fn with_one_it_goes_on() {
    let desk = Desk::with_inventory();
    desk.write("secret", "hunter2\n");
    let ended = desk.run("deploy -v -i prod.yaml --become-pass-command cat<secret");
    assert_eq!(ended.status, 1);
    let [log] = &desk.logs()[..] else { panic!("{:?}", desk.logs()) };
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!format!("{ended:?}{log}").contains("hunter2"), "{ended:?}");
}
