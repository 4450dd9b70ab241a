//! A client certificate in the forms that programs take, and files that only their owner can read.

use super::SecretPem;
use super::client::ClientCertificate;
use super::error::PkiError;
use super::folder::{Content, Folder, NewFile};
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Certificate, key and CA, one after the other: the order in which programs take one file for all.
#[must_use]
pub fn pem_bundle(client: &ClientCertificate) -> Zeroizing<Vec<u8>> {
    let parts = [client.pair.certificate.as_bytes(), client.pair.key.expose().as_bytes(), client.ca.as_bytes()];
    Zeroizing::new(parts.concat())
}

/// Certificate, key and CA as PKCS#12 (RFC 7292), encrypted by AES-256 under `password`, which may be empty.
///
/// # Errors
/// The library refuses.
pub fn pkcs12(client: &ClientCertificate, password: &str) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let write = || {
        let key = PrivateKey::from_der(client.decoded.serialized_der())?;
        let chain = client.chain.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>()?;
        let mut store = KeyStore::new();
        let name = client.name.to_string();
        store.add_entry(&name, KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(name.as_str(), key, chain)));
        store.writer(password).write()
    };
    write().map(Zeroizing::new).map_err(|error: p12_keystore::error::Error| PkiError::Convert {
        name: client.name.to_string(),
        reason: error.to_string(),
    })
}

/// Writes `path`, readable by its owner alone from its first byte on; with `replace` in the place of what is there.
///
/// # Errors
/// There is a file already, or it cannot be written.
pub fn put(path: &Path, bytes: &[u8], replace: bool) -> Result<(), PkiError> {
    let write = || {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // 0600, and beside its place, so that nobody ever reads half of it.
        let mut file = tempfile::Builder::new().prefix(".etcd-ha-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let put = if replace { file.persist(path) } else { file.persist_noclobber(path) };
        put.map(drop).map_err(|error| error.error)
    };
    write().map_err(|source: io::Error| PkiError::Write { path: path.to_owned(), source })
}

/// Where a client's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The CA bundle.
    pub ca: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Keeps a client's certificate, key and CA in `folder`, for programs that want to be told of files. The folder is
/// its owner's alone, and so is each file; what is right already is left alone.
///
/// # Errors
/// A file cannot be written.
pub fn keep_for_a_client(client: &ClientCertificate, folder: &Path) -> Result<Place, PkiError> {
    let name = &client.name;
    let kept = Folder::new(folder);
    let private = |text: &str| SecretPem::new(Zeroizing::new(text.to_owned()));
    let files = [
        ("ca.pem".to_owned(), private(&client.ca)),
        (format!("{name}{}", super::folder::KEY_SUFFIX), client.pair.key.clone()),
        (format!("{name}.pem"), private(&client.pair.certificate)),
    ];
    let mut changed = Vec::new();
    for (file, content) in &files {
        if kept.read(file)?.is_none_or(|there| there.as_str() != content.expose()) {
            changed.push(NewFile { name: file.clone(), content: Content::Key(content.clone()) });
        }
    }
    let mut open: Vec<PathBuf> = kept.too_open()?.into_iter().map(|(path, _)| path).collect();
    for (file, _) in &files {
        let path = kept.file(file);
        if super::folder::open_mode(&path).is_ok_and(|mode| mode.is_some()) && !open.contains(&path) {
            open.push(path);
        }
    }
    if !changed.is_empty() || !open.is_empty() {
        kept.write(&open, &[], &changed)?;
    }
    let [ca, key, certificate] = files.map(|(file, _)| kept.file(&file));
    Ok(Place { ca, certificate, key })
}
