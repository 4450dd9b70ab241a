//! The playbooks that come with the binary.

const EMBEDDED: [(&str, &str); 8] = [
    ("deploy", include_str!("../../playbooks/deploy.yaml")),
    ("destroy", include_str!("../../playbooks/destroy.yaml")),
    ("destroy-data", include_str!("../../playbooks/destroy-data.yaml")),
    ("restart", include_str!("../../playbooks/restart.yaml")),
    ("rollback", include_str!("../../playbooks/rollback.yaml")),
    ("start", include_str!("../../playbooks/start.yaml")),
    ("stop", include_str!("../../playbooks/stop.yaml")),
    ("stop-some", include_str!("../../playbooks/stop-some.yaml")),
];

/// The names of the embedded playbooks.
pub fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(name, _)| *name)
}

/// The text of an embedded playbook.
#[must_use]
pub fn embedded(name: &str) -> Option<&'static str> {
    EMBEDDED.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
}
