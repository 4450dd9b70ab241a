//! Whether what hosts hold is a certain cluster's, before any of it is deleted.
//!
//! Only records count that say so themselves: the environment file that we wrote beside the data, and the
//! ids in the data. What nothing is known of is nobody's to delete.

use super::super::config::{CLUSTER_ID, Membership, value_of};
use super::{BootstrapError, Found, moved, recorded};

/// Why what the hosts hold is not all of the cluster whose members would be `fresh`; with `data`, the data dirs
/// are looked at, too.
#[must_use]
pub fn of_others(found: &[Found], cluster: &str, fresh: &Membership, data: bool) -> Vec<BootstrapError> {
    let mut problems = Vec::new();
    let mut first = None;
    for host in found {
        let own = recorded(host, fresh);
        if let Some(was) = own.as_ref().and_then(|own| name_in(&own.token)).filter(|was| *was != cluster) {
            let (host, was, now) = (host.host.clone(), was.to_owned(), cluster.to_owned());
            problems.push(BootstrapError::OtherName { host, was, now });
            continue;
        }
        let elsewhere = moved(host);
        if !elsewhere.is_empty() {
            problems.extend(elsewhere);
            continue;
        }
        let stood = host.environment.as_deref().is_some_and(|text| value_of(text, CLUSTER_ID).is_some());
        let recorded = own.as_ref().map(|own| own.established.unwrap_or(own.cluster_id()));
        let wal = host.wal.filter(|_| data).map(|wal| wal.cluster);
        let (name, data_dir) = (host.host.clone(), host.data_dir.clone());
        if data && host.data {
            match (wal, recorded) {
                (None, _) => problems.push(BootstrapError::NotEtcd { host: name.clone(), data_dir: data_dir.clone() }),
                (Some(cluster), None) => {
                    problems.push(BootstrapError::Foreign { host: name.clone(), data_dir: data_dir.clone(), cluster })
                }
                (Some(cluster), Some(recorded)) if cluster != recorded => {
                    problems.push(BootstrapError::Mismatch { host: name.clone(), data_dir: data_dir.clone(), cluster })
                }
                (Some(_), Some(_)) => {}
            }
        }
        // A bootstrap that broke off may have begun anew with another token on some hosts.
        let Some(cluster) = wal.or(recorded.filter(|_| stood)) else { continue };
        match &first {
            None => first = Some((name, cluster)),
            Some((other_host, other)) if *other != cluster => problems.push(BootstrapError::Different {
                host: name,
                data_dir,
                cluster,
                other_host: other_host.clone(),
                other: *other,
            }),
            Some(_) => {}
        }
    }
    problems
}

/// The cluster's name in a token that was made for it: `prod-0123456789abcdef`.
fn name_in(token: &str) -> Option<&str> {
    let (name, random) = token.rsplit_once('-')?;
    (random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(name)
}
