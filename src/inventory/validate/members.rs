//! The members together: nothing shared that must not be, and what their number means.

use super::hosts::ports;
use super::{Defaults, Validation};
use crate::inventory::problem::{Problem, quoted};
use crate::inventory::tree::At;
use crate::inventory::{rules, schema};
use std::collections::HashMap;

impl Validation<'_> {
    /// No two members may share a name, an address and port, or a machine.
    pub(super) fn distinct(&mut self, hosts: &[At<schema::Host>], defaults: &Defaults) {
        let mut names: HashMap<String, &At<String>> = HashMap::new();
        let mut addresses: HashMap<(String, u16), (usize, &At<String>)> = HashMap::new();
        let mut machines: HashMap<(String, u16), &At<String>> = HashMap::new();
        self.no_names_of_others(hosts);
        for (index, host) in hosts.iter().enumerate() {
            let host = &host.value;
            if let Some(name) = &host.name
                && let Some(first) = names.insert(name.value.to_ascii_lowercase(), name)
            {
                let message = if first.value == name.value {
                    format!("two hosts are named {}", quoted(&name.value))
                } else {
                    let (first, name) = (quoted(&first.value), quoted(&name.value));
                    format!("names {first} and {name} differ in case only")
                };
                self.twice(message, first, name, "every member needs a name of its own");
            }
            let Some(address) = &host.address else {
                continue;
            };
            let canonical = rules::canonical_address(&address.value);
            let (client, peer) = ports(host, defaults);
            let clash = [client, peer].into_iter().filter_map(|port| {
                let (first, place) = addresses.insert((canonical.clone(), port), (index, address))?;
                (first != index).then_some((port, place))
            });
            // Both ports are to be taken, even if the first one clashes already.
            let clash = clash.collect::<Vec<_>>().into_iter().next();
            let ssh = host.ssh.as_ref().map(|at| &at.value);
            let reached = ssh.and_then(|ssh| ssh.address.as_ref()).unwrap_or(address);
            let ssh_port = ssh.and_then(|ssh| ssh.port.as_ref()).or(defaults.ssh.port.as_ref());
            let ssh_port = ssh_port.map_or(22, |at| at.value.0);
            let machine = machines.insert((rules::canonical_address(&reached.value), ssh_port), reached);
            if let Some((port, first)) = clash {
                let shown = quoted(&address.value);
                let message = format!("two hosts have the address {shown} and port {port}");
                self.twice(message, first, address, "every member needs an address of its own");
            } else if let Some(first) = machine {
                let shown = quoted(&reached.value);
                let message = format!("two hosts are reached over SSH at {shown} port {ssh_port}");
                let help = "two members on one machine fail together, and would share one unit and one data folder";
                self.twice(message, first, reached, help);
            }
        }
    }

    /// A certificate that names another member's address would be taken for that member's.
    fn no_names_of_others(&mut self, hosts: &[At<schema::Host>]) {
        let mut owners: HashMap<String, (usize, &At<String>)> = HashMap::new();
        for (index, host) in hosts.iter().enumerate() {
            if let Some(address) = &host.value.address {
                owners.entry(rules::canonical_address(&address.value)).or_insert((index, address));
            }
        }
        for (index, host) in hosts.iter().enumerate() {
            let own = host.value.address.as_ref().map(|own| rules::canonical_address(&own.value));
            for extra in host.value.extra_names.iter().flat_map(|names| &names.value.0) {
                let named = rules::canonical_address(&extra.value);
                if let Some((other, address)) = owners.get(&named)
                    && *other != index
                    && own.as_ref() != Some(&named)
                {
                    let message = format!("{} is another host's address", quoted(&extra.value));
                    let help = "with it in its certificate this member could pass for that one";
                    self.add(
                        Problem::new(message, extra.span.clone())
                            .label("named as one of this host's")
                            .and(address.span.clone(), "whose address it is")
                            .help(help),
                    );
                }
            }
        }
    }

    fn twice(&mut self, message: String, first: &At<String>, again: &At<String>, help: &str) {
        self.add(
            Problem::new(message, again.span.clone())
                .label("and again here")
                .and(first.span.clone(), "first used here")
                .help(help),
        );
    }
}

/// What a number of members means for the failures that the cluster survives: a quorum is more than
/// half of them, so an even number tolerates no more than the odd one below it (etcd's FAQ,
/// "What is failure tolerance?" and "Why an odd number of cluster members?").
pub(super) fn member_count(members: usize) -> Option<String> {
    let tolerated = |members: usize| members.saturating_sub(1) / 2;
    let failures = |count: usize| match count {
        0 => "no failure".to_owned(),
        1 => "1 failure".to_owned(),
        count => format!("{count} failures"),
    };
    let quorum = members / 2 + 1;
    match members {
        0 => None,
        1 => Some("1 member tolerates no failure: while its host is down, so is the cluster".to_owned()),
        2 => Some(
            "2 members tolerate no failure, as 1 does; quorum is 2, so the cluster stops when either host is down"
                .to_owned(),
        ),
        even if even % 2 == 0 => Some(format!(
            "{even} members tolerate {}, as {} do; quorum is {quorum}",
            failures(tolerated(even)),
            even - 1
        )),
        many if many > 7 => Some(format!(
            "{many} members tolerate {}, but every write waits for {quorum} of them; etcd's advice is 7 at most",
            failures(tolerated(many))
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::member_count;

    #[test]
    fn member_counts() {
        for (members, want) in [
            (1, Some("1 member tolerates no failure: while its host is down, so is the cluster")),
            (
                2,
                Some(
                    "2 members tolerate no failure, as 1 does; quorum is 2, so the cluster stops when either host is down",
                ),
            ),
            (3, None),
            (4, Some("4 members tolerate 1 failure, as 3 do; quorum is 3")),
            (5, None),
            (6, Some("6 members tolerate 2 failures, as 5 do; quorum is 4")),
            (7, None),
            (8, Some("8 members tolerate 3 failures, as 7 do; quorum is 5")),
            (9, Some("9 members tolerate 4 failures, but every write waits for 5 of them; etcd's advice is 7 at most")),
        ] {
            assert_eq!(member_count(members).as_deref(), want);
        }
    }
}
