//! What a deploy leaves behind, and what every process shows meanwhile, holds no key and no password.

use crate::members::node;
use crate::secrets::Place::{Controller, Host};
use crate::site::{Ran, Site, eventually, files_below};
use aho_corasick::AhoCorasick;
use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// All that a deploy may write to on a host, and more.
const FOLDERS: [&str; 11] = ["etc", "opt", "var", "tmp", "root", "home", "run", "usr/local", "dev/shm", "srv", "media"];

/// More than etcd has bytes; of longer files, such as its write-ahead logs, the beginning is looked at.
const LONGEST: u64 = 32 << 20;

/// Something that may be in few places only, and what it looks like there or elsewhere.
struct Secret {
    name: String,
    forms: Vec<Vec<u8>>,
}

/// Where something was found: a machine and the file there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Controller(String),
    Host(usize, String),
}

/// A password that no other process on this machine has, with what shells, sudo and JSON have to quote. The part of
/// letters and digits is in whatever becomes of it.
fn password(word: &str) -> (String, Secret) {
    let core = format!("{word}{}x", std::process::id());
    let forms = vec![core.clone().into_bytes(), base64(core.as_bytes())];
    (format!("{core}'&3 $x\"%h\\"), Secret { name: word.to_owned(), forms })
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    data_encoding::BASE64_NOPAD.encode(bytes).into_bytes()
}

/// A private key on P-256: the lines of its PEM that hold a part of the secret number, and the number itself as bytes,
/// in hexadecimal, and in base64 wherever it may begin there. The rest of the file is public.
fn key(name: &str, pem: &str) -> Secret {
    let lines: Vec<&str> = pem.lines().filter(|line| !line.contains("-----")).collect();
    let der = data_encoding::BASE64.decode(lines.concat().as_bytes()).unwrap();
    // RFC 5958 and RFC 5915: what comes before it has the same length in each of them.
    assert_eq!((der.len(), &der[33..36]), (138, &[1, 4, 32][..]), "{name} is no key on P-256");
    let number = &der[36..68];
    let mut forms: Vec<Vec<u8>> = lines[..2].iter().map(|line| line.as_bytes().to_vec()).collect();
    forms.push(number.to_vec());
    forms.push(data_encoding::HEXLOWER.encode(number).into_bytes());
    forms.push(data_encoding::HEXUPPER.encode(number).into_bytes());
    // Bytes that share a character with what is around them are left out.
    forms.extend((0..3).map(|skip| base64(&number[skip..skip + 27])));
    Secret { name: name.to_owned(), forms }
}

/// Every private key in the PKI folder.
fn keys(site: &Site) -> Vec<Secret> {
    let files = files_below(&site.path("lab.pki"));
    let names = files.iter().map(|file| (file, file.file_name().unwrap().to_str().unwrap()));
    names
        .filter_map(|(file, name)| Some(key(name.strip_suffix("-key.pem")?, &fs::read_to_string(file).unwrap())))
        .collect()
}

/// Finds secrets in bytes.
struct Searcher {
    forms: AhoCorasick,
    names: Vec<String>,
}

impl Searcher {
    fn new(secrets: &[Secret]) -> Self {
        let all = || secrets.iter().flat_map(|secret| secret.forms.iter().map(|form| (&secret.name, form)));
        let names = all().map(|(name, _)| name.clone()).collect();
        Self { forms: AhoCorasick::new(all().map(|(_, form)| form)).unwrap(), names }
    }

    fn within(&self, bytes: &[u8]) -> BTreeSet<&str> {
        // One may begin within another.
        self.forms.find_overlapping_iter(bytes).map(|found| &*self.names[found.pattern().as_usize()]).collect()
    }

    /// All that is on the hosts and with the operator, but the files in which a test itself keeps a password.
    fn everywhere(&self, site: &Site, runs: &[&Ran], own: &[&str]) -> Vec<Found> {
        let mut found = Vec::new();
        let mut look = |place: Place, bytes: &[u8], mode: u32, owner: u32| {
            for name in self.within(bytes) {
                found.push(Found { place: place.clone(), secret: name.to_owned(), mode, owner });
            }
        };
        for run in runs {
            look(Controller(format!("stdout of `{}`", run.words())), run.stdout.as_bytes(), 0, 0);
            look(Controller(format!("stderr of `{}`", run.words())), run.stderr.as_bytes(), 0, 0);
        }
        for path in files_below(&site.path("")) {
            let name = path.strip_prefix(site.path("")).unwrap().to_str().unwrap().to_owned();
            if !own.contains(&&*name) {
                let (bytes, mode, owner) = read(&path);
                look(Controller(name), &bytes, mode, owner);
            }
        }
        for host in 1..=3 {
            // Its fields as they are: on disk the longer ones are compressed.
            let journal = site.lab.exec(&node(host), "journalctl --sync; journalctl --no-pager --all -o export");
            let sudo = b"_COMM=sudo\n";
            assert!(journal.stdout.windows(sudo.len()).any(|line| line == sudo), "node0{host}: {journal:?}");
            look(Host(host, "journal".to_owned()), &journal.stdout, 0, 0);
            let root = root_of(site, host);
            for path in FOLDERS.iter().flat_map(|folder| files(&root.join(folder))) {
                let name = format!("/{}", path.strip_prefix(&root).unwrap().display());
                let (bytes, mode, owner) = read(&path);
                look(Host(host, name), &bytes, mode, owner);
            }
        }
        found
    }
}

/// A secret that was found.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    place: Place,
    secret: String,
    mode: u32,
    owner: u32,
}

fn read(path: &Path) -> (Vec<u8>, u32, u32) {
    let mut bytes = Vec::new();
    // It may be gone by now: hosts live.
    let Ok(file) = File::open(path) else { return (bytes, 0, 0) };
    let about = file.metadata().unwrap();
    let _ = file.take(LONGEST).read_to_end(&mut bytes);
    (bytes, about.mode() & 0o7777, about.uid())
}

/// A host's file system with all that is mounted there, as its first process has it.
fn root_of(site: &Site, host: usize) -> PathBuf {
    let pid = fs::read_to_string(site.lab.folder().join(node(host)).join("nspawn")).unwrap();
    let pid = pid.split(' ').next().unwrap();
    let init = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    PathBuf::from(format!("/proc/{}/root", init.split_whitespace().next().unwrap()))
}

/// The regular files below a folder; links are not followed.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                Ok(_) | Err(_) => {}
            }
        }
    }
    files
}

/// Looks all the time at the words and the variables of every process, those of the hosts and of the controller: to the
/// machine that both are on they are all the same.
struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<HashSet<Vec<u8>>>>,
    /// How often it looked.
    thread: JoinHandle<u32>,
}

impl Watch {
    fn begin() -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<HashSet<Vec<u8>>>>::default());
        let (told, found) = (stop.clone(), seen.clone());
        let thread = thread::spawn(move || {
            let mut rounds = 0;
            while !told.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").unwrap().flatten() {
                    if process.file_name().as_encoded_bytes()[0].is_ascii_digit() {
                        for file in ["cmdline", "environ"] {
                            let words = fs::read(process.path().join(file)).ok().filter(|words| !words.is_empty());
                            found.lock().unwrap().extend(words);
                        }
                    }
                }
                rounds += 1;
                thread::sleep(Duration::from_millis(1));
            }
            rounds
        });
        Self { stop, seen, thread }
    }

    fn has_seen(&self, words: &str) -> bool {
        let there = |all: &Vec<u8>| all.windows(words.len()).any(|window| window == words.as_bytes());
        self.seen.lock().unwrap().iter().any(there)
    }

    /// What was seen, told apart.
    fn end(self, site: &Site) -> HashSet<Vec<u8>> {
        // The control: it sees what is there for a tenth of a second, on a host. What the mark is, only the host knows.
        let mark = site.lab.read("node02", "cat /etc/machine-id");
        let script = "id=$(cat /etc/machine-id); env VARIABLE=$id sleep 0.1; sh -c 'sleep 0.1; :' WORD=$id";
        eventually("short-lived processes are seen", Duration::from_secs(30), || {
            site.lab.read("node02", script);
            ["VARIABLE", "WORD"].iter().all(|name| self.has_seen(&format!("{name}={mark}")))
        });
        for words in ["sudo\0-S\0-p", "/usr/local/bin/etcd", "deploy\0-o\0json\0--verbose"] {
            assert!(self.has_seen(words), "the watch is blind: {words:?}");
        }
        self.stop.store(true, Ordering::Relaxed);
        let rounds = self.thread.join().unwrap();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        eprintln!("looked at all processes {rounds} times, saw {} different words or variables", seen.len());
        seen
    }
}

/// Three hosts on which ops' password is asked for, and what sudo does is written down.
fn asking(password: &str, wrong: &str) -> Site {
    let site = Site::up(3);
    let mut inventory = site.inventory(1..=3);
    inventory.ssh += "user: ops\n";
    site.write(&inventory);
    site.write_file("password", &format!("{password}\n"));
    site.write_file("wrong", &format!("{wrong}\n"));
    site.write_file("chpasswd", &format!("ops:{password}\n"));
    for host in 1..=3 {
        let passwords = File::open(site.path("chpasswd")).unwrap();
        let set = site.lab.command().args(["exec", &node(host), "chpasswd"]).stdin(passwords).status().unwrap();
        assert!(set.success());
        let rules = "printf 'Defaults logfile=/var/log/sudo.log, log_output\\nops ALL=(ALL) ALL\\n' \
                     >/etc/sudoers.d/ops; visudo -cq";
        site.lab.read(&node(host), rules);
    }
    site
}

pub fn a_deploy_leaves_keys_and_passwords_nowhere_but_in_their_own_files() {
    let ((right, password), (wrong, refused), (phrase, passphrase)) =
        (password("right"), password("wrong"), password("phrase"));
    let site = asking(&right, &wrong);
    site.write_file("passphrase", &format!("{phrase}\n"));
    let own = ["password", "wrong", "chpasswd", "passphrase"];
    let watch = Watch::begin();

    let refusal = site.run("deploy -o json --verbose --become-pass-command cat<wrong").exits(1);
    assert!(refusal.stdout.contains("refused the password"), "{refusal:?}");
    let mut secrets = vec![password, refused, passphrase];
    assert_eq!(Searcher::new(&secrets).everywhere(&site, &[&refusal], &own), []);

    // Killed while keys are on their way to the hosts.
    let mut broken = site.start("deploy -v --become-pass-command cat<password");
    broken.read_until(" stage_certificates: changed");
    broken.signal("KILL");
    let broken = broken.wait();
    secrets.extend(keys(&site));
    let searcher = Searcher::new(&secrets);
    let found = searcher.everywhere(&site, &[&broken], &own);
    assert!(found.iter().any(|found| matches!(&found.place, Host(_, path) if path.contains("/.next/"))), "{found:?}");
    assert_kept_well(&site, &found);

    let ran = site.run("deploy -o json --verbose --become-pass-command cat<password").exits(0);
    assert!(ran.stdout.contains("3 of 3 members"), "{ran:?}");
    // The CA's key is under a passphrase from here on, and signs once more.
    let encrypted = site.run("certs encrypt-ca --new-ca-pass-command cat<passphrase").exits(0);
    let issued = site.run("certs issue --client --name app --ca-pass-command cat<passphrase").exits(0);
    let seen = watch.end(&site);
    for shown in &seen {
        let within = searcher.within(shown);
        assert!(within.is_empty(), "a process shows {within:?}: {:?}", String::from_utf8_lossy(shown));
    }
    let found = searcher.everywhere(&site, &[&ran, &encrypted, &issued], &own);
    assert_kept_well(&site, &found);
    let mut places = String::new();
    for Found { place, secret, .. } in &found {
        let _ = match place {
            Controller(path) => writeln!(places, "{path}: {secret}"),
            Host(host, path) => writeln!(places, "node{host:02} {}: {secret}", path.rsplit('/').next().unwrap()),
        };
    }
    let mut places: Vec<_> = places.lines().collect();
    places.sort_unstable();
    #[rustfmt::skip]
    let want = [
        "lab.pki/admin-key.pem: admin",
        "lab.pki/node01-peer-key.pem: node01-peer",
        "lab.pki/node01-server-key.pem: node01-server",
        "lab.pki/node02-peer-key.pem: node02-peer",
        "lab.pki/node02-server-key.pem: node02-server",
        "lab.pki/node03-peer-key.pem: node03-peer",
        "lab.pki/node03-server-key.pem: node03-server",
        "node01 peer-key.pem: node01-peer",
        "node01 server-key.pem: node01-server",
        "node02 peer-key.pem: node02-peer",
        "node02 server-key.pem: node02-server",
        "node03 peer-key.pem: node03-peer",
        "node03 server-key.pem: node03-server",
    ];
    assert_eq!(places, want);
}

/// Each key that was found is in a file of its own that only its owner can read, and on a host only that host's.
fn assert_kept_well(site: &Site, found: &[Found]) {
    for one in found {
        let Found { place, secret, mode, owner } = one;
        assert_eq!(*mode, 0o600, "{one:?}");
        match place {
            Controller(path) => {
                assert_eq!(path.strip_prefix("lab.pki/"), Some(&*format!("{secret}-key.pem")), "{one:?}");
                assert_eq!(*owner, fs::metadata("/proc/self").unwrap().uid(), "{one:?}");
            }
            Host(host, path) => {
                let (of, which) = secret.split_once('-').unwrap_or((secret, ""));
                assert_eq!(of, node(*host), "{one:?}");
                let (folder, file) = path.strip_prefix("/etc/etcd/").and_then(|path| path.rsplit_once('/')).unwrap();
                assert_eq!(file, format!("{which}-key.pem"), "{one:?}");
                let etcd: u32 = site.lab.read(&node(*host), "id -u etcd").parse().unwrap();
                match folder {
                    // Whoever made it is its owner until all of it is there.
                    ".next/ssl" => assert!([0, etcd].contains(owner), "{one:?}"),
                    _ => assert!(folder.starts_with(".ssl-") && *owner == etcd, "{one:?}"),
                }
            }
        }
    }
}
