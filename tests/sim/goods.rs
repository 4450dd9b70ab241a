//! What the user wants, and the files that follow from it: real inventories, a real PKI, real [`Wanted`]s.

use etcd_ha::etcd::config::{GENERATION, Membership, options_in, value_of};
use etcd_ha::etcd::identity::ClusterId;
use etcd_ha::etcd::lint::Rules;
use etcd_ha::inventory::{Host, Inventory};
use etcd_ha::pki::{KeyAlgorithm, Member, Pki, Settings, Subject};
use etcd_ha::release::{Arch, Archive, Binary};
use etcd_ha::tasks::Wanted;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What is wanted, beside what the cluster was deployed with at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Nothing else.
    Base,
    /// A setting of all members.
    Setting,
    /// A setting that changes the unit, too.
    Unit,
    /// Another patch release.
    Patch,
    /// Another minor release.
    Minor,
    /// Other leaf certificates of the same CA.
    Leaves,
    /// A setting of one member's own.
    Own(usize),
}

/// A text file.
#[derive(Debug)]
pub struct Text {
    pub text: String,
    pub sha256: String,
    /// The generation in it, if it is an environment file.
    pub generation: Option<String>,
    /// The variables that a process gets of it.
    pub options: BTreeSet<String>,
}

/// The files of an `ssl` folder.
#[derive(Debug)]
pub struct Certificates {
    /// What names their folder.
    pub digest: String,
    /// Name, SHA-256 and mode.
    pub files: Vec<(&'static str, String, u32)>,
}

/// The files of a [`Wanted`], as they lie on a host.
#[derive(Debug)]
pub struct Goods {
    pub environment: Arc<Text>,
    pub unit: Arc<Text>,
    pub certificates: Arc<Certificates>,
    pub release: Arc<Release>,
}

/// An unpacked release.
#[derive(Debug)]
pub struct Release {
    pub version: String,
    pub minor: u64,
    pub archive_sha256: String,
}

pub fn digest(content: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(content))
}

impl Text {
    fn new(text: &str) -> Arc<Self> {
        let generation = value_of(text, GENERATION).map(str::to_owned);
        Arc::new(Self { text: text.to_owned(), sha256: digest(text), generation, options: options_in(text) })
    }
}

type Key = (usize, Variant, usize, String, Option<ClusterId>);

/// What was made once in this thread.
#[derive(Default)]
pub struct Store {
    inventories: RefCell<HashMap<(usize, Variant), Rc<Inventory>>>,
    wanted: RefCell<HashMap<Key, Arc<Wanted>>>,
    goods: RefCell<HashMap<*const Wanted, Rc<Goods>>>,
}

impl Store {
    /// The inventory of so many hosts.
    pub fn inventory(&self, hosts: usize, variant: Variant) -> Rc<Inventory> {
        let mut inventories = self.inventories.borrow_mut();
        inventories.entry((hosts, variant)).or_insert_with(|| Rc::new(inventory(hosts, variant))).clone()
    }

    /// What the host in this place should have.
    pub fn wanted(&self, hosts: usize, variant: Variant, place: usize, membership: &Membership) -> Arc<Wanted> {
        let key = (hosts, variant, place, membership.token.clone(), membership.established);
        let mut store = self.wanted.borrow_mut();
        let made = store.entry(key).or_insert_with(|| {
            let inventory = self.inventory(hosts, variant);
            let wanted =
                Wanted::of(&inventory.hosts[place], membership, pki(variant), archive(&inventory.version.to_string()));
            Arc::new(wanted.expect("the PKI has certificates for every host"))
        });
        made.clone()
    }

    /// The files of what was given out by [`Store::wanted`].
    pub fn goods(&self, wanted: &Wanted) -> Rc<Goods> {
        let mut goods = self.goods.borrow_mut();
        let made = goods.entry(std::ptr::from_ref(wanted)).or_insert_with(|| {
            let files = wanted.certificates.iter().map(|file| (file.name, file.sha256.clone(), file.mode));
            Rc::new(Goods {
                environment: Text::new(&wanted.environment),
                unit: Text::new(&wanted.unit),
                certificates: Arc::new(Certificates {
                    digest: wanted.certificates_digest.clone(),
                    files: files.collect(),
                }),
                release: Arc::new(Release {
                    version: wanted.archive.version.to_string(),
                    minor: wanted.archive.version.minor,
                    archive_sha256: wanted.archive.sha256.clone(),
                }),
            })
        });
        made.clone()
    }
}

fn inventory(hosts: usize, variant: Variant) -> Inventory {
    let version = match variant {
        Variant::Patch => "3.5.33",
        Variant::Minor => "3.6.14",
        _ => "3.5.30",
    };
    let settings = match variant {
        Variant::Setting => "  settings: { heartbeat-interval: 150 }\n",
        Variant::Unit => "  settings: { log-outputs: /var/log/etcd/etcd.log }\n",
        _ => "",
    };
    let mut text = format!("cluster: prod\netcd:\n  version: {version}\n{settings}hosts:\n");
    for place in 0..hosts {
        let own = if variant == Variant::Own(place) { ", etcd: { settings: { snapshot-count: 5000 } }" } else { "" };
        text += &format!("  - {{ name: node{:02}, address: 10.19.0.{}{own} }}\n", place + 1, place + 55);
    }
    Inventory::parse(Path::new("prod.yaml"), &text, &Rules).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

/// The PKI that a variant is deployed with: two of them share their CA and differ in all leaves.
pub fn pki(variant: Variant) -> &'static Pki {
    static PKIS: OnceLock<[Pki; 2]> = OnceLock::new();
    let pkis = PKIS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let load = |extra: &str| {
            let settings = Settings {
                dir: folder.path().join("prod.pki"),
                ca_cert: None,
                ca_key: None,
                encrypt_ca_key: false,
                key: KeyAlgorithm::EcdsaP256,
                subject: Subject::default(),
                ca_lifetime: Duration::from_secs(87_600 * 3600),
                leaf_lifetime: Duration::from_secs(87_600 * 3600),
                renew_before: Duration::from_secs(30 * 86_400),
            };
            let names = |place: usize| vec![format!("10.19.0.{}", 54 + place), format!("node{place:02}{extra}")];
            let members: Vec<Member> =
                (1..=7).map(|place| Member { name: format!("node{place:02}"), names: names(place) }).collect();
            Pki::load_or_issue(&settings, "prod", &members, time::OffsetDateTime::now_utc()).expect("a PKI")
        };
        let first = load("");
        first.persist().expect("it is written");
        let second = load(".example.net");
        assert_eq!(first.ca_pem(), second.ca_pem());
        [first, second]
    });
    &pkis[usize::from(variant == Variant::Leaves)]
}

fn archive(version: &str) -> Archive {
    Archive {
        version: version.parse().expect("a version"),
        arch: Arch::Amd64,
        path: format!("/cache/etcd-v{version}-linux-amd64.tar.gz").into(),
        sha256: digest(version),
        size: 21 << 20,
        binaries: ["etcd", "etcdctl", "etcdutl"]
            .map(|name| Binary { name: name.into(), sha256: "b".repeat(64), size: 20 << 20 })
            .to_vec(),
    }
}

/// The place of a host in its inventory.
pub fn place(inventory: &Inventory, host: &Host) -> usize {
    inventory.hosts.iter().position(|other| other.name == host.name).expect("a host of the inventory")
}
