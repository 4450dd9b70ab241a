//! The few things to know about URLs (RFC 3986), as text.

use std::path::PathBuf;

use super::ReleaseError;

/// The scheme in lower case, if the text is a URL with an authority.
pub(super) fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    valid.then(|| scheme.to_ascii_lowercase())
}

/// The path of a `file:` URL (RFC 8089); `None` for one to be fetched by HTTP.
pub(super) fn file_path(url: &str) -> Result<Option<PathBuf>, ReleaseError> {
    let bad = |reason| Err(ReleaseError::BadUrl { url: shown(url), reason });
    match scheme(url).as_deref() {
        Some("http" | "https") => Ok(None),
        Some("file") => {
            let rest = &url["file://".len()..];
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return bad("a file URL has to have three slashes and an absolute path");
            }
            match percent_decoded(path) {
                Some(path) => Ok(Some(path.into())),
                None => bad("its percent-encoding is broken"),
            }
        }
        _ => bad("only https, http and file URLs are supported"),
    }
}

/// The name of the file that a URL names, percent-decoded.
pub(super) fn file_name(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?;
    let (_, rest) = path.split_once("://")?;
    let (_, name) = rest.rsplit_once('/')?;
    percent_decoded(name).filter(|name| !name.is_empty())
}

/// The URL of another file in the same folder, with the same query: a token may be part of it.
pub(super) fn sibling(url: &str, name: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let (path, query) = match url.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (url, None),
    };
    let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder);
    match query {
        Some(query) => format!("{folder}/{name}?{query}"),
        None => format!("{folder}/{name}"),
    }
}

/// A URL as people may see it: without password, query and fragment, which may be secrets.
pub(super) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{host}{path}")
        }
        None => url.to_owned(),
    }
}

/// Where a `Location` leads to, seen from `base` (RFC 3986, section 5.2, without dot segments).
pub(super) fn join(base: &str, location: &str) -> String {
    let location = location.split('#').next().unwrap_or_default();
    if scheme(location).is_some() {
        return location.to_owned();
    }
    let base = base.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    if location.starts_with("//") {
        return format!("{scheme}:{location}");
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    if location.starts_with('/') {
        return format!("{scheme}://{authority}{location}");
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{scheme}://{authority}{folder}/{location}")
}

/// `None` if an escape is broken or the result is not UTF-8.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for (text, expected) in [
            ("https://h/p", Some("https")),
            ("FILE:///p", Some("file")),
            ("./a://b", None),
            ("/srv/etcd.tar.gz", None),
            ("etcd.tar.gz", None),
            ("://x", None),
        ] {
            assert_eq!(scheme(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn file_urls_name_paths() {
        for (url, path) in [
            ("file:///srv/e.tgz", Some("/srv/e.tgz")),
            ("File://localhost/srv/my%20mirror/e.tgz", Some("/srv/my mirror/e.tgz")),
            ("http://h/e.tgz", None),
        ] {
            assert_eq!(file_path(url).unwrap(), path.map(PathBuf::from), "{url}");
        }
        for url in ["file://srv/e.tgz", "file:///a%2", "file:///a%zz", "file:///%ff", "ftp://h/e"] {
            assert!(matches!(file_path(url), Err(ReleaseError::BadUrl { .. })), "{url}");
        }
    }

    #[test]
    fn names_and_neighbours() {
        for (url, name, sums) in [
            ("http://h/v1/e.tgz", Some("e.tgz"), "http://h/v1/SHA256SUMS"),
            ("http://h/e%2Bx.tgz?t=a/b", Some("e+x.tgz"), "http://h/SHA256SUMS?t=a/b"),
            ("http://h/v1/", None, "http://h/v1/SHA256SUMS"),
        ] {
            assert_eq!(file_name(url).as_deref(), name, "{url}");
            assert_eq!(sibling(url, "SHA256SUMS"), sums, "{url}");
        }
        assert_eq!(file_name("http://h"), None);
    }

    #[test]
    fn secrets_in_urls_are_not_shown() {
        for (url, expected) in [
            ("https://h:1/p?token=s3cret#x", "https://h:1/p"),
            ("https://u:s3cret@h/p", "https://u@h/p"),
            ("https://u:s3@cret@h/p", "https://u@h/p"),
            ("https://u@h", "https://u@h"),
            ("http://h/a@b", "http://h/a@b"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn locations_lead_somewhere() {
        for (location, expected) in [
            ("https://o/x?y#z", "https://o/x?y"),
            ("//o/x", "http://o/x"),
            ("/x", "http://u@h:1/x"),
            ("x", "http://u@h:1/a/x"),
            ("x?u=http://y", "http://u@h:1/a/x?u=http://y"),
        ] {
            assert_eq!(join("http://u@h:1/a/b?c", location), expected, "{location}");
        }
        assert_eq!(join("http://h", "x"), "http://h/x");
    }
}
