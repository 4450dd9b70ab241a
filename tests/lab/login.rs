//! Ways to log in that are not root's with a quiet shell.

use crate::members::{Members, node};
use crate::site::Site;

pub fn a_user_with_sudo_and_loud_shells_does_as_well_as_root() {
    let site = Site::up(3);
    let mut inventory = site.inventory(1..=3);
    // Who does not log in as root goes through sudo, without having to say so.
    inventory.ssh += "user: ops\n";
    site.write(&inventory);
    for (host, shell) in [(1, "/usr/bin/fish"), (2, "/usr/bin/tcsh"), (3, "/bin/bash")] {
        let script = format!(
            "usermod -s {shell} ops; cd /home/ops; mkdir -p .config/fish; \
             echo 'echo noise of fish' >.config/fish/config.fish; printf 'echo noise of tcsh\\numask 077\\n' >.tcshrc; \
             echo 'echo noise of bash; echo more >&2; umask 077' >.bashrc; echo 'echo noise of profile' >.profile; \
             chown -R ops: .; sed -i '1i echo noise for all' /etc/bash.bashrc; \
             printf 'Welcome.\\nNo entry.\\n' >/etc/banner; echo 'Banner /etc/banner' >>/etc/ssh/sshd_config; \
             echo 'message of the day' >/etc/motd; systemctl restart ssh"
        );
        site.lab.read(&node(host), &script);
        // The control: the noise is there.
        let said = site.lab.command().args(["sh", &format!("ops@{}", node(host)), "echo", "said"]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains("noise") && said.ends_with("said\n"), "{shell}: {said:?}");
    }
    site.run("plan --detailed-exitcode").exits(10).never_says(&["noise"]);
    site.run("deploy")
        .exits(0)
        .never_says(&["noise", "No entry"])
        .ends("done: cluster lab is healthy, 3 of 3 members, ");
    let members = Members::of(&site, 3);
    members.assert_whole();
    site.run("health").exits(0).says(&["cluster is healthy"]);
    inventory.settings = "heartbeat-interval: 120".to_owned();
    site.write(&inventory);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
    members.assert_whole();

    // Where commands cannot be run, or not as root, the user is told which it is.
    for (made, unmade, words) in [
        (
            "sed -i 's/NOPASSWD://' /etc/sudoers.d/ops",
            "sed -i 's/ALL$/NOPASSWD:ALL/' /etc/sudoers.d/ops",
            ["`sudo -n sh` wants a password for `ops`", "--ask-become-pass"],
        ),
        (
            "mv /etc/sudoers.d/ops /root/",
            "mv /root/ops /etc/sudoers.d/",
            ["`sudo -n sh` wants a password for `ops`", "NOPASSWD rule"],
        ),
        (
            "mv /usr/bin/sudo /root/",
            "mv /root/sudo /usr/bin/",
            ["`sudo -n sh` cannot be run for `ops`", "install sudo"],
        ),
        (
            "usermod -s /bin/false ops",
            "usermod -s /usr/bin/tcsh ops",
            ["commands cannot be run as `ops`", "needs a login shell"],
        ),
        (
            "usermod -s /usr/sbin/nologin ops",
            "usermod -s /usr/bin/tcsh ops",
            ["commands cannot be run as `ops`", "This account is currently not available"],
        ),
        (
            "mv /home/ops/.ssh/authorized_keys /root/",
            "mv /root/authorized_keys /home/ops/.ssh/",
            ["cannot log in as `ops`", "id_ed25519"],
        ),
    ] {
        site.lab.read("node02", made);
        let ran = site.run("deploy").exits(1).says(&words).says(&["node01 preflight: ok", "node03 preflight: ok"]);
        assert!(ran.stderr.contains("node02"), "{ran:?}");
        site.lab.read("node02", unmade);
    }
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
}
