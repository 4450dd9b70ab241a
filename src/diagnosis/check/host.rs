//! What one host's facts mean for a member on it.

use super::{Finding, Source, Verdict, disk, file_systems, timing};
use crate::etcd::config::OPEN_FILES;
use crate::etcd::options::{ADVISED_QUOTA_BYTES, DEFAULT_QUOTA_BYTES};
use crate::host::{Observation, Resources};
use crate::inventory::Host;
use crate::release::Arch;
use crate::report::human_bytes;
use crate::tasks::fitness::{
    DATA_SPACE, MAX_SKEW, NOTED_SKEW, OLDEST_SYSTEMD, Objection, RELEASE_SPACE, Subject, Weight,
};

/// Below this a host is small even for a small cluster: 2 GB, less what kernel and firmware keep for themselves.
const SMALL_MEMORY: u64 = 1_800_000_000;
/// So many open files etcd keeps for itself; with no more than these it does not start.
const RESERVED_FILES: u64 = 150;

/// The facts of a host that was reached.
pub(super) struct Facts<'a> {
    pub host: &'a Host,
    pub seen: &'a Observation,
    /// What a deploy would object to.
    pub objections: Vec<Objection>,
    pub resources: Result<Resources, String>,
    /// The times of synced writes; `None` if they were not wanted.
    pub disk: Option<Result<Vec<f64>, String>>,
    /// Whether it is known what all hosts' data dirs make together.
    pub compared: bool,
    /// From when on the certificates that there are can be used, in seconds since the epoch.
    pub valid_from: Option<f64>,
}

impl Facts<'_> {
    /// Judges everything.
    pub fn judge(&self) -> Vec<Finding> {
        let Observation { kernel, machine, .. } = self.seen;
        let mut all = vec![
            self.objected(
                Finding::new("system", Verdict::Ok, format!("{kernel} {machine}"))
                    .wants(format!("Linux on {}", Arch::ALL.map(Arch::as_str).join(" or ")), Source::Platforms),
                &[Subject::System, Subject::Architecture],
            ),
        ];
        if kernel != "Linux" {
            return all;
        }
        all.extend(self.own());
        match &self.resources {
            Ok(resources) => all.extend(self.capacity(resources)),
            Err(why) => all.push(Finding::new("resources", Verdict::Warning, format!("not measured: {why}"))),
        }
        all.extend(self.disk.as_ref().map(|times| disk::judge(times, timing::in_force(self.host).0)));
        all
    }

    /// What stands on the host, and who it is.
    fn own(&self) -> Vec<Finding> {
        let (host, seen) = (self.host, self.seen);
        let ok = |subject, measured: &str| Finding::new(subject, Verdict::Ok, measured);
        let systemd = seen.systemd.map_or_else(|| "systemd".to_owned(), |version| version.to_string());
        let user = if self.objects(Subject::Privilege) { "" } else { "root" };
        let ports = format!("{} and {}", host.peer_port, host.client_port);
        let ports = format!("{ports} {}", if seen.unit.runs() { "are its member's" } else { "are free" });
        let data = match (seen.data.is_some(), self.compared) {
            (false, _) => "empty",
            (true, true) => "there, and of this cluster",
            (true, false) => "there, but not all hosts were looked at to compare",
        };
        let mut all = vec![
            self.objected(
                ok("systemd", &systemd).wants(format!("{OLDEST_SYSTEMD} or newer"), Source::EtcdHa),
                &[Subject::Systemd],
            ),
            self.objected(ok("privilege", user).wants("root", Source::EtcdHa), &[Subject::Privilege]),
            self.objected(
                ok("commands", "all there").wants("coreutils, tar, gzip, systemd", Source::EtcdHa),
                &[Subject::Commands],
            ),
            self.objected(
                ok("machine", "one of its own").wants("no two hosts are one", Source::EtcdHa),
                &[Subject::Machine],
            ),
            self.objected(
                ok("others' files", "none").wants("nothing that etcd-ha did not set up", Source::EtcdHa),
                &[Subject::Foreign],
            ),
            self.objected(
                ok("ports", &ports).wants("nobody else's", Source::EtcdHa),
                &[Subject::ClientPort, Subject::PeerPort],
            ),
            self.objected(ok("data", data).wants("empty, or of this cluster", Source::EtcdHa), &[Subject::Data]),
        ];
        for (name, subject) in [("version", Subject::Version), ("last change", Subject::LastChange)] {
            if self.objects(subject) {
                all.push(self.objected(ok(name, ""), &[subject]));
            }
        }
        all.extend(self.clock());
        all
    }

    fn clock(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        let zone = self.resources.as_ref().ok().and_then(|resources| resources.zone.as_deref());
        if let Some(skew) = self.seen.clock_skew {
            let way = if skew > 0.0 { "ahead" } else { "behind" };
            let clock = Finding::new("clock", Verdict::Ok, format!("{:.2} s {way}", skew.abs()))
                .wants(format!("{NOTED_SKEW:.0} s off the controller's; fails beyond {MAX_SKEW:.0} s"), Source::EtcdHa);
            all.push(self.objected(clock.number("skew_seconds", skew), &[Subject::Clock]));
            if let Some(zone) = zone {
                all.push(time_zone(zone, skew));
            }
        }
        if let (Some(from), Some(clock)) = (self.valid_from, self.seen.clock) {
            let certificates = if clock < from {
                Finding::new(
                    "certificates",
                    Verdict::Failed,
                    format!("not valid there for another {:.0} s", from - clock),
                )
                .hint("set the clocks by NTP")
            } else {
                Finding::new("certificates", Verdict::Ok, "valid by its clock")
            };
            all.push(certificates.wants("its clock is past their beginning", Source::EtcdHa));
        }
        all
    }

    /// Memory, space and limits.
    fn capacity(&self, resources: &Resources) -> Vec<Finding> {
        let (host, seen) = (self.host, self.seen);
        let quota = quota(host);
        let mut all = Vec::new();
        if let Some(bytes) = resources.memory {
            let (verdict, than) = match bytes {
                _ if bytes < SMALL_MEMORY => (Verdict::Warning, ""),
                _ if bytes < quota => (Verdict::Warning, ", less than quota-backend-bytes"),
                _ => (Verdict::Ok, ""),
            };
            let threshold = format!("2 GB and the quota of {}; 8 GB is typical", human_bytes(quota));
            let memory = Finding::new("memory", verdict, format!("{}{than}", human_bytes(bytes)));
            all.push(memory.wants(threshold, Source::Hardware).whole("bytes", bytes));
        }
        if let Some(bytes) = resources.swap {
            let swap = match bytes {
                0 => Finding::new("swap", Verdict::Ok, "off"),
                _ => Finding::new("swap", Verdict::Warning, format!("on, {}", human_bytes(bytes)))
                    .hint("a member that is swapped out is late with its heartbeats: `swapoff -a`, and /etc/fstab"),
            };
            all.push(swap.wants("off", Source::EtcdHa).whole("bytes", bytes));
        }
        let quota = match quota {
            _ if quota > ADVISED_QUOTA_BYTES => Finding::new("quota", Verdict::Warning, human_bytes(quota)),
            _ => Finding::new("quota", Verdict::Ok, human_bytes(quota)),
        };
        all.push(quota.wants(format!("{} at most", human_bytes(ADVISED_QUOTA_BYTES)), Source::Limits));
        all.extend(self.space(host));
        let writing = if resources.no_temporary {
            Finding::new("writing", Verdict::Failed, "no temporary file can be made (`mktemp`)")
                .hint("make room in /tmp, or make it writable")
        } else {
            Finding::new("writing", Verdict::Ok, "all paths and /tmp")
        };
        let writing = writing.wants("the inventory's paths and temporary files", Source::EtcdHa);
        all.push(self.objected(writing, &[Subject::Writing]));
        all.extend(file_systems::judge(host, resources));
        if let Some(files) = resources.open_files.filter(|_| seen.booted_by_systemd) {
            all.push(open_files(files));
        }
        all
    }

    fn space(&self, host: &Host) -> Vec<Finding> {
        let quota = quota(host);
        let mut all = Vec::new();
        let of = |path: &String| self.seen.space.get(path);
        if let Some(space) = of(&host.paths.install) {
            let free = format!("{} free on {}", human_bytes(space.free), space.mount);
            let found = Finding::new("release space", Verdict::Ok, free)
                .wants(human_bytes(RELEASE_SPACE), Source::EtcdHa)
                .whole("free_bytes", space.free);
            all.push(self.objected(found, &[Subject::ReleaseSpace]));
        }
        if let Some(space) = of(&host.paths.data) {
            let free = format!("{} free on {}", human_bytes(space.free), space.mount);
            // A member that has data has used some of its quota already.
            let little = space.free < quota && self.seen.data.is_none();
            let verdict = if little { Verdict::Warning } else { Verdict::Ok };
            let threshold = format!("the quota of {}; fails below {}", human_bytes(quota), human_bytes(DATA_SPACE));
            let found = Finding::new("data space", verdict, free)
                .wants(threshold, Source::Limits)
                .whole("free_bytes", space.free);
            all.push(self.objected(found, &[Subject::DataSpace]));
        }
        all
    }

    fn objects(&self, subject: Subject) -> bool {
        self.objections.iter().any(|objection| objection.subject == subject)
    }

    /// The finding as it stands, unless a deploy objects to one of the subjects: then that is what was found.
    fn objected(&self, finding: Finding, subjects: &[Subject]) -> Finding {
        let own: Vec<_> = self.objections.iter().filter(|objection| subjects.contains(&objection.subject)).collect();
        let weight = |objection: &&Objection| match objection.weight {
            Weight::Warning => Verdict::Warning,
            Weight::Failed => Verdict::Failed,
        };
        let Some(verdict) = own.iter().map(weight).max() else { return finding };
        // Of what is both noted and failed the latter says it all.
        let worst = own.iter().filter(|objection| weight(objection) == verdict);
        let measured = worst.map(|objection| objection.message.as_str()).collect::<Vec<_>>().join("; ");
        let hint = own.iter().find_map(|objection| objection.hint.clone());
        Finding { verdict, measured, hint, ..finding }
    }
}

/// How large the member's database may become.
fn quota(host: &Host) -> u64 {
    let written = host.settings.get("quota-backend-bytes").and_then(|value| value.parse().ok());
    written.filter(|quota| *quota > 0).unwrap_or(DEFAULT_QUOTA_BYTES)
}

/// Certificates carry UTC, so any zone will do; but a clock that is off by whole hours was set by another zone's.
fn time_zone(zone: &str, skew: f64) -> Finding {
    let hours = (skew / 3600.0).round();
    let whole = hours != 0.0 && (skew - hours * 3600.0).abs() < 60.0;
    let finding = if whole {
        let way = if skew > 0.0 { "ahead" } else { "behind" };
        let measured = format!("{zone}, and its clock is {} h {way}: is local time set as UTC?", hours.abs());
        Finding::new("time zone", Verdict::Warning, measured).hint("`timedatectl` shows and sets both")
    } else {
        Finding::new("time zone", Verdict::Ok, zone)
    };
    finding.wants("any: certificates carry UTC", Source::EtcdHa)
}

fn open_files(files: u64) -> Finding {
    judge_open_files(files).whole("files", files)
}

fn judge_open_files(files: u64) -> Finding {
    let measured = match files {
        u64::MAX => "unlimited".to_owned(),
        _ => files.to_string(),
    };
    let threshold = format!("{OPEN_FILES}, as the unit asks; fails up to {RESERVED_FILES}");
    let verdict = match files {
        OPEN_FILES.. => return Finding::new("open files", Verdict::Ok, measured).wants(threshold, Source::Etcd),
        0..=RESERVED_FILES => Verdict::Failed,
        _ => Verdict::Warning,
    };
    Finding::new("open files", verdict, measured)
        .wants(threshold, Source::Etcd)
        .hint("the host gives systemd no more: raise `fs.nr_open`, or the container's limit of open files")
}

#[cfg(test)]
mod tests;
