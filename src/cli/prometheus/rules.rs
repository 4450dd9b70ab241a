//! Alerts, by the names that etcd's own collection gives them; the expressions are ours.

use super::{job, quoted};
use crate::inventory::Inventory;

/// An alert.
struct Alert {
    name: &'static str,
    /// PromQL; `{JOB}` selects this cluster's series, `{MEMBERS}` and `{QUORUM}` are numbers.
    expression: &'static str,
    /// How long it has to be so.
    lasting: &'static str,
    severity: &'static str,
    summary: &'static str,
}

const ALERTS: [Alert; 11] = [
    Alert {
        name: "etcdMembersDown",
        expression: "{MEMBERS} - (sum(up{JOB}) or vector(0)) > 0",
        lasting: "10m",
        severity: "critical",
        summary: "{{ $value }} of {MEMBERS} members cannot be scraped",
    },
    Alert {
        name: "etcdInsufficientMembers",
        expression: "(sum(up{JOB}) or vector(0)) < {QUORUM}",
        lasting: "3m",
        severity: "critical",
        summary: "only {{ $value }} of {MEMBERS} members can be scraped, and {QUORUM} are a quorum",
    },
    Alert {
        name: "etcdNoLeader",
        expression: "etcd_server_has_leader{JOB} == 0",
        lasting: "1m",
        severity: "critical",
        summary: "member {{ $labels.instance }} has no leader",
    },
    Alert {
        name: "etcdHighNumberOfLeaderChanges",
        expression: "max(increase(etcd_server_leader_changes_seen_total{JOB}[15m])) >= 4",
        lasting: "5m",
        severity: "warning",
        summary: "about {{ $value | humanize }} leader changes in 15 minutes; look at disks, network and load",
    },
    Alert {
        name: "etcdMemberCommunicationSlow",
        expression: "histogram_quantile(0.99, sum by (instance, To, le) (rate(etcd_network_peer_round_trip_time_seconds_bucket{JOB}[5m]))) > 0.15",
        lasting: "10m",
        severity: "warning",
        summary: "member {{ $labels.instance }} takes {{ $value | humanizeDuration }} to {{ $labels.To }} and back",
    },
    Alert {
        name: "etcdHighNumberOfFailedProposals",
        expression: "max(increase(etcd_server_proposals_failed_total{JOB}[15m])) > 5",
        lasting: "15m",
        severity: "warning",
        summary: "{{ $value | humanize }} proposals failed in 15 minutes",
    },
    Alert {
        name: "etcdHighFsyncDurations",
        expression: "histogram_quantile(0.99, sum by (instance, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket{JOB}[5m]))) > 0.5",
        lasting: "10m",
        severity: "warning",
        summary: "the disk of member {{ $labels.instance }} takes {{ $value | humanizeDuration }} to sync the log",
    },
    Alert {
        name: "etcdHighCommitDurations",
        expression: "histogram_quantile(0.99, sum by (instance, le) (rate(etcd_disk_backend_commit_duration_seconds_bucket{JOB}[5m]))) > 0.25",
        lasting: "10m",
        severity: "warning",
        summary: "the disk of member {{ $labels.instance }} takes {{ $value | humanizeDuration }} to commit",
    },
    Alert {
        name: "etcdDatabaseQuotaLowSpace",
        expression: "100 * etcd_mvcc_db_total_size_in_bytes{JOB} / etcd_server_quota_backend_bytes{JOB} > 90",
        lasting: "10m",
        severity: "critical",
        summary: "the database of member {{ $labels.instance }} fills {{ $value | humanize }} % of its quota",
    },
    Alert {
        name: "etcdExcessiveDatabaseGrowth",
        expression: "predict_linear(etcd_mvcc_db_total_size_in_bytes{JOB}[4h], 14400) > etcd_server_quota_backend_bytes{JOB}",
        lasting: "10m",
        severity: "warning",
        summary: "the database of member {{ $labels.instance }} will have filled its quota in four hours",
    },
    Alert {
        name: "etcdDatabaseHighFragmentationRatio",
        expression: "etcd_mvcc_db_total_size_in_use_in_bytes{JOB} / etcd_mvcc_db_total_size_in_bytes{JOB} < 0.5 and etcd_mvcc_db_total_size_in_use_in_bytes{JOB} > 104857600",
        lasting: "10m",
        severity: "warning",
        summary: "less than half of the database of member {{ $labels.instance }} is in use: defragment it",
    },
];

/// The alerts' names.
pub(super) fn names() -> Vec<&'static str> {
    ALERTS.iter().map(|alert| alert.name).collect()
}

/// A file of rules.
pub(super) fn text(inventory: &Inventory) -> String {
    let members = inventory.hosts.len();
    let filled = |text: &str| {
        text.replace("{JOB}", &format!("{{job={}}}", quoted(&job(inventory))))
            .replace("{MEMBERS}", &members.to_string())
            .replace("{QUORUM}", &(members / 2 + 1).to_string())
    };
    let mut text = format!(
        "# Alerts for the etcd cluster {}, for a file that `rule_files` in prometheus.yml names. They are made for its\n\
         # {members} members: print them anew when that changes.\ngroups:\n  - name: {}\n    rules:\n",
        inventory.cluster,
        quoted(&job(inventory))
    );
    for alert in &ALERTS {
        text += &format!("      - alert: {}\n", alert.name);
        text += &format!("        expr: {}\n        for: {}\n", single(&filled(alert.expression)), alert.lasting);
        let cluster = quoted(&inventory.cluster);
        text += &format!("        labels: {{ severity: {}, cluster: {cluster} }}\n", alert.severity);
        let summary = format!("etcd cluster {}: {}", inventory.cluster, filled(alert.summary));
        text += &format!("        annotations: {{ summary: {} }}\n", quoted(&summary));
    }
    text
}

/// In YAML's single quotes, within which PromQL's own double quotes stay readable.
fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::etcd::lint::Rules;
    use crate::inventory::Inventory;
    use std::path::Path;

    #[test]
    fn numbers_are_the_cluster_s() {
        let yaml = "cluster: prod\nhosts:\n  - { name: a, address: 192.0.2.1 }\n  - { name: b, address: 192.0.2.2 }\n  - { name: c, address: 192.0.2.3 }\n";
        let rules = text(&Inventory::parse(Path::new("prod.yaml"), yaml, &Rules).unwrap());
        for line in [
            "        expr: '3 - (sum(up{job=\"etcd-prod\"}) or vector(0)) > 0'",
            "        expr: '(sum(up{job=\"etcd-prod\"}) or vector(0)) < 2'",
            "        labels: { severity: critical, cluster: \"prod\" }",
        ] {
            assert!(rules.lines().any(|shown| shown == line), "{line}: {rules}");
        }
        for left in ["{JOB}", "{MEMBERS}", "{QUORUM}"] {
            assert!(!rules.contains(left), "{rules}");
        }
    }
}
