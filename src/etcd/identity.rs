//! Who a member is: the ids that etcd derives at bootstrap, and those that a data dir carries.
//!
//! At bootstrap etcd computes a member's id from its peer URLs and the cluster token, and the
//! cluster's id from the members' ids (etcd, `server/etcdserver/api/membership`). Both are written
//! into the head of every WAL file, so that a data dir tells whose it is without being started.

use sha1::{Digest, Sha1};
use std::fmt;

/// The id of a member; printed as etcd does, in hex without leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// The id of a cluster; printed as etcd does, in hex without leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl std::str::FromStr for ClusterId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// The id that a member with these peer URLs gets in a bootstrap with `token`.
#[must_use]
pub fn member_id(peer_urls: &[String], token: &str) -> MemberId {
    let mut urls = peer_urls.to_vec();
    urls.sort();
    MemberId(leading_u64(&[urls.concat().as_bytes(), token.as_bytes()]))
}

/// The id of the cluster that these members form at bootstrap.
#[must_use]
pub fn cluster_id(members: &[MemberId]) -> ClusterId {
    let mut ids = members.to_vec();
    ids.sort();
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.0.to_be_bytes()).collect();
    ClusterId(leading_u64(&[&bytes]))
}

fn leading_u64(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize()[..8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// What the head of a WAL file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalHead {
    /// The member that wrote it.
    pub member: MemberId,
    /// The cluster that the member belongs to.
    pub cluster: ClusterId,
    /// Whether an entry of a later term than the bootstrap's own (term 1) is in the part that was
    /// read: a leader was elected once, so the cluster had a quorum and may hold data.
    pub had_leader: bool,
}

/// Reads the leading bytes of a WAL file; `None` where they are not those of a WAL.
///
/// A WAL is a run of frames: eight bytes little-endian, of which the low 56 bits are the record's
/// length and the top byte its padding, then a protobuf record of type (field 1), checksum (2) and
/// data (3). Type 1 is metadata (node id, cluster id), type 2 a raft entry (term is its field 2).
/// (etcd, `server/storage/wal`.)
#[must_use]
pub fn read_wal_head(bytes: &[u8]) -> Option<WalHead> {
    let mut rest = bytes;
    let mut identity = None;
    let mut had_leader = false;
    while let Some((frame, tail)) = rest.split_first_chunk::<8>() {
        let frame = u64::from_le_bytes(*frame);
        if frame == 0 {
            break;
        }
        let length = usize::try_from(frame & 0x00ff_ffff_ffff_ffff).ok()?;
        let padding = if frame >> 63 == 1 { usize::from((frame >> 56 & 0x7) as u8) } else { 0 };
        let Some(record) = tail.get(..length) else { break };
        rest = tail.get(length + padding..).unwrap_or_default();
        let (mut kind, mut data) = (0, &[][..]);
        for field in Fields(record) {
            match field? {
                (1, Value::Number(number)) => kind = number,
                (3, Value::Bytes(bytes)) => data = bytes,
                _ => {}
            }
        }
        match kind {
            1 => {
                let (mut member, mut cluster) = (0, 0);
                for field in Fields(data) {
                    match field? {
                        (1, Value::Number(number)) => member = number,
                        (2, Value::Number(number)) => cluster = number,
                        _ => {}
                    }
                }
                identity = Some((MemberId(member), ClusterId(cluster)));
            }
            2 => {
                for field in Fields(data) {
                    if let (2, Value::Number(term)) = field? {
                        had_leader |= term > 1;
                    }
                }
            }
            _ => {}
        }
    }
    identity.map(|(member, cluster)| WalHead { member, cluster, had_leader })
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message (numbers and length-delimited ones; all that a WAL has).
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::config::Membership;
    use proptest::prelude::*;

    /// What real members said of themselves after a bootstrap of three.
    #[test]
    fn ids_are_those_that_etcd_derives() {
        let peers = (55..=57).map(|n| (format!("node0{}", n - 54), format!("https://10.19.0.{n}:2380"))).collect();
        let membership = Membership { token: "lab-e82ee0470f8c4841".into(), peers, established: None };
        let ids: Vec<String> =
            ["node01", "node02", "node03"].iter().map(|name| membership.member_id(name).unwrap().to_string()).collect();
        assert_eq!(ids, ["8d9745457e5cac0d", "b1895360b6be7067", "10c79a48ddaf715c"]);
        assert_eq!(membership.cluster_id().to_string(), "c7f1841cecc94007");
        assert_eq!(membership.member_id("node04"), None);
    }

    #[test]
    fn the_order_of_urls_and_members_does_not_matter() {
        let urls = ["https://10.0.0.2:2380", "https://10.0.0.1:2380"].map(str::to_owned);
        let turned = [urls[1].clone(), urls[0].clone()];
        assert_eq!(member_id(&urls, "t"), member_id(&turned, "t"));
        assert_ne!(member_id(&urls, "t"), member_id(&urls, "u"));
        let (one, two) = (MemberId(1), MemberId(2));
        assert_eq!(cluster_id(&[one, two]), cluster_id(&[two, one]));
    }

    #[test]
    fn ids_are_read_as_they_are_printed() {
        assert_eq!("3031b7d57c33bbb".parse(), Ok(ClusterId(0x0303_1b7d_57c3_3bbb)));
        assert_eq!(ClusterId(0x0303_1b7d_57c3_3bbb).to_string(), "3031b7d57c33bbb");
        assert!("".parse::<ClusterId>().is_err() && "x".parse::<ClusterId>().is_err());
    }

    /// The heads of WAL files that real members wrote: one member alone, and one of three whose two
    /// peers never came (it stood for election three times, and its term rose without an entry).
    const WALS: [(&str, &[u8], WalHead); 4] = [
        ("3.5.16", include_bytes!("identity/3.5.16.wal"), head(0x22a5_2428_bdb1_51a0, 0x0303_1b7d_57c3_3bbb, true)),
        (
            "3.5.16 without quorum",
            include_bytes!("identity/3.5.16-without-quorum.wal"),
            head(0x4098_14f1_2aea_7d09, 0x8108_8e1d_4d2d_ddae, false),
        ),
        ("3.4.23", include_bytes!("identity/3.4.23.wal"), head(0x4098_14f1_2aea_7d09, 0xae40_6476_53cf_000c, true)),
        (
            "3.4.23 without quorum",
            include_bytes!("identity/3.4.23-without-quorum.wal"),
            head(0x4098_14f1_2aea_7d09, 0x8108_8e1d_4d2d_ddae, false),
        ),
    ];

    const fn head(member: u64, cluster: u64, had_leader: bool) -> WalHead {
        WalHead { member: MemberId(member), cluster: ClusterId(cluster), had_leader }
    }

    #[test]
    fn real_wals_are_read() {
        for (what, bytes, want) in WALS {
            assert_eq!(read_wal_head(bytes), Some(want), "{what}");
        }
    }

    #[test]
    fn a_wal_without_its_first_bytes_is_none() {
        for bytes in [&b""[..], &[0; 8], &[0; 4096], &[0xff; 4096], b"not a wal at all", &WALS[0].1[..40]] {
            assert_eq!(read_wal_head(bytes), None);
        }
    }

    /// However few bytes of it were read, a WAL is never taken for that of another member.
    #[test]
    fn a_part_of_a_wal_says_the_same_or_nothing() {
        for (what, bytes, want) in WALS {
            for length in 0..bytes.len() {
                if let Some(read) = read_wal_head(&bytes[..length]) {
                    assert_eq!((read.member, read.cluster), (want.member, want.cluster), "{what}, {length} bytes");
                    assert!(want.had_leader || !read.had_leader, "{what}, {length} bytes");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read_wal_head(&bytes);
        }

        #[test]
        fn no_damage_is_too_odd(which in 0usize..4, damage in prop::collection::vec((0usize..1040, any::<u8>()), 1..8)) {
            let mut bytes = WALS[which].1.to_vec();
            for (at, byte) in damage {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let _ = read_wal_head(&bytes);
        }
    }
}
