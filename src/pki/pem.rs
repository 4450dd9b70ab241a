//! PEM text (RFC 7468) to DER and back.
//!
//! Of our own, since the crates at hand leave copies of private keys behind in memory, or refuse
//! what OpenSSL writes: text around the blocks, several blocks in a file, legacy headers.

use data_encoding::BASE64;
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// The label of a certificate.
pub(super) const CERTIFICATE: &str = "CERTIFICATE";

/// One block between `-----BEGIN …-----` and `-----END …-----`.
pub(super) struct Block {
    /// What stands after `BEGIN`.
    pub(super) label: String,
    /// Whether its headers say that it is encrypted (RFC 1421, as in `Proc-Type: 4,ENCRYPTED`);
    /// `der` is then cipher text.
    pub(super) encrypted: bool,
    /// The bytes.
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// Why a text is no PEM; never quotes the text, which may be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PemFlaw {
    /// The last block has no end.
    #[error("its PEM text is cut off")]
    Cut,
    /// A block is not base64.
    #[error("its PEM text is not valid base64")]
    Base64,
}

/// Every block of `text`, in order; what stands around the blocks is left out.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>, PemFlaw> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = boundary(line, "BEGIN") else {
            continue;
        };
        let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
        let mut encrypted = false;
        loop {
            let line = lines.next().ok_or(PemFlaw::Cut)?;
            if boundary(line, "END") == Some(label) {
                break;
            } else if line.contains(':') {
                encrypted |= line.starts_with("Proc-Type:") && line.contains("ENCRYPTED");
            } else {
                base64.push_str(line);
            }
        }
        let der = BASE64.decode(base64.as_bytes()).or(Err(PemFlaw::Base64))?;
        blocks.push(Block { label: label.to_owned(), encrypted, der: Zeroizing::new(der) });
    }
    Ok(blocks)
}

fn boundary<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix("-----")?.strip_prefix(word)?.strip_prefix(' ')?.strip_suffix("-----")
}

/// The DER bytes of every certificate in `text`, in order.
pub(super) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, PemFlaw> {
    Ok(blocks(text)?.into_iter().filter(|block| block.label == CERTIFICATE).map(|block| block.der.to_vec()).collect())
}

/// `der` as a block, with lines of 64 characters as OpenSSL writes them.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(BASE64.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(base64.len() * 66 / 64 + 128));
    let _ = writeln!(text, "-----BEGIN {label}-----");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_the_blocks_among_other_text() {
        let text = "subject=CN = x\r\n-----BEGIN EC PARAMETERS-----\r\nBggqhkjOPQMBBw==\r\n-----END EC PARAMETERS-----\r\n\
            text\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAEC\n-----END RSA PRIVATE KEY-----\n";
        let blocks = blocks(text).unwrap();
        let seen: Vec<_> = blocks.iter().map(|b| (b.label.as_str(), b.encrypted, b.der.len())).collect();
        assert_eq!(seen, [("EC PARAMETERS", false, 10), ("RSA PRIVATE KEY", true, 3)]);
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, flaw) in [
            ("-----BEGIN X-----\nAAEC\n", PemFlaw::Cut),
            ("-----BEGIN X-----\nAAEC\n-----END Y-----\n", PemFlaw::Cut),
            ("-----BEGIN X-----\nA!EC\n-----END X-----\n", PemFlaw::Base64),
            ("-----BEGIN X-----\nAAE\n-----END X-----\n", PemFlaw::Base64),
        ] {
            assert_eq!(blocks(text).err(), Some(flaw), "{text}");
        }
        assert!(blocks("").unwrap().is_empty());
        assert!(blocks("no PEM at all").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(der in prop::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("SOME THING", &der);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            let read = blocks(&text).unwrap();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(read[0].der.as_slice(), der.as_slice());
        }

        #[test]
        fn no_text_panics(text in "(-----(BEGIN|END) [A-Z ]{0,3}-----\n|[A-Za-z0-9+/=:]{0,8}\n?){0,8}") {
            let _ = blocks(&text);
        }
    }
}
