//! `etcd-ha prometheus`: how Prometheus scrapes the members, and when it raises an alarm.

mod rules;

use super::Context;
use super::options::Target;
use crate::error::{Error, ExitStatus};
use crate::etcd::config::url_host;
use crate::inventory::Inventory;
use crate::report::wrap;
use clap::Args;
use std::path::{Path, PathBuf};

/// `etcd-ha prometheus`
#[derive(Debug, Args)]
pub(super) struct Prometheus {
    #[command(flatten)]
    target: Target,
    /// Print alert rules instead, for a file that `rule_files` names.
    ///
    /// The alerts have the names that etcd's own collection of alerts (contrib/mixin in its sources) gives them, so
    /// that routes and runbooks made for those fit.
    #[arg(long)]
    rules: bool,
}

impl Prometheus {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let inventory = self.target.load()?;
        let text = if self.rules {
            rules::text(&inventory)
        } else {
            let dir = std::path::absolute(&inventory.pki.dir).unwrap_or_else(|_| inventory.pki.dir.clone());
            scrape_config(&inventory, &Files::of(&dir, Path::exists))
        };
        context.output.out(&text)?;
        Ok(ExitStatus::Done)
    }
}

/// The job's name, by which alerts find the members' series.
fn job(inventory: &Inventory) -> String {
    format!("etcd-{}", inventory.cluster)
}

/// What a client shows and trusts.
struct Files {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    /// Whether the certificate is the admin's, who may do everything.
    admin: bool,
}

impl Files {
    /// A certificate made for Prometheus, if there is one in the PKI folder, or else the admin's.
    fn of(dir: &Path, exists: impl Fn(&Path) -> bool) -> Self {
        let ca = dir.join("ca.pem");
        let own = dir.join("clients/prometheus.pem");
        if exists(&own) {
            let key = dir.join("clients/prometheus-key.pem");
            return Self { ca, certificate: own, key, admin: false };
        }
        Self { ca, certificate: dir.join("admin.pem"), key: dir.join("admin-key.pem"), admin: true }
    }
}

/// A text as YAML takes it, whatever is in it: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A piece of prometheus.yml.
fn scrape_config(inventory: &Inventory, files: &Files) -> String {
    // The port for metrics is the same kind on all hosts, since it is set for all.
    let tls = inventory.hosts.iter().all(|host| host.metrics.is_none_or(|metrics| metrics.tls));
    let about = format!(
        "For prometheus.yml: the members of the etcd cluster {}. Alerts to go with it, by the names that etcd's own \
         collection gives them: {}. `etcd-ha prometheus --rules` prints them for a file that `rule_files` names.",
        inventory.cluster,
        rules::names().join(", ")
    );
    let mut text: String = wrap(&about, 98).iter().map(|line| format!("# {line}\n")).collect();
    if tls {
        text += "# The files are those on this machine; Prometheus needs copies that only it can read.\n";
    }
    if tls && files.admin {
        text += &format!(
            "# This is the admin's certificate, with which everything may be done. Make one for Prometheus alone, and\n\
             # print this anew: etcd-ha certs issue --name prometheus --client -i {}\n",
            inventory.path.display()
        );
    }
    text += &format!("scrape_configs:\n  - job_name: {}\n", quoted(&job(inventory)));
    text += &format!("    scheme: {}\n", if tls { "https" } else { "http" });
    if tls {
        let path = |path: &Path| quoted(&path.display().to_string());
        text += &format!(
            "    tls_config:\n      ca_file: {}\n      cert_file: {}\n      key_file: {}\n",
            path(&files.ca),
            path(&files.certificate),
            path(&files.key)
        );
    }
    text += "    static_configs:\n";
    for host in &inventory.hosts {
        let port = host.metrics.map_or(host.client_port, |metrics| metrics.port);
        let target = quoted(&format!("{}:{port}", url_host(&host.address)));
        text += &format!(
            "      - targets: [{target}]\n        labels: {{ instance: {}, cluster: {} }}\n",
            quoted(&host.name),
            quoted(&inventory.cluster)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Files, scrape_config};
    use crate::etcd::lint::Rules;
    use crate::inventory::Inventory;
    use std::path::Path;

    fn inventory(etcd: &str) -> Inventory {
        let text = format!(
            "cluster: prod\n{etcd}hosts:\n  - {{ name: a, address: 192.0.2.1 }}\n  \
             - {{ name: b, address: \"2001:db8::2\" }}\n  - {{ name: c, address: c.example }}\n"
        );
        Inventory::parse(Path::new("prod.yaml"), &text, &Rules).unwrap()
    }

    #[test]
    fn the_port_for_clients_or_the_one_for_metrics() {
        let files = Files::of(Path::new("/p"), |_| true);
        for (etcd, scheme, tls, first) in [
            ("", "https", true, "192.0.2.1:2379"),
            ("etcd: { client_port: 12379 }\n", "https", true, "192.0.2.1:12379"),
            ("etcd: { metrics: {} }\n", "https", true, "192.0.2.1:2381"),
            ("etcd: { metrics: { port: 9, scheme: http } }\n", "http", false, "192.0.2.1:9"),
        ] {
            let text = scrape_config(&inventory(etcd), &files);
            assert!(text.contains(&format!("    scheme: {scheme}\n")), "{text}");
            assert_eq!(text.contains("tls_config"), tls, "{text}");
            assert!(text.contains(&format!("- targets: [\"{first}\"]\n")), "{text}");
            assert!(text.contains("- targets: [\"[2001:db8::2]:"), "{text}");
        }
    }

    #[test]
    fn a_certificate_of_its_own_is_preferred() {
        let own = Files::of(Path::new("/p"), |path| path.ends_with("clients/prometheus.pem"));
        let text = scrape_config(&inventory(""), &own);
        assert!(
            text.contains(
                "cert_file: \"/p/clients/prometheus.pem\"\n      key_file: \"/p/clients/prometheus-key.pem\""
            )
        );
        assert!(!text.contains("admin"), "{text}");
        let text = scrape_config(&inventory(""), &Files::of(Path::new("/p"), |_| false));
        assert!(
            text.contains("cert_file: \"/p/admin.pem\"") && text.contains("certs issue --name prometheus"),
            "{text}"
        );
    }
}
