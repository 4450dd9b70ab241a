//! Lab tests: the real binary, run as a user would, against hosts with real systemd and sshd, and real etcd.
//!
//! `ETCD_HA_LAB=1 cargo test --test lab` as root runs them, `make test` does so too; otherwise every one of them is
//! listed as ignored, and why is said. What a test checks is the exit code and the words on the screen, and then the
//! truth on the hosts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails does so by a panic, and says more on stderr"
)]

mod authentication;
mod broken;
mod certs;
mod change;
mod check;
mod connecting;
mod ctl;
mod deploy;
mod destroy;
mod explain;
mod faults;
mod fixture;
mod health;
mod host_keys;
mod inventories;
mod lock;
mod login;
mod logs;
mod members;
mod metrics;
mod mishaps;
mod playbooks;
mod power;
mod privilege;
mod probe;
mod refusals;
mod rollback;
mod secrets;
mod site;
mod sizes;
mod snapshots;
mod soak;
mod sources;
mod status;
mod terminal;
mod upgrades;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many labs stand at once, unless `--test-threads` says otherwise.
const LABS: usize = 3;

/// Of how many tests the time is said.
const SLOWEST: usize = 12;

macro_rules! tests {
    ($($($part:ident)::+),* $(,)?) => {
        [$(([$(stringify!($part)),+].join("::"), $($part)::+ as fn())),*]
    };
}

fn main() -> ExitCode {
    // The longest first, so that the last to end is a short one.
    #[rustfmt::skip]
    let tests = tests![
        soak::killed_anywhere_the_same_command_finishes_and_nothing_is_lost,
        broken::ctrl_c_and_a_lost_terminal_stop_after_the_task_in_hand,
        broken::members_that_were_never_started_are_started_by_the_next_run,
        broken::a_host_that_loses_its_power_meanwhile_is_caught_up_by_the_next_run,
        broken::an_upload_whose_connection_breaks_is_done_again,
        lock::of_twenty_deploys_at_once_one_works,
        lock::a_lock_is_told_of_and_goes_with_its_holder,
        lock::what_a_killed_run_left_at_work_is_ended,
        login::a_user_with_sudo_and_loud_shells_does_as_well_as_root,
        connecting::hosts_behind_bastions_are_deployed_to_from_outside,
        connecting::sshds_of_all_kinds_are_got_along_with,
        privilege::sudo_and_doas_are_given_the_password_and_nobody_else_is,
        privilege::a_wrong_password_is_tried_once_and_a_user_without_rights_is_told,
        privilege::what_is_cut_off_on_a_terminal_clears_up_behind_itself,
        secrets::a_deploy_leaves_keys_and_passwords_nowhere_but_in_their_own_files,
        upgrades::a_jump_over_a_minor_version_goes_by_hops,
        upgrades::upgrade_writes_the_version_once_all_members_run_it,
        upgrades::a_cluster_agrees_on_a_downgrade_only_with_the_user_s_consent,
        inventories::prod_yaml_deploys_as_it_stands,
        change::settings_and_versions_change_one_member_at_a_time,
        snapshots::an_upgrade_leaves_a_snapshot_that_can_be_restored,
        power::members_come_back_by_themselves,
        probe::a_client_that_writes_meanwhile_is_told_of,
        faults::what_befalls_a_cluster,
        faults::what_is_found_before_there_is_a_cluster,
        refusals::nothing_is_touched_on_hosts_that_are_not_fit,
        refusals::no_data_is_touched_that_does_not_belong_to_the_cluster,
        refusals::a_disk_that_fills_up_meanwhile_is_told_and_the_next_run_goes_on,
        check::hosts_are_measured_and_traps_are_found_and_nothing_is_left,
        check::a_host_that_connects_from_a_second_address_has_it_in_its_certificates,
        snapshots::a_snapshot_that_is_cut_off_counts_for_nothing,
        explain::explain_names_the_cause_of_each_fault_and_what_heals_it,
        health::health_says_how_every_member_is_and_why,
        certs::clients_get_certificates_and_what_is_served_is_looked_at,
        health::an_alarm_is_told_and_keeps_the_gate_shut,
        ctl::the_cluster_s_etcdctl_is_run_and_ports_lead_to_its_members,
        host_keys::a_site_is_got_to_know_over_its_jump_host,
        host_keys::certified_and_pinned_hosts_need_no_line_of_their_own,
        logs::journals_are_one_and_commands_leave_nothing_behind,
        change::a_change_that_does_not_come_up_stops_at_the_first_member,
        change::a_host_on_its_own_takes_a_bad_change_back_and_keeps_a_good_one,
        rollback::a_member_that_was_stopped_stays_stopped,
        rollback::a_rollback_killed_in_a_turn_is_finished_by_the_next,
        mishaps::a_host_whose_link_breaks_in_its_turn_helps_itself,
        mishaps::a_host_that_loses_its_power_in_its_turn_is_seen_to_by_the_next_run,
        mishaps::a_binary_that_crashes_or_hangs_is_taken_back,
        mishaps::another_build_of_the_same_version_is_rolled_out_and_taken_back,
        mishaps::expired_certificates_are_renewed_without_a_restart,
        rollback::a_rollback_repairs_a_member_that_is_down,
        rollback::a_deploy_after_a_rollback_that_was_killed_keeps_the_way_back,
        mishaps::a_member_that_was_stopped_by_hand_is_repaired_before_others_are_touched,
        mishaps::a_setting_that_changes_the_unit_is_rolled_out_with_it,
        mishaps::a_member_is_repaired_while_another_ones_host_is_dead,
        change::members_are_restarted_stopped_started_and_taken_back,
        destroy::a_cluster_is_given_up_and_taken_up_again,
        change::hooks_run_around_every_member_that_is_touched,
        change::a_host_s_own_setting_restarts_that_host_alone,
        sizes::five_members_and_one,
        sizes::two_members_are_warned_of_and_seven_work,
        sizes::other_versions_deploy_and_the_next_minor_is_reached,
        snapshots::a_member_with_other_data_stops_an_upgrade,
        sizes::the_newest_version_deploys,
        status::a_cluster_at_a_glance,
        playbooks::a_playbook_of_the_user_s_own_changes_once,
        metrics::metrics_are_served_where_they_were_asked_for,
        sources::a_release_comes_by_http_and_a_wrong_one_touches_no_host,
        deploy::a_first_deploy_makes_a_real_cluster,
        authentication::every_host_is_logged_in_to_by_what_its_sshd_takes,
        authentication::a_passphrase_is_asked_for_once_for_all_hosts,
        deploy::a_second_run_changes_nothing,
        connecting::hosts_that_have_only_ipv6_addresses_are_deployed_to,
        sizes::plaintext_is_served_on_the_host_alone,
        playbooks::deploy_s_own_playbook_can_be_extended,
    ];
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(LABS);
    let list = arguments.list;
    let wanted = fixture::wanted();
    if !wanted {
        eprintln!("\nleft out: lab tests, since they run hosts on this machine: ETCD_HA_LAB=1 as root, or `make test`");
    } else if !fixture::root() && !list {
        eprintln!("\nETCD_HA_LAB is set, but lab tests need root");
        return ExitCode::FAILURE;
    }
    // What the sweep decides without a lab.
    let pure = tests![
        soak::schedule::a_seed_gives_the_same_rounds_again_and_another_seed_others,
        soak::schedule::rounds_are_spread_evenly_over_operations_accidents_and_time,
        soak::schedule::progress_follows_the_lines_and_between_them_the_clock,
        soak::ledger::what_is_lost_twice_or_different_is_found,
        soak::quorum::gaps_are_measured_by_what_happened_meanwhile,
        soak::quorum::only_what_one_host_s_fault_explains_is_not_our_doing,
        soak::report::a_report_tells_what_came_of_each_kind_of_round,
    ];
    let times = Arc::new(Mutex::new(Vec::new()));
    let trial = |(name, test): (String, fn())| {
        let (times, timed) = (times.clone(), name.clone());
        let run = move || {
            let begun = Instant::now();
            test();
            times.lock().unwrap().push((begun.elapsed(), timed));
            Ok(())
        };
        Trial::test(name, run)
    };
    let labs = tests.into_iter().map(|test| trial(test).with_ignored_flag(!wanted));
    let ended = libtest_mimic::run(&arguments, labs.chain(pure.into_iter().map(trial)).collect());
    if let (Some(page), false) = (std::env::var_os("ETCD_HA_LAB_FAULTS_PAGE"), ended.has_failed()) {
        faults::publish(page.as_ref());
    }
    if wanted && !list {
        say_slowest(&mut times.lock().unwrap());
    }
    ended.exit_code()
}

/// What the lab spends its time on.
fn say_slowest(times: &mut [(Duration, String)]) {
    let labs: Duration = times.iter().map(|(took, _)| *took).sum();
    times.sort_unstable_by(|one, other| other.cmp(one));
    eprintln!("the slowest, of {:.0} s of lab time:", labs.as_secs_f64());
    for (took, name) in times.iter().take(SLOWEST) {
        eprintln!("{:6.1} s  {name}", took.as_secs_f64());
    }
}
