//! What the members' ports show: certificates that are wrong although nobody complains yet, and complaints that are over.

use super::words::list;
use super::{Finding, Scene, Step, Weight};
use crate::diagnosis::certificates::{PortProblem, PortReport, next_steps};
use crate::inventory::Host;
use crate::pki::ServedFlaw;

/// The signatures that tell of a certificate, or of the CA that is trusted.
const COMPLAINTS: &[&str] = &[
    "certificate-cut",
    "expired",
    "gateway",
    "no-client-usage",
    "not-a-pair",
    "other-ca",
    "served-expired",
    "served-other-ca",
    "served-wrong-name",
    "told-bad",
    "told-expired",
    "told-other-ca",
    "wrong-dns-name",
    "wrong-name",
];

/// Whether a complaint of this signature about the member on `host` is over: etcd reads certificates at every handshake,
/// and both ports of a member that runs show what they should.
pub(super) fn over(scene: &Scene, host: &Host, signature: &str) -> bool {
    let runs = scene.near(host).is_some_and(|near| near.seen.unit.ready());
    let mut ports = ports(scene, host).peekable();
    let shown = ports.peek().is_some() && ports.all(|port| port.outcome.is_ok() && wrong(port).is_empty());
    runs && shown && COMPLAINTS.contains(&signature)
}

/// What is wrong with what a member shows, that has no other cause.
pub(super) fn shown(scene: &Scene, host: &Host) -> Option<Finding> {
    let wrong: Vec<(&PortReport, Vec<PortProblem>)> =
        ports(scene, host).map(|port| (port, wrong(port))).filter(|(_, problems)| !problems.is_empty()).collect();
    if wrong.is_empty() {
        return None;
    }
    let names: Vec<String> = wrong.iter().map(|(port, _)| format!("{} port {}", port.role, port.port)).collect();
    let names = list(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let problems: Vec<PortProblem> = wrong.iter().flat_map(|(_, problems)| problems.clone()).collect();
    // One that is another than that in the PKI folder serves as long as nothing else is wrong with it.
    let serves = |problem: &PortProblem| matches!(problem, PortProblem::Flaw(ServedFlaw::Other { .. }));
    let (weight, cause) = if problems.iter().all(serves) {
        (Weight::Notice, format!("the certificate at its {names} is another than that in the PKI folder"))
    } else if problems.contains(&PortProblem::Open) {
        (Weight::Fault, format!("its {names} lets in who shows no certificate"))
    } else {
        (Weight::Fault, format!("the certificate at its {names} is wrong: new connections fail"))
    };
    let evidence = wrong
        .iter()
        .flat_map(|(port, problems)| problems.iter().map(|problem| format!("{} port: {problem}", port.role)));
    let steps = next_steps(&problems).into_iter().map(|step| Step::Do(step.replace("`etcd-ha deploy`", "deploy")));
    Some(Finding {
        host: Some(host.name.clone()),
        kind: "certificate".to_owned(),
        cause,
        evidence: evidence.collect(),
        next: steps.chain([scene.deploy()]).collect(),
        weight,
    })
}

fn ports<'a>(scene: &'a Scene, host: &'a Host) -> impl Iterator<Item = &'a PortReport> {
    scene.ports.iter().filter(|port| port.host == host.name)
}

/// What is wrong at a port that could be asked, and cannot wait.
fn wrong(port: &PortReport) -> Vec<PortProblem> {
    let asked = |problem: &PortProblem| !matches!(problem, PortProblem::Unasked(_) | PortProblem::Unknown(_));
    port.problems().into_iter().filter(|problem| asked(problem) && !problem.can_wait()).collect()
}
