//! The host field of a line: names, patterns and hashes.

use hmac::{Hmac, KeyInit as _, Mac as _};

/// Whether a host field, hashed or a list of patterns, is about `name`.
pub(super) fn matches(field: &str, name: &str) -> bool {
    if let Some(hashed) = field.strip_prefix("|1|") {
        return hash_matches(hashed, name).unwrap_or(false);
    }
    let mut matches = false;
    for pattern in field.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if glob(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => matches |= glob(pattern.as_bytes(), name.as_bytes()),
        }
    }
    matches
}

/// `salt|hash`, both in base64: HMAC-SHA1 of the name, keyed by the salt.
fn hash_matches(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let salt = data_encoding::BASE64.decode(salt.as_bytes()).ok()?;
    let hash = data_encoding::BASE64.decode(hash.as_bytes()).ok()?;
    let mac = Hmac::<sha1::Sha1>::new_from_slice(&salt).ok()?;
    Some(mac.chain_update(name).verify_slice(&hash).is_ok())
}

/// `*` stands for any number of characters, `?` for one; letters match in either case. Goes back
/// to the last `*` only, so that no pattern takes more than quadratic time.
pub(in crate::ssh) fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star = None;
    while let Some(byte) = name.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(b'?') => (at, read) = (at + 1, read + 1),
            Some(other) if other.eq_ignore_ascii_case(byte) => (at, read) = (at + 1, read + 1),
            _ => match star {
                Some((star_at, star_read)) => {
                    star = Some((star_at, star_read + 1));
                    (at, read) = (star_at + 1, star_read + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// `name` as HashKnownHosts has it written: `|1|salt|hash`, with a fresh salt of the hash's own length.
pub(super) fn hash(name: &str) -> Option<String> {
    let salt: [u8; 20] = rand::random();
    let mac = Hmac::<sha1::Sha1>::new_from_slice(&salt).ok()?.chain_update(name).finalize().into_bytes();
    let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    Some(format!("|1|{}|{}", base64(&salt), base64(&mac)))
}
