use super::bolt::{self, Found};
use super::*;
use crate::error::Error;
use proptest::prelude::*;
use semver::Version;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::OnceLock;
use time::OffsetDateTime;
use time::macros::datetime;

/// What etcd 3.5.16 gave after eight changes of six keys, a compaction at revision 4, and one more change.
const REAL: &[u8] = include_bytes!("etcd-3.5.16.db");

const PAGE: usize = 1024;

/// A database that is put together page by page.
struct Made(Vec<u8>);

impl Made {
    /// Two metas with this root bucket, and room for so many pages in all.
    fn new(root: u64, pages: u64) -> Self {
        let mut made = Self(vec![0; PAGE * pages as usize]);
        for number in 0..2 {
            let mut meta = Vec::new();
            for word in [0xED0C_DAEDu32, 2, PAGE as u32, 0] {
                meta.extend(word.to_le_bytes());
            }
            for word in [root, 0, u64::MAX, pages, 7 + number] {
                meta.extend(word.to_le_bytes());
            }
            let sum = meta
                .iter()
                .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
            meta.extend(sum.to_le_bytes());
            made.put(number, &[page_header(number, 4, 0, 0), meta].concat());
        }
        made
    }

    fn put(&mut self, number: u64, bytes: &[u8]) {
        let at = PAGE * number as usize;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn leaf(&mut self, number: u64, entries: &[(u32, &[u8], &[u8])]) {
        let room = leaf(0, 0, entries).len();
        self.put(number, &leaf(number, (room.saturating_sub(1) / PAGE) as u32, entries));
    }

    fn branch(&mut self, number: u64, children: &[u64]) {
        let mut bytes = page_header(number, 1, children.len() as u16, 0);
        for child in children {
            bytes.extend([0; 8]);
            bytes.extend(child.to_le_bytes());
        }
        self.put(number, &bytes);
    }

    /// The words for what is wrong, or the number of entries.
    fn walk(&self) -> Result<u64, String> {
        let mut entries = 0;
        let walked = bolt::walk(Cursor::new(&self.0), self.0.len() as u64, |found| {
            entries += u64::from(matches!(found, Found::Entry(..)));
        });
        walked.map(|()| entries).map_err(|error| error.to_string())
    }

    fn snapshot(mut self) -> Vec<u8> {
        seal(&mut self.0);
        self.0
    }
}

/// Puts the SHA-256 behind a database.
fn seal(database: &mut Vec<u8>) {
    let sum = Sha256::digest(&database);
    database.extend_from_slice(&sum);
}

fn page_header(number: u64, flags: u16, count: u16, overflow: u32) -> Vec<u8> {
    [&number.to_le_bytes()[..], &flags.to_le_bytes(), &count.to_le_bytes(), &overflow.to_le_bytes()].concat()
}

fn leaf(number: u64, overflow: u32, entries: &[(u32, &[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = page_header(number, 2, entries.len() as u16, overflow);
    let mut data = Vec::new();
    for (index, (flags, key, value)) in entries.iter().enumerate() {
        let offset = 16 * (entries.len() - index) + data.len();
        for word in [*flags, offset as u32, key.len() as u32, value.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        data.extend([*key, *value].concat());
    }
    [bytes, data].concat()
}

fn bucket(root: u64) -> Vec<u8> {
    [root.to_le_bytes(), [0; 8]].concat()
}

fn inline(entries: &[(u32, &[u8], &[u8])]) -> Vec<u8> {
    [bucket(0), leaf(0, 0, entries)].concat()
}

fn revision_key(main: u64) -> Vec<u8> {
    [&main.to_be_bytes()[..], b"_", &[0; 8]].concat()
}

/// A store of three keys over a branch and two leaves, one of which overflows, and a bucket `meta` inside its own entry.
fn made() -> Made {
    let mut made = Made::new(2, 9);
    let compacted = revision_key(9);
    let meta = inline(&[(0, b"consistent_index", &[1; 8]), (0, b"scheduledCompactRev", &compacted)]);
    made.leaf(2, &[(1, b"key", &bucket(3)), (1, b"meta", &meta)]);
    made.branch(3, &[4, 7]);
    let large = vec![b'x'; 2 * PAGE];
    let keys: Vec<_> = (2..5).map(revision_key).collect();
    made.leaf(4, &[(0, &keys[0], b"one"), (0, &keys[1], &large)]);
    made.leaf(7, &[(0, &keys[2], b"three")]);
    made
}

#[test]
fn a_snapshot_of_etcd_is_read_as_its_own_tool_reads_it() {
    let contents = read(&mut Cursor::new(REAL)).unwrap();
    // etcdutl 3.5.16 snapshot status -w json: {"hash":3750297896,"revision":9,"totalKey":16,"totalSize":20480}
    assert_eq!((contents.hash, contents.revision, contents.keys, contents.size), (3_750_297_896, 9, 16, 20_480 + 32));
    assert_eq!(contents.newest, 9);
    assert_eq!(contents.sha256, HEXLOWER.encode(&Sha256::digest(REAL)));
}

#[test]
fn branches_overflow_and_inline_buckets_are_gone_through() {
    let mut found = Vec::new();
    let made = made();
    let shown = |found: Found<'_>| match found {
        Found::Bucket(name) => String::from_utf8_lossy(name).into_owned(),
        Found::Entry(key, value) => format!("{} {}", key.len(), value.len()),
    };
    bolt::walk(Cursor::new(&made.0), made.0.len() as u64, |one| found.push(shown(one))).unwrap();
    assert_eq!(found, ["key", "17 3", "17 2048", "17 5", "meta", "16 8", "19 17"]);
}

#[test]
fn deleted_and_compacted_keys_count_for_the_newest_revision() {
    let contents = read(&mut Cursor::new(made().snapshot())).unwrap();
    assert_eq!((contents.revision, contents.newest, contents.keys), (4, 9, 5));
    assert!(contents.reaches(9).is_ok());
    let old = contents.reaches(10).unwrap_err();
    let words = "the snapshot ends at revision 9, and the member was at revision 10 before it was taken";
    assert_eq!(old.to_string(), words);
    // A store that nothing was written to is at revision 1.
    let mut empty = Made::new(2, 3);
    empty.leaf(2, &[(1, b"key", &inline(&[]))]);
    let contents = read(&mut Cursor::new(empty.snapshot())).unwrap();
    assert_eq!((contents.revision, contents.newest, contents.keys), (0, 1, 0));
}

#[test]
fn what_is_not_whole_is_refused() {
    let says = |bytes: Vec<u8>| Error::from(ShelfError::from(read(&mut Cursor::new(bytes)).unwrap_err())).line();
    let none = |size| {
        format!("the snapshot of {size} bytes is cut off, or a plain copy of a database: it has no SHA-256 at its end")
    };
    assert_eq!(says(Vec::new()), none(0));
    assert_eq!(says(vec![0; 32]), none(32));
    assert_eq!(says(REAL[..20_480].to_vec()), none(20_480));
    assert_eq!(says(REAL[..10_000].to_vec()), none(10_000));
    // `etcdutl snapshot status` finds nothing wrong with this one.
    let mut flipped = REAL.to_vec();
    flipped[20_000] ^= 1;
    let said = says(flipped);
    assert!(said.starts_with("the snapshot was damaged: its SHA-256 is "), "{said}");
    assert!(said.ends_with(" is written at its end"), "{said}");
    let mut no_database = vec![0; 4096];
    seal(&mut no_database);
    let broken = "the database in the snapshot is broken";
    let words = format!("{broken}: it is no bbolt database: neither of its meta pages is valid");
    assert_eq!(says(no_database), words);
    let mut half = made().0[..PAGE * 4].to_vec();
    seal(&mut half);
    assert_eq!(says(half), format!("{broken}: it is cut off: it has 4 of 9 pages"));
    let mut short = Made::new(2, 3);
    short.leaf(2, &[(1, b"key", &inline(&[(0, b"short", b"")]))]);
    assert_eq!(says(short.snapshot()), "the database in the snapshot holds a key without a revision");
}

type Change<'a> = &'a dyn Fn(&mut Made);

#[test]
fn broken_pages_are_named() {
    let cases: [(&str, Change<'_>); 11] = [
        ("page 3 of the database stands in two places of the tree", &|made| made.branch(3, &[4, 3])),
        ("page 4 of the database stands in two places of the tree", &|made| made.branch(3, &[4, 4])),
        // It overflows into 6.
        ("page 6 of the database says that it is another one", &|made| made.branch(3, &[4, 6])),
        ("page 9 of the database is outside of the file", &|made| made.branch(3, &[9])),
        ("page 1 of the database is outside of the file", &|made| made.branch(3, &[1])),
        ("page 8 of the database is outside of the file", &|made| {
            made.branch(3, &[8]);
            made.put(8, &page_header(8, 2, 0, u32::MAX));
        }),
        ("page 4 of the database is not in the order of its keys", &|made| made.branch(3, &[7, 4])),
        ("page 7 of the database is neither a branch nor a leaf", &|made| made.put(7, &page_header(7, 16, 0, 0))),
        ("page 7 of the database is cut off", &|made| made.put(7, &page_header(7, 2, 200, 0))),
        ("page 2 of the database holds an entry outside of all buckets", &|made| made.leaf(2, &[(0, b"key", b"")])),
        ("page 2 of the database holds a bucket within a bucket, which etcd never makes", &|made| {
            made.leaf(2, &[(1, b"key", &inline(&[(1, b"inner", &bucket(4))]))]);
        }),
    ];
    for (words, change) in cases {
        let mut made = made();
        change(&mut made);
        let said = made.walk().unwrap_err();
        assert_eq!(said, words);
    }
    // A page that shows its few bytes again and again would be endless work.
    let mut again = made();
    let mut bytes = leaf(7, 0, &[(0, b"a", &[0; 900]), (0, b"b", &[0; 9])]);
    bytes[16 + 16 + 4..][..4].copy_from_slice(&16u32.to_le_bytes());
    bytes[16 + 16 + 12..][..4].copy_from_slice(&900u32.to_le_bytes());
    again.put(7, &bytes);
    again.branch(3, &[7]);
    let said = again.walk().unwrap_err();
    assert_eq!(said, "page 7 of the database holds more than it has room for");
}

#[test]
fn the_newer_valid_meta_counts() {
    let mut made = made();
    made.0[30] ^= 1;
    assert_eq!(made.walk(), Ok(5));
    made.0[PAGE + 30] ^= 1;
    assert!(made.walk().is_err());
}

fn real() -> &'static [u8] {
    &REAL[..20_480]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever stands in the file: no panic, and an end.
    #[test]
    fn flipped_bytes_never_break_the_walk(
        flips in prop::collection::vec((0usize..20_480, any::<u8>()), 1..12),
        cut in prop_oneof![3 => Just(20_480usize), 1 => 0usize..20_480],
        of_ours in any::<bool>(),
    ) {
        static MADE: OnceLock<Vec<u8>> = OnceLock::new();
        let from = if of_ours { MADE.get_or_init(|| made().0).as_slice() } else { real() };
        let mut bytes = from[..cut.min(from.len())].to_vec();
        for (at, value) in flips {
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte = value;
            }
        }
        let mut seen = 0;
        let _ = bolt::walk(Cursor::new(&bytes), bytes.len() as u64, |found| {
            seen += match found {
                Found::Bucket(name) => name.len(),
                Found::Entry(key, value) => key.len() + value.len(),
            };
        });
        prop_assert!(seen <= bytes.len(), "{seen} bytes were shown of {}", bytes.len());
    }

    /// A flipped byte anywhere in a snapshot is noticed.
    #[test]
    fn no_flipped_byte_goes_unnoticed(at in 0usize..REAL.len(), bit in 0u8..8) {
        let mut bytes = REAL.to_vec();
        bytes[at] ^= 1 << bit;
        let noticed = matches!(read(&mut Cursor::new(bytes)), Err(SnapshotError::Damaged { .. }));
        prop_assert!(noticed);
    }
}

const FROM: Version = Version::new(3, 4, 23);
const TO: Version = Version::new(3, 5, 16);

fn taken(shelf: &Shelf, at: OffsetDateTime) -> Result<(std::path::PathBuf, Manifest), ShelfError> {
    let mut draft = shelf.draft()?;
    REAL.chunks(7000).try_for_each(|part| draft.write(part))?;
    let contents = draft.verify(9)?;
    let manifest = Manifest {
        file: file_name(at, &FROM, &TO),
        cluster: "prod".into(),
        cluster_id: "c1".into(),
        member: "node02".into(),
        member_id: "a2".into(),
        from: FROM,
        to: TO,
        cluster_version: Some("3.4.0".into()),
        revision: contents.revision,
        keys: contents.keys,
        hash: format!("{:08x}", contents.hash),
        size: contents.size,
        sha256: contents.sha256,
        taken: at,
        etcd_ha: "0.1.0".into(),
    };
    draft.keep(&manifest).map(|path| (path, manifest))
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_is_kept_with_its_manifest_and_for_its_owner_alone() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("etcd-ha/prod/snapshots");
    let shelf = Shelf::new(folder.clone());
    assert_eq!(shelf.kept().unwrap(), []);
    let (path, manifest) = taken(&shelf, datetime!(2026-11-24 03:15:00 +1)).unwrap();
    assert_eq!(path, folder.join("20261124T021500Z-3.4.23-to-3.5.16.db"));
    let all = ["20261124T021500Z-3.4.23-to-3.5.16.db", "20261124T021500Z-3.4.23-to-3.5.16.json"];
    assert_eq!(names(&folder), all);
    assert_eq!(std::fs::read(&path).unwrap(), REAL);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(&folder), mode(&path), mode(&folder.join(all[1]))], [0o700, 0o600, 0o600]);
    assert_eq!(shelf.kept().unwrap(), [manifest]);
    let text = std::fs::read_to_string(folder.join(all[1])).unwrap();
    assert!(text.contains("\n  \"taken\": \"2026-11-24T03:15:00+01:00\",\n"), "{text}");
    // Nothing takes the place of a snapshot that is there.
    let twice = taken(&shelf, datetime!(2026-11-24 02:15:00 UTC)).unwrap_err();
    assert!(Error::from(twice).line().contains("20261124T021500Z-3.4.23-to-3.5.16.json`: "));
    assert_eq!(names(&folder), all);
}

#[test]
fn what_is_not_whole_is_not_kept() {
    let state = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(state.path().join("snapshots"));
    let mut draft = shelf.draft().unwrap();
    draft.write(&REAL[..20_001]).unwrap();
    let error = Error::from(draft.verify(9).unwrap_err());
    assert!(error.line().contains("of 20001 bytes is cut off"), "{}", error.line());
    assert!(error.hint().unwrap().starts_with("nothing was touched: run the same command again"));
    drop(draft);
    assert_eq!(names(&state.path().join("snapshots")), [""; 0]);
}

#[test]
fn the_last_five_are_kept_and_nothing_of_others_is_deleted() {
    let state = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(state.path().to_path_buf());
    let theirs = [
        "20200101T000000Z-3.4.23-to-3.5.16.db",
        "20200102T000000Z-3.4.23-to-3.5.16.db",
        "20200102T000000Z-3.4.23-to-3.5.16.json",
        "before-the-move.db",
        "notes.json",
    ];
    for name in theirs {
        std::fs::write(shelf.path(name), "{}").unwrap();
    }
    let day = |day: u8| datetime!(2026-11-01 12:00 UTC).replace_day(day).unwrap();
    for number in 1..=7 {
        taken(&shelf, day(number)).unwrap();
    }
    let kept = |shelf: &Shelf| shelf.kept().unwrap().iter().map(|kept| kept.taken.day()).collect::<Vec<_>>();
    assert_eq!(kept(&shelf), [7, 6, 5, 4, 3]);
    let here = names(state.path());
    assert_eq!(here.len(), 5 * 2 + theirs.len(), "{here:?}");
    assert!(theirs.iter().all(|name| here.iter().any(|here| here == name)), "{here:?}");
    // The clock was set back: the one that was just taken stays nevertheless.
    taken(&shelf, day(1)).unwrap();
    assert_eq!(kept(&shelf), [7, 6, 5, 4, 1]);
    // One that was changed since is not counted, and not deleted.
    std::fs::write(shelf.path("20261107T120000Z-3.4.23-to-3.5.16.db"), "changed").unwrap();
    taken(&shelf, day(8)).unwrap();
    assert_eq!(kept(&shelf), [8, 6, 5, 4, 1]);
    assert!(shelf.path("20261107T120000Z-3.4.23-to-3.5.16.db").exists());
}

#[test]
fn what_a_killed_run_left_is_swept_away_after_an_hour() {
    let state = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(state.path().to_path_buf());
    for (name, minutes) in [(".incoming-old", 61), (".incoming-new", 59), ("other", 61)] {
        let file = std::fs::File::create(shelf.path(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(minutes * 60)).unwrap();
    }
    drop(shelf.draft().unwrap());
    assert_eq!(names(state.path()), [".incoming-new", "other"]);
}
