//! OpenSSH's servers with throw-away keys, on loopback addresses.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::ours::Login;

/// Where sshd is usually installed; PATH seldom has it.
const USUAL: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/local/bin/sshd"];

/// The server program, and a folder for all that belongs to the run.
pub struct Place {
    sshd: PathBuf,
    folder: TempDir,
}

impl Place {
    /// # Errors
    /// In words: what is missing here.
    pub fn find() -> Result<Self, String> {
        for program in ["ssh", "scp", "ssh-keygen"] {
            let there = env::var_os("PATH")
                .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()));
            if !there {
                return Err(format!("there is no {program} here (Debian package openssh-client)"));
            }
        }
        let sshd = match env::var_os("ETCD_HA_SSHD") {
            Some(named) => PathBuf::from(named),
            None => match USUAL.iter().map(Path::new).find(|path| path.is_file()) {
                Some(usual) => usual.to_owned(),
                None => {
                    return Err("there is no sshd here; `make bench` unpacks one, ETCD_HA_SSHD names one".to_owned());
                }
            },
        };
        let version = Command::new(&sshd).arg("-?").output();
        let said = version.map_err(|error| format!("`{}` cannot be run: {error}", sshd.display()))?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        match said.lines().find(|line| line.contains("OpenSSH")) {
            Some(line) => println!("{line}"),
            None => return Err(format!("`{}` is no sshd that runs: {}", sshd.display(), said.trim())),
        }
        let folder = tempfile::Builder::new().prefix("etcd-ha-bench").tempdir().map_err(|error| error.to_string())?;
        Ok(Self { sshd, folder })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn keygen(&self, name: &str) -> String {
        let path = self.path(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
        assert!(made.unwrap().success(), "ssh-keygen failed");
        fs::read_to_string(path.with_extension("pub")).unwrap()
    }
}

/// Running servers; ended when dropped.
pub struct Sshds {
    pub login: Login,
    host_key: String,
    running: Vec<Child>,
}

impl Sshds {
    /// Starts a server on each of `count` addresses.
    pub fn start(place: &Place, count: u8) -> Self {
        let host_key = place.keygen("host");
        place.keygen("id");
        let hosts: Vec<String> = (1..=count).map(|number| Ipv4Addr::new(127, 78, 0, number).to_string()).collect();
        let port = TcpListener::bind((hosts[0].as_str(), 0)).unwrap().local_addr().unwrap().port();
        let user = text("id", &["-un"]);
        let login =
            Login { user, key: place.path("id"), known_hosts: place.path("known_hosts"), hosts: hosts.clone(), port };
        fs::write(&login.known_hosts, "").unwrap();
        let mut sshds = Self { login, host_key, running: Vec::new() };
        sshds.know(&sshds.login);
        for host in &hosts {
            sshds.running.push(start(place, host, port));
        }
        for (host, child) in hosts.iter().zip(&mut sshds.running) {
            let begun = Instant::now();
            while TcpStream::connect((host.as_str(), port)).is_err() {
                assert!(child.try_wait().unwrap().is_none(), "sshd ended: {}", log(place, host));
                assert!(begun.elapsed() < Duration::from_secs(20), "sshd does not listen: {}", log(place, host));
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        sshds
    }

    /// Writes down the servers' key as that of these hosts, too.
    pub fn know(&self, login: &Login) {
        let mut known = fs::read_to_string(&login.known_hosts).unwrap();
        for host in &login.hosts {
            known += &format!("[{host}]:{} {}", login.port, self.host_key);
        }
        fs::write(&login.known_hosts, known).unwrap();
    }
}

impl Drop for Sshds {
    fn drop(&mut self) {
        for child in &mut self.running {
            // SIGTERM would let it write to its log; there is nothing that it could leave undone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn log(place: &Place, host: &str) -> String {
    fs::read_to_string(place.path(&format!("log-{host}"))).unwrap_or_default()
}

fn start(place: &Place, host: &str, port: u16) -> Child {
    let path = |name: &str| place.path(name).display().to_string();
    let config = place.path(&format!("config-{host}"));
    let mut text = format!(
        "ListenAddress {host}:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\nLogLevel ERROR\nSubsystem sftp internal-sftp\n",
        path("host"),
        path("id.pub")
    );
    // From 9.8 on the server is several programs, which look for each other where they were to be installed.
    let beside = place.sshd.ancestors().nth(2).map(|root| root.join("lib/openssh"));
    for (option, name) in [("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth")] {
        if let Some(program) = beside.as_ref().map(|folder| folder.join(name)).filter(|program| program.is_file()) {
            text += &format!("{option} {}\n", program.display());
        }
    }
    fs::write(&config, text).unwrap();
    let log = fs::File::create(place.path(&format!("log-{host}"))).unwrap();
    let mut command = as_installed(place, host);
    command.arg(&place.sshd).args(["-D", "-e", "-f"]).arg(&config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Started by root, sshd wants a user `sshd` and the folder /run/sshd. Where they are missing, it gets them in
/// a mount namespace of its own, and this machine stays as it is.
fn as_installed(place: &Place, host: &str) -> Command {
    let user = Command::new("id").arg("sshd").stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success();
    if text("id", &["-u"]) != "0" || (user && Path::new("/run/sshd").is_dir()) {
        // A word that does nothing but run the rest.
        return Command::new("env");
    }
    let script = r#"
        mount -t tmpfs -o mode=755 tmpfs /run
        mkdir -m 755 /run/sshd
        if ! id sshd >/dev/null 2>&1; then
          { cat /etc/passwd; echo 'sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin'; } >"$1"
          chmod 644 "$1"
          mount --bind "$1" /etc/passwd
        fi
        shift
        exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-euc", script, "sh"]).arg(place.path(&format!("passwd-{host}")));
    command
}

fn text(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
