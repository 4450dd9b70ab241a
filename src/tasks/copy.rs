//! `copy`: a file of the controller is brought to the host.

use super::template::Template;
use super::{Decision, Hands, HostTask, Needs, TaskError, View};
use crate::host::Script;
use crate::ssh::quote;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

/// Copy a file of the controller.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// The file on the controller.
    src: Template,
    /// Where it goes on the host.
    dest: Template,
    /// Permission bits in octal, as `"0644"`.
    #[serde(default = "readable", deserialize_with = "octal")]
    mode: String,
    /// `user` or `user:group`.
    #[serde(default = "root", deserialize_with = "owner")]
    owner: String,
}

fn readable() -> String {
    "0644".to_owned()
}

/// Permission bits, refused where they are none: on a host, the file would have been sent by then.
fn octal<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match u32::from_str_radix(&text, 8) {
        Ok(bits) if bits <= 0o7777 && text.len() >= 3 => Ok(text),
        _ => Err(serde::de::Error::custom(format_args!("`{text}` is no mode; write it in octal, as \"0644\""))),
    }
}

/// `user` or `user:group`: no other form of chown's could be compared with what is there.
fn owner<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let name = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == ':');
    if text.split_once(':').map_or(name(&text), |(user, group)| name(user) && name(group)) {
        return Ok(text);
    }
    Err(serde::de::Error::custom(format_args!("`{text}` is no owner; write `user` or `user:group`")))
}

/// The SHA-256 of a file, however large it is. It has to be one: it is read again when it is sent.
fn digest(path: &Path) -> io::Result<String> {
    let mut file = crate::files::open(path)?;
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let mut digest = Sha256::new();
    let mut part = vec![0; 64 << 10];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(data_encoding::HEXLOWER.encode(&digest.finalize())),
            count => digest.update(&part[..count]),
        }
    }
}

fn root() -> String {
    "root:root".to_owned()
}

impl Copy {
    fn digest(&self, view: &View<'_>) -> Result<String, TaskError> {
        let path = self.src.expand(view);
        digest(Path::new(&path)).map_err(|source| TaskError::Local { path, source })
    }

    /// Written beside its place, checked, and renamed: a connection that dies leaves the old file.
    pub(super) fn script(&self, view: &View<'_>) -> Result<String, TaskError> {
        Ok(format!(
            "dest={dest}\numask 077\ntmp=$(mktemp \"$dest.XXXXXX\")\ntrap 'rm -f \"$tmp\"' EXIT\ncat >\"$tmp\"\n\
             [ \"$(sha256sum <\"$tmp\")\" = '{digest}  -' ] || {{ echo 'it arrived incomplete' >&2; exit 1; }}\n\
             chmod {mode} \"$tmp\"\nchown {owner} \"$tmp\"\nsync \"$tmp\"\nmv -T \"$tmp\" \"$dest\"\n",
            dest = quote(&self.dest.expand(view)),
            digest = self.digest(view)?,
            mode = quote(&self.mode),
            owner = quote(&self.owner),
        ))
    }
}

impl HostTask for Copy {
    fn needs(&self, view: &View<'_>) -> Needs {
        let dest = quote(&self.dest.expand(view));
        // A file that cannot be read here is the check's to report.
        let probe = self.digest(view).ok().map(|digest| {
            format!(
                "[ -f {dest} ] && [ \"$(sha256sum <{dest})\" = '{digest}  -' ] \
                 && [ \"$(printf %o \"0$(stat -c %a {dest})\")\" = \"$(printf %o \"0\"{mode})\" ] \
                 && case \" $(stat -c {owners} {dest}) \" in *{owner}*) ;; *) false;; esac",
                mode = quote(&self.mode),
                // Each half may be a name or a number.
                owners = if self.owner.contains(':') { "'%U:%G %u:%g %U:%g %u:%G'" } else { "'%U %u'" },
                owner = quote(&format!(" {} ", self.owner)),
            )
        });
        Needs { probe, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        self.digest(view)?;
        Ok(match view.probe {
            Some(0) => Decision::Nothing,
            _ => Decision::change(format!("copy {} to {}", self.src.expand(view), self.dest.expand(view))),
        })
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        let text = self.script(view)?;
        let src = self.src.expand(view);
        let what = format!("copy {src}");
        let script = Script::new(&what, &text).with_file(std::path::Path::new(&src), Arc::new(|_| {}));
        hands.connection.run(script).await?;
        Ok(())
    }
}
