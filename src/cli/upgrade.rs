//! `etcd-ha upgrade`: a deploy of another version, which then stands in the inventory.

use super::Context;
use super::hops::Way;
use super::operation::{Acting, Ending, How, Operation, Supplies, own_or};
use super::options::release_version;
use crate::error::{Error, ExitStatus, Explain};
use crate::etcd::lint::Rules;
use crate::inventory::{Inventory, with_version};
use clap::Args;
use semver::Version;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

/// `etcd-ha upgrade`
#[derive(Debug, Args)]
pub(super) struct Upgrade {
    /// The version to go to.
    #[arg(long, value_name = "VERSION", value_parser = release_version)]
    to: Version,
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    supplies: Supplies,
    #[command(flatten)]
    way: Way,
    #[command(flatten)]
    acting: Acting,
    /// Say what would change, and touch nothing.
    #[arg(long, conflicts_with_all = ["probe", "pause"])]
    dry_run: bool,
    /// With `--dry-run`: exit with 10 if changes are pending.
    #[arg(long, requires = "dry_run")]
    detailed_exitcode: bool,
    /// A playbook in the place of deploy's own.
    #[arg(long, value_name = "FILE")]
    playbook: Option<PathBuf>,
}

/// The version could not be written into the inventory.
#[derive(Debug, thiserror::Error)]
enum NotWritten {
    /// There is no place for it.
    #[error("cannot put another version into `{}`", path.display())]
    NoPlace { path: PathBuf, version: Version },
    /// The playbook came to its end, but that was no upgrade.
    #[error("not every member is healthy and runs etcd {version}, so `{}` is left as it is", path.display())]
    NotEverywhere { path: PathBuf, version: Version },
    /// Somebody else wrote the file during the run.
    #[error("the members run etcd {version}, but `{}` was changed meanwhile and is left as it is", path.display())]
    Changed { path: PathBuf, version: Version },
    /// The file system would not have it.
    #[error("the members run etcd {version}, but it cannot be written into `{}`", path.display())]
    Io {
        path: PathBuf,
        version: Version,
        #[source]
        source: std::io::Error,
    },
}

impl Explain for NotWritten {
    fn hint(&self) -> Option<String> {
        let write = |version| format!("write `version: {version}` below `etcd:` by hand");
        Some(match self {
            Self::NoPlace { version, .. } => format!("{}, then `etcd-ha deploy`", write(version)),
            Self::NotEverywhere { .. } => "`etcd-ha health` says how every member is".to_owned(),
            Self::Changed { version, .. } | Self::Io { version, .. } => write(version),
        })
    }

    fn exit(&self) -> ExitStatus {
        match self {
            Self::NoPlace { .. } => ExitStatus::Usage,
            Self::NotEverywhere { .. } | Self::Changed { .. } | Self::Io { .. } => ExitStatus::Failed,
        }
    }
}

impl Upgrade {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let playbook = own_or("deploy", self.playbook)?;
        let path = self.operation.target.inventory.clone();
        let old = Inventory::text(&path)?;
        let version = self.to;
        let Some(new) = with_version(&old, &version) else {
            // What is wrong with the file comes first, by its own lines.
            Inventory::parse(&path, &old, &Rules)?;
            return Err(NotWritten::NoPlace { path, version }.into());
        };
        let inventory = Inventory::parse(&path, &new, &Rules)?;
        let write = |ending: &Ending| {
            if !ending.everywhere && ending.within_limit {
                return Ok(Some(format!("the inventory keeps its version until all members run {version}")));
            }
            if !ending.everywhere {
                return Err(NotWritten::NotEverywhere { path: path.clone(), version: version.clone() }.into());
            }
            if new == old {
                return Ok(None);
            }
            replace(&path, &old, &new, &version)?;
            Ok(Some(format!("version {version} written into {}", path.display())))
        };
        let how = How {
            command: if self.dry_run { "plan" } else { "upgrade" },
            dry: self.dry_run,
            detailed: self.detailed_exitcode,
            acting: self.acting,
            supplies: Some(self.supplies),
            giving_up: None,
            way: Some(self.way),
            up: true,
            at_the_end: &write,
        };
        self.operation.run(&context, &playbook, inventory, how)
    }
}

/// Puts `new` in the place of the file's text, which has to be `old`, in one step and with the file's
/// owner and mode. Of a link the file that it points to is written.
fn replace(path: &Path, old: &str, new: &str, version: &Version) -> Result<(), NotWritten> {
    let changed = || NotWritten::Changed { path: path.to_owned(), version: version.clone() };
    let failed = |source| NotWritten::Io { path: path.to_owned(), version: version.clone(), source };
    let file = path.canonicalize().map_err(failed)?;
    if std::fs::read(&file).map_err(failed)? != old.as_bytes() {
        return Err(changed());
    }
    let meta = std::fs::metadata(&file).map_err(failed)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut written = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    written.write_all(new.as_bytes()).map_err(failed)?;
    // Not everybody may give files away; whoever may not owns the file already, as a rule.
    let _ = chown(written.path(), Some(meta.uid()), Some(meta.gid()));
    written.as_file().set_permissions(meta.permissions()).map_err(failed)?;
    written.as_file().sync_all().map_err(failed)?;
    written.persist(&file).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_file_is_replaced_only_as_it_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("prod.yaml"), dir.path().join("link.yaml"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink("prod.yaml", &link).unwrap();
        let version = Version::new(3, 6, 14);
        replace(&link, "old", "new", &version).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(link.is_symlink());

        let error = replace(&file, "old", "newer", &version).unwrap_err();
        assert_eq!(error.exit(), ExitStatus::Failed);
        assert_eq!(
            (error.to_string(), error.hint().unwrap()),
            (
                format!(
                    "the members run etcd 3.6.14, but `{}` was changed meanwhile and is left as it is",
                    file.display()
                ),
                "write `version: 3.6.14` below `etcd:` by hand".to_owned()
            )
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}
