//! The algorithms to offer: ours, or those of ours that ssh_config allows, in its order.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, kex, mac};

use super::error::SshError;
use super::facts::{HostKeyFacts, Peer};
use super::hop::Algorithms;

/// How errors name the kind of algorithm that host keys are.
pub(super) const HOST_KEY: &str = "host key";
/// The keyword of ssh_config for it.
pub(super) const HOST_KEY_ALGORITHMS: &str = "HostKeyAlgorithms";

/// The first is the fastest where the processor knows AES, as servers' do.
const CIPHERS: [cipher::Name; 5] =
    [cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR];

/// Ciphers that prove by themselves that nobody has tampered: they need no MAC.
const NEED_NO_MAC: [cipher::Name; 3] = [cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305];

/// What belongs in the list of key exchanges and is none: who leaves it out goes without protection.
const KEX_EXTENSIONS: [kex::Name; 2] = [kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT];

const HOST_KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// What is known of a machine's keys before it shows one.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// The types that are on file for it; to be asked for first. A host known by its RSA key alone would otherwise
    /// show its Ed25519 key and look like another.
    pub(super) types: Vec<Algorithm>,
    /// Whether an authority is on file that may vouch for it.
    pub(super) certified: bool,
}

/// What is offered to the machine. The keys of `shown` are not asked for again.
///
/// # Errors
/// Nothing is left that ssh_config allows and the library knows.
pub(super) fn preferred(
    peer: &Peer,
    allowed: &Algorithms,
    expected: &Expected,
    shown: &[HostKeyFacts],
) -> Result<Preferred, SshError> {
    let excluded = |keyword, allowed: &[String], known: Vec<String>| SshError::NoAlgorithmAllowed {
        peer: peer.clone(),
        keyword,
        allowed: allowed.join(", "),
        known: known.join(", "),
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();

    let mut kex = Preferred::DEFAULT.kex.into_owned();
    if !allowed.kex.is_empty() {
        let known = kex::ALL_KEX_ALGORITHMS.iter().copied().filter(|name| **name != kex::NONE);
        kex = pick(&allowed.kex, known.clone());
        if kex.is_empty() {
            let known: Vec<&str> = known.map(AsRef::as_ref).collect();
            return Err(excluded("KexAlgorithms", &allowed.kex, names(&known)));
        }
        kex.extend(KEX_EXTENSIONS);
    }

    let mut ciphers = CIPHERS.to_vec();
    if !allowed.ciphers.is_empty() {
        let known = cipher::ALL_CIPHERS.iter().copied().filter(|name| ![cipher::NONE, cipher::CLEAR].contains(name));
        ciphers = pick(&allowed.ciphers, known.clone());
        if ciphers.is_empty() {
            let known: Vec<&str> = known.map(AsRef::as_ref).collect();
            return Err(excluded("Ciphers", &allowed.ciphers, names(&known)));
        }
    }

    let mut macs = Preferred::DEFAULT.mac.into_owned();
    if !allowed.macs.is_empty() {
        let known = mac::ALL_MAC_ALGORITHMS.iter().copied().filter(|name| **name != mac::NONE);
        let picked = pick(&allowed.macs, known.clone());
        if picked.is_empty() {
            // Our MACs stay on the list, since none at all is no list; no cipher is left that would use one.
            ciphers.retain(|name| NEED_NO_MAC.contains(name));
            if ciphers.is_empty() {
                let known: Vec<&str> = known.map(AsRef::as_ref).collect();
                return Err(excluded("MACs", &allowed.macs, names(&known)));
            }
        } else {
            macs = picked;
        }
    }

    let (keys, certificates) = host_keys(&allowed.host_keys, expected, shown);
    if keys.is_empty() && certificates.is_empty() {
        let known: Vec<String> = HOST_KEYS.iter().map(ToString::to_string).collect();
        return Err(excluded(HOST_KEY_ALGORITHMS, &allowed.host_keys, known));
    }
    Ok(Preferred {
        kex: Cow::Owned(kex),
        key: Cow::Owned(keys),
        host_key_certificates: Cow::Owned(certificates),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Owned(macs),
        ..Preferred::DEFAULT
    })
}

/// Those of `known` that are allowed, in the order in which they are.
fn pick<'a, N: AsRef<str> + Copy + 'a>(allowed: &[String], known: impl Iterator<Item = &'a N> + Clone) -> Vec<N> {
    allowed.iter().filter_map(|name| known.clone().find(|known| known.as_ref() == name)).copied().collect()
}

/// The host key types to ask for, and those to ask for with a certificate: what is on file for the host first.
fn host_keys(allowed: &[String], expected: &Expected, shown: &[HostKeyFacts]) -> (Vec<Algorithm>, Vec<Algorithm>) {
    let all = HOST_KEYS.iter().cloned();
    let (keys, mut certificates): (Vec<_>, Vec<_>) = if allowed.is_empty() {
        (all.clone().collect(), all.collect())
    } else {
        // SHA-1 is for those who ask for it.
        let all = all.chain([Algorithm::Rsa { hash: None }]);
        let named = |name: fn(&Algorithm) -> String| {
            let all = all.clone();
            let one = move |allowed: &String| all.clone().find(|algorithm| name(algorithm) == *allowed);
            allowed.iter().filter_map(one).collect::<Vec<_>>()
        };
        (named(ToString::to_string), named(Algorithm::to_certificate_type))
    };
    let fresh = |algorithm: &Algorithm| shown.iter().all(|key| key.algorithm != key_type(algorithm));
    let is_expected = |algorithm: &Algorithm| expected.types.iter().any(|known| key_type(known) == key_type(algorithm));
    let (mut first, rest): (Vec<_>, Vec<_>) = keys.into_iter().filter(fresh).partition(is_expected);
    first.extend(rest);
    // Without an authority there is nothing to be made of a certificate but its key.
    if !expected.certified && !first.is_empty() {
        certificates.clear();
    }
    certificates.retain(fresh);
    (first, certificates)
}

/// The type of key that an algorithm is for: one for all of RSA.
fn key_type(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None }.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer { host: "node01".into(), port: 22, address: None, via: None }
    }

    fn list(text: &str) -> Vec<String> {
        text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn shown(algorithm: &str) -> HostKeyFacts {
        HostKeyFacts {
            name: "node01".to_owned(),
            algorithm: algorithm.to_owned(),
            fingerprint: String::new(),
            certificate: None,
        }
    }

    fn offered(allowed: &Algorithms, expected: &Expected, shown: &[HostKeyFacts]) -> Result<[String; 5], String> {
        let offered = preferred(&peer(), allowed, expected, shown).map_err(|error| error.to_string())?;
        let join = |names: Vec<&str>| names.join(",");
        let keys: Vec<String> = offered.key.iter().map(ToString::to_string).collect();
        let certificates: Vec<String> =
            offered.host_key_certificates.iter().map(Algorithm::to_certificate_type).collect();
        Ok([
            join(offered.kex.iter().map(AsRef::as_ref).collect()),
            join(offered.cipher.iter().map(AsRef::as_ref).collect()),
            join(offered.mac.iter().map(AsRef::as_ref).collect()),
            keys.join(","),
            certificates.join(","),
        ])
    }

    #[test]
    fn what_ssh_config_allows_in_its_order() {
        let gcm = "aes256-gcm@openssh.com";
        let extensions = "ext-info-c,kex-strict-c-v00@openssh.com";
        let allowed = Algorithms {
            kex: list("sntrup761x25519-sha512,ecdh-sha2-nistp256,curve25519-sha256,none"),
            ciphers: list("aes128-ctr,3des-cbc,aes256-gcm@openssh.com,none"),
            macs: list("hmac-sha1,umac-64@openssh.com,hmac-sha2-256"),
            host_keys: list(
                "rsa-sha2-256,ssh-rsa,sk-ssh-ed25519@openssh.com,ssh-ed25519,ssh-ed25519-cert-v01@openssh.com",
            ),
        };
        let mut want = [
            format!("ecdh-sha2-nistp256,curve25519-sha256,{extensions}"),
            format!("aes128-ctr,{gcm}"),
            "hmac-sha1,hmac-sha2-256".to_owned(),
            "rsa-sha2-256,ssh-rsa,ssh-ed25519".to_owned(),
            String::new(),
        ];
        assert_eq!(offered(&allowed, &Expected::default(), &[]), Ok(want.clone()));
        // What is on file comes first, and certificates are asked for if they are of use.
        let expected = Expected { types: vec![Algorithm::Ed25519], certified: true };
        want[3] = "ssh-ed25519,rsa-sha2-256,ssh-rsa".to_owned();
        want[4] = "ssh-ed25519-cert-v01@openssh.com".to_owned();
        assert_eq!(offered(&allowed, &expected, &[]), Ok(want.clone()));
        want[3] = "ssh-ed25519".to_owned();
        assert_eq!(offered(&allowed, &expected, &[shown("ssh-rsa")]), Ok(want));
        // Without a word of ssh_config.
        let [kex, ciphers, macs, keys, certificates] = offered(&Algorithms::default(), &expected, &[]).unwrap();
        assert!(kex.starts_with("mlkem768x25519-sha256,curve25519-sha256,"), "{kex}");
        assert!(ciphers.starts_with(gcm) && macs.starts_with("hmac-sha2-512-etm"), "{ciphers} {macs}");
        assert!(keys.starts_with("ssh-ed25519,ecdsa-sha2-nistp256,") && !keys.contains("ssh-rsa"), "{keys}");
        assert_eq!(certificates.split(',').count(), 6);
        // Only certificates are allowed: their keys are looked at if there is no authority.
        let allowed = Algorithms { host_keys: list("ssh-ed25519-cert-v01@openssh.com"), ..Algorithms::default() };
        let [.., keys, certificates] = offered(&allowed, &Expected::default(), &[]).unwrap();
        assert_eq!((keys.as_str(), certificates.as_str()), ("", "ssh-ed25519-cert-v01@openssh.com"));
    }

    #[test]
    fn nothing_left_is_an_error_with_both_lists() {
        let none = Algorithms::default;
        for (allowed, words) in [
            (
                Algorithms { kex: list("sntrup761x25519-sha512,x"), ..none() },
                "no algorithm is left for `node01:22`: KexAlgorithms allows sntrup761x25519-sha512, x, and known here \
                 are mlkem768x25519-sha256, ",
            ),
            (Algorithms { ciphers: list("3des-cbc"), ..none() }, "Ciphers allows 3des-cbc, and known here are aes"),
            (
                Algorithms { macs: list("umac-64@openssh.com"), ciphers: list("aes256-ctr"), ..none() },
                "MACs allows umac-64@openssh.com, and known here are hmac-",
            ),
            (
                Algorithms { host_keys: list("ssh-dss"), ..none() },
                "HostKeyAlgorithms allows ssh-dss, and known here are ssh-ed25519, ",
            ),
        ] {
            let error = offered(&allowed, &Expected::default(), &[]).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        // Ciphers that need no MAC are not in want of one.
        let allowed = Algorithms { macs: list("umac-64@openssh.com"), ..none() };
        let [_, ciphers, ..] = offered(&allowed, &Expected::default(), &[]).unwrap();
        assert_eq!(ciphers, "aes256-gcm@openssh.com,chacha20-poly1305@openssh.com");
    }
}
