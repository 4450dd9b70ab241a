//! The variables of playbooks: `{{ host.name }}` and its kin, filled in strictly.

use super::view::View;

/// The variables that a playbook may use.
pub const VARIABLES: [&str; 8] =
    ["cluster", "version", "host.name", "host.address", "paths.install", "paths.config", "paths.data", "paths.bin"];

/// The names between the braces of `text`.
///
/// # Errors
/// A brace that is opened and not closed, as a sentence.
pub(crate) fn variables(text: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, tail)) = after.split_once("}}") else {
            return Err(format!("`{{{{` without `}}}}` in `{text}`"));
        };
        names.push(name.trim());
        rest = tail;
    }
    Ok(names)
}

/// Says what is wrong with the variables of `text`, if anything is.
///
/// # Errors
/// An unknown variable or an unclosed brace, as a sentence.
pub(crate) fn validate(text: &str) -> Result<(), String> {
    match variables(text)?.into_iter().find(|name| !VARIABLES.contains(name)) {
        Some(name) => Err(format!("there is no variable `{name}`; there are: {}", VARIABLES.join(", "))),
        None => Ok(()),
    }
}

/// `text` with its variables filled in; those of [`VARIABLES`] only, the playbook was checked for others.
pub(crate) fn expand(text: &str, view: &View<'_>) -> String {
    let (inventory, host) = (view.overview.inventory, view.host);
    let version = inventory.version.to_string();
    let value = |name: &str| match name {
        "cluster" => Some(inventory.cluster.as_str()),
        "version" => Some(version.as_str()),
        "host.name" => Some(host.name.as_str()),
        "host.address" => Some(host.address.as_str()),
        "paths.install" => Some(host.paths.install.as_str()),
        "paths.config" => Some(host.paths.config.as_str()),
        "paths.data" => Some(host.paths.data.as_str()),
        "paths.bin" => Some(host.paths.bin.as_str()),
        _ => None,
    };
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, tail)) = after.split_once("}}") else { break };
        expanded.push_str(before);
        expanded.push_str(value(name.trim()).unwrap_or_default());
        rest = tail;
    }
    expanded + rest
}

/// A string of a playbook whose variables were checked when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(String);

impl Template {
    /// The string with its variables filled in.
    pub(crate) fn expand(&self, view: &View<'_>) -> String {
        expand(&self.0, view)
    }
}

impl<'de> serde::Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        validate(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(text))
    }
}
