use super::*;

fn fresh() -> Membership {
    let peers = (1..=3).map(|n| (format!("node0{n}"), format!("https://10.19.0.5{}:2380", 4 + n))).collect();
    Membership { token: "fresh".into(), peers, established: None }
}

/// A host whose member took part in the bootstrap with `token`.
fn member(n: usize, token: &str, had_leader: bool, established: bool) -> Found {
    let own = Membership { token: token.into(), ..fresh() };
    let host = format!("node0{n}");
    let wal = WalHead { member: own.member_id(&host).unwrap(), cluster: own.cluster_id(), had_leader };
    let mut environment =
        format!("ETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_CLUSTER_TOKEN={token}\n", own.initial_cluster());
    if established {
        environment += &format!("{CLUSTER_ID}={}\n", own.cluster_id());
    }
    let client_url = "https://10.19.0.55:2379".into();
    Found {
        host,
        data_dir: "/var/lib/etcd".into(),
        client_url,
        data: true,
        runs: true,
        wal: Some(wal),
        environment: Some(environment),
    }
}

fn empty(n: usize) -> Found {
    Found { host: format!("node0{n}"), data_dir: "/var/lib/etcd".into(), ..Found::default() }
}

#[test]
fn empty_hosts_form_a_new_cluster() {
    assert_eq!(membership(&[empty(1), empty(2), empty(3)], fresh()), Ok(fresh()));
}

#[test]
fn a_bootstrap_that_broke_off_goes_on_with_its_token() {
    let go_on = membership(&[member(1, "t1", false, false), empty(2), empty(3)], fresh()).unwrap();
    assert_eq!((go_on.token.as_str(), go_on.established), ("t1", None));
}

#[test]
fn a_cluster_that_had_a_leader_is_established_even_if_nobody_wrote_it_down() {
    let hosts = [member(1, "t1", true, false), member(2, "t1", false, false), member(3, "t1", true, false)];
    let cluster = Membership { token: "t1".into(), ..fresh() }.cluster_id();
    assert_eq!(membership(&hosts, fresh()).unwrap().established, Some(cluster));
}

#[test]
fn a_member_that_was_just_started_has_no_data_yet() {
    let starting = |n, recorded| Found { wal: None, ..member(n, "t1", false, recorded) };
    for hosts in [
        [starting(1, false), empty(2), empty(3)],
        [member(1, "t1", false, false), starting(2, false), empty(3)],
        [member(1, "t1", true, false), member(2, "t1", true, false), starting(3, false)],
    ] {
        let go_on = membership(&hosts, fresh()).unwrap();
        assert_eq!((go_on.token.as_str(), go_on.established), ("t1", None));
    }
    // One that does not run has somebody else's files; and of a cluster that stood one without a WAL has lost its data.
    let stopped = Found { runs: false, ..starting(3, false) };
    let hosts = [member(1, "t1", true, false), member(2, "t1", true, false), stopped];
    assert!(matches!(membership(&hosts, fresh()).unwrap_err()[..], [BootstrapError::NotEtcd { .. }]));
    let hosts = [member(1, "t1", true, true), member(2, "t1", true, true), starting(3, true)];
    assert!(matches!(membership(&hosts, fresh()).unwrap_err()[..], [BootstrapError::Lost { .. }]));
}

#[test]
fn members_of_a_cluster_that_stands_need_no_look_at_the_others() {
    let cluster = Membership { token: "t1".into(), ..fresh() }.cluster_id();
    let established = |hosts: &[Found]| membership_of_some(hosts, fresh()).map(|own| own.map(|own| own.established));
    let (wrote, did_not) = (member(1, "t1", true, true), member(2, "t1", true, false));
    assert_eq!(established(&[wrote.clone(), did_not.clone()]), Some(Ok(Some(cluster))));
    assert_eq!(established(std::slice::from_ref(&wrote)), Some(Ok(Some(cluster))));
    // Nobody wrote it down, or one may have lost its data, or nobody was looked at.
    assert_eq!(established(std::slice::from_ref(&did_not)), None);
    assert_eq!(established(&[wrote.clone(), empty(2)]), None);
    assert_eq!(established(&[]), None);
    // What does not fit is refused as ever.
    assert!(established(&[wrote, member(2, "other", true, true)]).unwrap().is_err());
}

#[test]
fn a_bootstrap_that_broke_off_between_two_starts_goes_on() {
    let hosts = [member(1, "t1", true, false), member(2, "t1", true, false), empty(3)];
    let go_on = membership(&hosts, fresh()).unwrap();
    // Written down only once every member has data: until then a host without is no loss.
    assert_eq!((go_on.token.as_str(), go_on.established), ("t1", None));
    // The record of a host that has no data any more counts, too.
    let mut lost = hosts;
    lost[2].environment = member(3, "t1", true, true).environment;
    let problems = membership(&lost, fresh()).unwrap_err();
    assert!(matches!(&problems[..], [BootstrapError::Lost { host, .. }] if host == "node03"), "{problems:?}");
}

#[test]
fn a_host_that_was_seen_before_its_process_wrote_data_has_lost_nothing() {
    // The second was seen first, when it had just been started; the third is not started yet.
    let starting = Found { data: false, wal: None, ..member(2, "t1", false, false) };
    let hosts = [member(1, "t1", true, false), starting.clone(), empty(3)];
    let go_on = membership(&hosts, fresh()).unwrap();
    assert_eq!((go_on.token.as_str(), go_on.established), ("t1", None));
    // Without a process nobody is about to write any.
    let hosts = [member(1, "t1", true, false), Found { runs: false, ..starting }, empty(3)];
    assert_eq!(membership(&hosts, fresh()).unwrap_err().len(), 2);
}

#[test]
fn a_bootstrap_that_broke_off_with_other_members_is_refused() {
    let mut now = fresh();
    now.peers[2].1 = "https://10.19.0.99:2380".into();
    let problems = membership(&[member(1, "t1", false, false), empty(2), empty(3)], now).unwrap_err();
    assert!(matches!(&problems[..], [BootstrapError::Abandoned { host, .. }] if host == "node01"), "{problems:?}");
}

#[test]
fn a_lost_disk_is_refused_once_the_cluster_stood() {
    for (had_leader, established, runs) in [(true, false, false), (false, true, true), (true, true, true)] {
        let mut hosts = [member(1, "t1", had_leader, established), member(2, "t1", true, false), empty(3)];
        hosts[0].runs = runs;
        let problems = membership(&hosts, fresh()).unwrap_err();
        assert!(matches!(&problems[..], [BootstrapError::Lost { host, .. }] if host == "node03"), "{problems:?}");
    }
}

#[test]
fn other_members_than_the_cluster_has_are_refused() {
    let hosts = [member(1, "t1", true, true), member(2, "t1", true, true), member(3, "t1", true, true)];
    let mut grown = fresh();
    grown.peers.push(("node04".into(), "https://10.19.0.58:2380".into()));
    let mut found = hosts.to_vec();
    found.push(empty(4));
    let problems = membership(&found, grown).unwrap_err();
    assert!(
        matches!(&problems[..], [BootstrapError::Members { added, removed, .. }]
        if added == &["node04=https://10.19.0.58:2380"] && removed.is_empty()),
        "{problems:?}"
    );
    let mut shrunk = fresh();
    shrunk.peers.truncate(2);
    let problems = membership(&hosts[..2], shrunk).unwrap_err();
    assert!(matches!(&problems[..], [BootstrapError::Members { removed, .. }] if removed.len() == 1), "{problems:?}");
    let mut turned = fresh();
    turned.peers.reverse();
    assert!(membership(&hosts, turned).is_ok());
}

#[test]
fn a_cluster_whose_disks_are_all_missing_is_not_made_anew() {
    let unmounted = |n| Found { data: false, wal: None, ..member(n, "t1", true, true) };
    let problems = membership(&[unmounted(1), unmounted(2), unmounted(3)], fresh()).unwrap_err();
    assert_eq!(problems.len(), 3);
    assert!(matches!(problems[0], BootstrapError::Gone { .. }), "{problems:?}");
    // One that never stood goes on with its token, whoever of it was begun; other members begin anew.
    let begun = |n| Found { data: false, wal: None, ..member(n, "t1", false, false) };
    let untouched = |n| Found { environment: None, ..begun(n) };
    let want = Membership { token: "t1".into(), ..fresh() };
    assert_eq!(membership(&[begun(1), begun(2), begun(3)], fresh()), Ok(want.clone()));
    assert_eq!(membership(&[untouched(1), begun(2), untouched(3)], fresh()), Ok(want));
    let mut others = fresh();
    others.peers.pop();
    assert_eq!(membership(&[begun(1), begun(2)], others.clone()), Ok(others));
}

#[test]
fn an_inventory_that_points_to_another_data_dir_does_not_make_the_hosts_fresh() {
    let elsewhere = |n| {
        let mut host = Found { data_dir: "/srv/etcd".into(), data: false, wal: None, ..member(n, "t1", true, true) };
        host.environment = host.environment.map(|text| text + "ETCD_DATA_DIR=/var/lib/etcd\n");
        host
    };
    let problems = membership(&[elsewhere(1), elsewhere(2), elsewhere(3)], fresh()).unwrap_err();
    assert_eq!(problems.len(), 3);
    assert!(matches!(&problems[0], BootstrapError::Moved { what: "data dir", .. }), "{problems:?}");
}

#[test]
fn data_of_another_cluster_is_refused_with_both_ids() {
    let problems = membership(&[member(1, "t1", true, true), member(2, "t2", true, true), empty(3)], fresh());
    let problems = problems.unwrap_err();
    assert!(problems.iter().any(|p| matches!(p, BootstrapError::Different { host, .. } if host == "node02")));
}

#[test]
fn data_that_we_did_not_set_up_is_refused() {
    let mut foreign = member(1, "t1", true, false);
    foreign.environment = None;
    assert!(matches!(
        &membership(&[foreign, empty(2), empty(3)], fresh()).unwrap_err()[0],
        BootstrapError::Foreign { .. }
    ));
}

#[test]
fn the_cluster_s_own_data_without_our_file_is_not_called_a_stranger_s() {
    let mut unrecorded = member(2, "t1", true, true);
    unrecorded.environment = None;
    let problems = membership(&[member(1, "t1", true, true), unrecorded, member(3, "t1", true, true)], fresh());
    let problems = problems.unwrap_err();
    assert!(
        matches!(&problems[..], [BootstrapError::Unrecorded { host, other_host, .. }] if host == "node02" && other_host == "node01"),
        "{problems:?}"
    );
}

#[test]
fn our_own_file_of_a_later_bootstrap_does_not_make_old_data_ours() {
    let mut stale = member(1, "t1", true, false);
    stale.environment = member(1, "t2", true, false).environment;
    assert!(matches!(
        &membership(&[stale, empty(2), empty(3)], fresh()).unwrap_err()[0],
        BootstrapError::Mismatch { .. }
    ));
}

#[test]
fn a_copied_data_dir_is_refused() {
    let mut copy = member(2, "t1", true, true);
    copy.wal = member(1, "t1", true, true).wal;
    let problems = membership(&[member(1, "t1", true, true), copy, member(3, "t1", true, true)], fresh());
    assert!(matches!(&problems.unwrap_err()[..], [BootstrapError::SameMember { .. }]));
}

#[test]
fn something_that_is_no_data_dir_is_refused() {
    let odd = Found { data: true, ..empty(2) };
    assert!(matches!(
        &membership(&[empty(1), odd, empty(3)], fresh()).unwrap_err()[..],
        [BootstrapError::NotEtcd { .. }]
    ));
}

#[test]
fn only_what_is_a_cluster_s_own_may_be_deleted() {
    let token = "prod-0123456789abcdef";
    let own = |n| member(n, token, true, true);
    let problems = |hosts: &[Found], data| {
        of_others(hosts, "prod", &fresh(), data).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    for data in [false, true] {
        assert_eq!(problems(&[own(1), own(2), own(3)], data), none);
        // Some hosts are through with it already.
        assert_eq!(problems(&[empty(1), own(2), empty(3)], data), none);
        assert_eq!(problems(&[empty(1), empty(2), empty(3)], data), none);
        let other = member(3, "other-0123456789abcdef", true, true);
        assert_eq!(
            problems(&[own(1), own(2), other], data),
            ["host `node03`: its member was set up for cluster `other`, the inventory is of cluster `prod`"]
        );
        // The same name, but of another bootstrap.
        let twin = member(3, "prod-ffffffffffffffff", true, true);
        let said = problems(&[own(1), own(2), twin], data);
        assert!(
            said.len() == 1 && said[0].starts_with("host `node03`: data dir `/var/lib/etcd` belongs to"),
            "{said:?}"
        );
    }
    let mut unknown = own(2);
    unknown.environment = None;
    let mut broken = own(3);
    broken.wal = None;
    let hosts = [own(1), unknown, broken];
    assert_eq!(problems(&hosts, false), none);
    let said = problems(&hosts, true);
    assert!(said.len() == 2 && said[0].ends_with("that etcd-ha did not set up"), "{said:?}");
    assert!(said[1].ends_with("is no etcd data dir"), "{said:?}");
    let mut swapped = own(1);
    swapped.wal = member(1, "prod-ffffffffffffffff", true, true).wal;
    let said = problems(&[swapped], true);
    assert!(said.len() == 1 && said[0].ends_with("its etcd.conf to another"), "{said:?}");
}
