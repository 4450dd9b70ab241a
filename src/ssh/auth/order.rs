//! Which keys are tried, and in which order.

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;

/// A key or a certificate that may be tried, by its place in the list it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Candidate {
    /// A key of the agent.
    Agent(usize),
    /// A certificate of the agent.
    AgentCertificate(usize),
    /// A key file.
    File(usize),
    /// A certificate's file.
    Certificate(usize),
}

/// What there is to choose from.
#[derive(Debug, Default)]
pub(super) struct AtHand<'a> {
    /// Whether files were asked for by name.
    pub(super) named: bool,
    /// Whether only they may be tried (IdentitiesOnly).
    pub(super) only: bool,
    /// The public halves of the key files, where they are known.
    pub(super) files: Vec<Option<&'a PublicKey>>,
    /// Which of the files does not show its public half and has a passphrase.
    pub(super) blind: Vec<usize>,
    /// The keys of the certificates' files, where they could be read.
    pub(super) certificates: Vec<Option<&'a KeyData>>,
    /// The agent's keys.
    pub(super) agent: Vec<&'a PublicKey>,
    /// The keys of the agent's certificates.
    pub(super) agent_certificates: Vec<&'a KeyData>,
}

/// The order in which keys are tried, as OpenSSH has it (sshconnect2.c, pubkey_prepare): certificates first, those from
/// files before the agent's; then the agent's copies of the files' keys. Unlike with OpenSSH, files that were asked for
/// by name come before the agent's other keys and certificates, since an agent full of keys must not use up the tries;
/// default files come after them. Last is what needs a passphrase before the server can be asked whether it would take it.
pub(super) fn order(at_hand: &AtHand<'_>) -> Vec<Candidate> {
    let AtHand { named, only, files, blind, certificates, agent, agent_certificates } = at_hand;
    let of_files: Vec<&KeyData> = files.iter().flatten().map(|key| key.key_data()).collect();
    let is_named =
        |key: &KeyData| of_files.contains(&key) || certificates.iter().flatten().any(|certified| *certified == key);

    let mut order: Vec<Candidate> = (0..certificates.len()).map(Candidate::Certificate).collect();
    let mut copies: Vec<Candidate> = Vec::new();
    for key in &of_files {
        for (index, _) in agent_certificates.iter().enumerate().filter(|(_, certified)| *certified == key) {
            push(&mut order, Candidate::AgentCertificate(index));
        }
        if let Some(index) = agent.iter().position(|held| held.key_data() == *key) {
            push(&mut copies, Candidate::Agent(index));
        }
    }
    let mut other_certificates: Vec<Candidate> = Vec::new();
    for (index, _) in agent_certificates.iter().enumerate().filter(|(_, key)| !*only || is_named(key)) {
        if !order.contains(&Candidate::AgentCertificate(index)) {
            push(&mut other_certificates, Candidate::AgentCertificate(index));
        }
    }
    let mut others: Vec<Candidate> = Vec::new();
    for (index, _) in agent.iter().enumerate().filter(|(_, key)| !*only || is_named(key.key_data())) {
        if !copies.contains(&Candidate::Agent(index)) {
            push(&mut others, Candidate::Agent(index));
        }
    }
    let in_sight = (0..files.len()).filter(|index| !blind.contains(index)).map(Candidate::File);
    if *named {
        order.extend(copies.into_iter().chain(in_sight).chain(other_certificates).chain(others));
    } else {
        order.extend(other_certificates.into_iter().chain(copies).chain(others).chain(in_sight));
    }
    order.extend(blind.iter().copied().map(Candidate::File));
    order
}

fn push(list: &mut Vec<Candidate>, candidate: Candidate) {
    if !list.contains(&candidate) {
        list.push(candidate);
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::PublicKey;
    use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData};

    use super::Candidate::{Agent, AgentCertificate, Certificate, File};
    use super::{AtHand, order};

    fn key(number: u8) -> PublicKey {
        PublicKey::from(KeyData::Ed25519(Ed25519PublicKey([number; 32])))
    }

    #[test]
    fn the_order_of_keys() {
        let keys: Vec<PublicKey> = (0..10).map(key).collect();
        let agent: Vec<&PublicKey> = keys[1..=3].iter().collect();
        for (named, files, expected) in [
            (false, vec![], vec![Agent(0), Agent(1), Agent(2)]),
            (false, vec![Some(9)], vec![Agent(0), Agent(1), Agent(2), File(0)]),
            (false, vec![Some(3), None], vec![Agent(2), Agent(0), Agent(1), File(0), File(1)]),
            (true, vec![Some(9)], vec![File(0), Agent(0), Agent(1), Agent(2)]),
            (true, vec![None, Some(2)], vec![Agent(1), File(0), File(1), Agent(0), Agent(2)]),
            (true, vec![Some(2), Some(2)], vec![Agent(1), File(0), File(1), Agent(0), Agent(2)]),
        ] {
            let files = files.iter().map(|file| file.map(|number: usize| &keys[number])).collect::<Vec<_>>();
            let at_hand = AtHand { named, files, agent: agent.clone(), ..AtHand::default() };
            assert_eq!(order(&at_hand), expected, "{at_hand:?}");
        }
        assert_eq!(order(&AtHand { named: true, files: vec![Some(&keys[1])], ..AtHand::default() }), [File(0)]);
        assert_eq!(order(&AtHand::default()), []);
    }

    #[test]
    fn certificates_come_first_and_named_ones_before_the_rest() {
        let keys: Vec<PublicKey> = (0..10).map(key).collect();
        let data: Vec<&KeyData> = keys.iter().map(PublicKey::key_data).collect();
        // The agent has keys 1 to 3, certificates for 1, 2 and, without its plain key, 5.
        let agent = || keys[1..=3].iter().collect::<Vec<_>>();
        let certified = || vec![data[1], data[2], data[5]];
        for (named, only, files, certificates, expected) in [
            // Defaults: what the agent has goes before the files, certificates before keys.
            (
                false,
                false,
                vec![Some(2), Some(9)],
                vec![],
                vec![
                    AgentCertificate(1),
                    AgentCertificate(0),
                    AgentCertificate(2),
                    Agent(1),
                    Agent(0),
                    Agent(2),
                    File(0),
                    File(1),
                ],
            ),
            // Named: what belongs to the name goes first, be it a certificate or a key.
            (
                true,
                false,
                vec![Some(2)],
                vec![Some(2), None],
                vec![
                    Certificate(0),
                    Certificate(1),
                    AgentCertificate(1),
                    Agent(1),
                    File(0),
                    AgentCertificate(0),
                    AgentCertificate(2),
                    Agent(0),
                    Agent(2),
                ],
            ),
            // Only what is named, by a key or by a certificate.
            (
                true,
                true,
                vec![Some(2)],
                vec![Some(5)],
                vec![Certificate(0), AgentCertificate(1), Agent(1), File(0), AgentCertificate(2)],
            ),
            (false, true, vec![Some(9)], vec![], vec![File(0)]),
        ] {
            let at_hand = AtHand {
                named,
                only,
                files: files.iter().map(|file| file.map(|number: usize| &keys[number])).collect(),
                certificates: certificates.iter().map(|file| file.map(|number: usize| data[number])).collect(),
                agent: agent(),
                agent_certificates: certified(),
                blind: Vec::new(),
            };
            assert_eq!(order(&at_hand), expected, "{at_hand:?}");
        }
    }

    #[test]
    fn what_the_server_cannot_be_asked_about_comes_last() {
        let keys: Vec<PublicKey> = (0..3).map(key).collect();
        let at_hand = AtHand {
            named: true,
            files: vec![None, Some(&keys[1])],
            blind: vec![0],
            agent: vec![&keys[2]],
            ..AtHand::default()
        };
        assert_eq!(order(&at_hand), [File(1), Agent(0), File(0)]);
    }
}
