//! A known_hosts file, read once for all the hosts of a run that stand in it.
//!
//! A thousand hosts and a file of a thousand lines would be a million lines read, and a thousand copies
//! of the file in memory.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A file's text, and which of its lines are about whom.
#[derive(Debug, Default)]
pub(super) struct Text {
    lines: Vec<Box<str>>,
    /// Lines that name their hosts in full, by each name, in lower case.
    by_name: HashMap<String, Vec<usize>>,
    /// Lines that may be about anybody: hashed names, patterns, markers.
    others: Vec<usize>,
    /// What was found out already: a hashed name takes a digest of every hashed line.
    found: Mutex<HashMap<String, Arc<[usize]>>>,
}

/// By what a file is known to be the same still; whoever writes a line makes it longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    changed: (i64, i64),
}

impl Text {
    pub(super) fn new(text: &str) -> Self {
        let mut new = Self { lines: text.lines().map(Box::from).collect(), ..Self::default() };
        for (index, line) in new.lines.iter().enumerate() {
            let Some(names) = line.split([' ', '\t']).find(|field| !field.is_empty()) else { continue };
            if names.starts_with('#') {
                continue;
            }
            if names.starts_with(['@', '|']) || names.contains(['*', '?', '!']) {
                new.others.push(index);
                continue;
            }
            for name in names.split(',') {
                new.by_name.entry(name.to_ascii_lowercase()).or_default().push(index);
            }
        }
        new
    }

    /// Reads a file, unless it is the same as it was when it was read last.
    pub(super) fn read(path: &Path) -> io::Result<Arc<Self>> {
        static READ: Mutex<BTreeMap<PathBuf, (Stamp, Arc<Text>)>> = Mutex::new(BTreeMap::new());
        let metadata = fs::metadata(path)?;
        let stamp = Stamp {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, text)) = read.get(path)
            && *then == stamp
        {
            return Ok(Arc::clone(text));
        }
        // A line that is not text can only match in its comment, and is skipped otherwise.
        let text = Arc::new(Self::new(&String::from_utf8_lossy(&fs::read(path)?)));
        read.insert(path.to_path_buf(), (stamp, Arc::clone(&text)));
        Ok(text)
    }

    /// The lines that `is_about` holds for, with their numbers from 1; `name` is in lower case, and only
    /// lines that may be about it are asked after.
    pub(super) fn about(&self, name: &str, is_about: impl Fn(&str) -> bool) -> Vec<(usize, &str)> {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let found = known.unwrap_or_else(|| {
            let named = self.by_name.get(name).into_iter().flatten();
            let mut indices: Vec<usize> = named.chain(&self.others).copied().collect();
            indices.sort_unstable();
            indices.dedup();
            indices.retain(|index| is_about(&self.lines[*index]));
            let indices: Arc<[usize]> = indices.into();
            self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::clone(&indices));
            indices
        });
        found.iter().map(|index| (index + 1, &*self.lines[*index])).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::Text;

    #[test]
    fn only_lines_that_may_be_about_a_host_are_asked_after() {
        let text = Text::new(
            "# comment\n\nnode01,10.0.0.1 k\nNode02 k\n|1|salt|hash k\n@revoked node01 k\n10.0.* k\n  node01,node01 k\n!node03 k\n",
        );
        for (name, expected) in [
            ("node01", &[3, 5, 6, 7, 8, 9][..]),
            ("10.0.0.1", &[3, 5, 6, 7, 9]),
            ("node02", &[4, 5, 6, 7, 9]),
            ("node03", &[5, 6, 7, 9]),
        ] {
            for _ in 0..2 {
                let lines: Vec<usize> = text.about(name, |_| true).into_iter().map(|(line, _)| line).collect();
                assert_eq!(lines, expected, "{name}");
            }
        }
    }

    #[test]
    fn a_file_is_read_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        assert_eq!(Text::read(&path).unwrap_err().kind(), std::io::ErrorKind::NotFound);
        fs::write(&path, "node01 a\n").unwrap();
        let first = Text::read(&path).unwrap();
        assert!(Arc::ptr_eq(&first, &Text::read(&path).unwrap()));
        fs::write(&path, "node01 a\nnode02 b\n").unwrap();
        let second = Text::read(&path).unwrap();
        assert_eq!(second.about("node02", |_| true), [(2, "node02 b")]);
        assert_eq!(first.about("node02", |_| true), []);
    }
}
