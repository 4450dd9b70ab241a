//! `ctl` and `proxy` where nothing comes of them.

use super::{Desk, said};
use std::net::TcpListener;

#[test]
fn ctl_says_what_it_lacks() {
    let desk = Desk::with_inventory();
    let certificates = "error: there are no usable certificates in `prod.pki`\n\n\
         hint: `etcd-ha deploy` makes them; on another controller, copy the PKI folder from the one that deployed\n";
    assert_eq!(desk.run("ctl -i prod.yaml -- get x"), said(1, "", certificates));
    desk.make_certificates();
    let refused = |n: u8| format!("host `node0{n}`: `127.0.0.1:{n}` refused the connection");
    let hint = |n: u8| format!("\nhint: check that sshd runs there and listens on port {n}\n");
    let nowhere = "error: there is no host to run etcdctl on\n";
    for (line, status, want) in [
        (
            "ctl -i prod.yaml -- get x --endpoints https://a:1",
            1,
            format!("{nowhere}    {}\n    {}\n    {}\n{}", refused(1), refused(2), refused(3), hint(1)),
        ),
        ("ctl -i prod.yaml --on node02 -- get x", 1, format!("{nowhere}    {}\n{}", refused(2), hint(2))),
        (
            "ctl -i prod.yaml --on node07 -- get x",
            2,
            "error: there is no host `node07` in the inventory\n\nhint: did you mean `node01`?\n".to_owned(),
        ),
        // Found out on the host it would be too late.
        (
            "ctl -i prod.yaml -- snapshot save /dev/stdout",
            2,
            "error: etcdctl would put its snapshot in the place of the host's `/dev/stdout`\n\n\
             hint: give it a path for a file on the host; `etcd-ha proxy` and an etcdctl of your own save one here\n"
                .to_owned(),
        ),
    ] {
        assert_eq!(desk.run(line), said(status, "", &want), "{line}");
    }
}

#[test]
fn proxy_names_the_port_that_it_cannot_have() {
    let desk = Desk::with_inventory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let hint = "\nhint: `--port` chooses the first port; `--port 0` takes any that are free\n";
    assert_eq!(
        desk.run(&format!("proxy -i prod.yaml --port {port}")),
        said(
            1,
            "",
            &format!(
                "error: cannot listen on 127.0.0.1:{port}\n  caused by: Address already in use (os error 98)\n{hint}"
            )
        )
    );
    assert_eq!(
        desk.run("proxy -i prod.yaml --port 65534"),
        said(2, "", &format!("error: there are no ports for 3 members from 65534 on: 65535 is the highest\n{hint}"))
    );
    assert_eq!(
        desk.run("proxy -i prod.yaml --address 192.0.2.1"),
        said(
            1,
            "",
            "error: cannot listen on 192.0.2.1:12379\n  caused by: Cannot assign requested address (os error 99)\n\n\
             hint: `--address` takes an address of this machine\n"
        )
    );
}
