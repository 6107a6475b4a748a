//! Drills: every scenario is recovered with the runbook as it is shipped, the wrong way is tried first and
//! named, nothing of a sandbox is left, and nothing of this machine is reached from one.

mod idle;
mod keys;
mod worlds;

use crate::harness::{
    bin::{Blackstart, Finished, step},
    eventually, process,
};
use crate::panel::{begins, first_cause};
use blackstart::{
    domain::drill::{Move, Scenario, filled},
    sandbox::scenario::SHIPPED,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// A whole drill: building the sandbox, and the way through it.
const PATIENCE: Duration = Duration::from_secs(900);

/// A home for drills. Its state is short of path, since sockets lie below it.
struct Drill {
    home: Blackstart,
}

impl Drill {
    fn new() -> Self {
        Self {
            home: Blackstart::new(),
        }
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> Finished {
        let all: Vec<&str> = ["drill"].iter().chain(words).copied().collect();
        self.home.spawn(&all).finished(PATIENCE)
    }

    fn sandboxes(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home.state().join("sandboxes"));
        let names = entries.into_iter().flatten().flatten();
        names
            .filter_map(|e| e.file_name().into_string().ok())
            .collect()
    }

    /// The folder of the only sandbox, and what its supervisor has written about it.
    #[track_caller]
    fn sandbox(&self) -> (PathBuf, Value) {
        let all = self.sandboxes();
        assert_eq!(all.len(), 1, "{all:?}");
        let folder = self.home.state().join("sandboxes").join(&all[0]);
        let state = fs::read(folder.join("state.json")).unwrap();
        (folder, serde_json::from_slice(&state).unwrap())
    }

    /// A command in the sandbox that is up.
    fn inside<S: AsRef<OsStr>>(&self, words: &[S]) -> Finished {
        let shell = ["drill", "--shell", "--"].iter().map(OsStr::new);
        let all: Vec<&OsStr> = shell.chain(words.iter().map(AsRef::as_ref)).collect();
        self.home.spawn(&all).finished(PATIENCE)
    }

    /// What a person does beside the cockpit.
    fn by_hand(&self, one: &Move, facts: &BTreeMap<String, String>) {
        let script = filled(&one.by_hand, facts);
        self.inside(&["bash", "-c", &script]).exits(0);
    }

    /// The steps of its incident, as they stand.
    fn steps(&self) -> Vec<Value> {
        let shown = self.home.show_json(&self.home.incident());
        shown["steps"].as_array().cloned().unwrap_or_default()
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        assert_eq!(self.sandboxes(), Vec::<String>::new());
        let root = self.home.state();
        let left = process::holders(&root);
        let named: Vec<_> = left.iter().map(|pid| process::arguments(*pid)).collect();
        assert!(left.is_empty(), "{named:?}");
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        let _ = self
            .home
            .spawn(&["drill", "--clean"])
            .finished(Duration::from_secs(60));
    }
}

/// The words of a move that drives the incident, whether it begins it or goes on with it.
fn words_of(one: &Move) -> &[String] {
    if one.run.is_empty() {
        &one.resume
    } else {
        &one.run
    }
}

fn shipped(id: &str) -> Scenario {
    Scenario::shipped(id).unwrap_or_else(|| panic!("the scenario {id}"))
}

fn sha256(runbook: &str) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets/runbooks/{runbook}.yaml"));
    Sha256::digest(fs::read(path).unwrap())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Runs a scenario and looks at what its journal says.
#[track_caller]
fn recovers(id: &str, detour: bool) {
    let scenario = shipped(id);
    let drill = Drill::new();
    let mut words = vec!["--scenario", id, "--seed", "11", "--headless"];
    let moves: &[Move] = if detour {
        words.push("--detour");
        &scenario.detour
    } else {
        &scenario.way
    };
    assert!(!moves.is_empty(), "{id} has moves");
    let done = drill.run(&words).exits(0);
    let shown = drill.home.show_json(&drill.home.incident());

    assert_eq!(shown["state"], "recovered", "{done}");
    assert_eq!(
        (&shown["mode"], &shown["world"]),
        (&"drill".into(), &"simulated".into())
    );
    // The runbook is the shipped one, to the byte: only the site differs.
    assert_eq!(shown["runbook"]["sha256"], sha256(&scenario.runbook));
    assert_eq!(shown["site"]["kind"], "sandbox");
    for one in moves {
        let Some(expected) = &one.fails else { continue };
        let name = expected.step.rsplit('/').next().unwrap();
        let attempts = step(&shown, name)["attempts"].as_array().unwrap();
        let failed = attempts.iter().find(|a| a["outcome"] == "failed");
        let failed = failed.unwrap_or_else(|| panic!("`{}` failed once\n{done}", expected.step));
        let first = failed["causes"][0]["cause"].as_str().unwrap_or_default();
        assert!(
            first.starts_with(&expected.cause),
            "`{}`: the first cause is {first:?}",
            expected.step
        );
        let number = usize::try_from(step(&shown, name)["number"].as_u64().unwrap()).unwrap();
        let (panel, screen) = first_cause(&drill.home, &drill.home.incident(), number);
        assert!(begins(&panel, first), "`{}`\n{screen}", expected.step);
    }
    let told: Value =
        serde_json::from_str(&drill.home.export(&drill.home.incident(), "json")).unwrap();
    assert_eq!(told["debrief"]["broken"], scenario.title);
    assert_eq!(told["debrief"]["plan_right"], true, "{:#}", told["debrief"]);
    drill.nothing_is_left();
}

macro_rules! ways {
    ($($name:ident: $id:literal),* $(,)?) => {
        $(#[test] fn $name() { recovers($id, false); })*

        #[test]
        fn every_shipped_scenario_has_its_test() {
            let tested = [$($id),*];
            let all: Vec<&str> = SHIPPED.iter().map(|(id, _)| *id).collect();
            assert_eq!(all, tested);
        }
    };
}

ways! {
    a_migration_that_emptied_tables_is_undone_by_point_in_time_recovery: "postgres-migration",
    a_database_that_is_gone_comes_back_from_its_dump: "postgres-gone",
    a_dump_that_was_cut_short_is_found_out_and_the_one_before_it_is_used: "dump-truncated",
    a_redis_whose_file_is_damaged_comes_back_from_its_copy: "redis-lost",
    a_redis_that_ignores_its_rdb_file_is_made_to_read_it: "redis-shadowed",
    a_volume_that_is_lost_comes_back_from_its_snapshot: "volume-lost",
    a_claim_that_somebody_holds_is_freed: "claim-held",
    several_stores_that_are_lost_come_back_in_their_order: "several-lost",
    a_cluster_that_is_lost_comes_back_beside_it_from_the_vault: "cluster-lost",
    a_cluster_without_a_backup_is_made_anew_with_helm: "cluster-unsaved",
    a_site_that_is_gone_comes_up_elsewhere: "ampora-site-lost",
    a_platform_with_the_wrong_key_gets_the_right_one: "ampora-key-rotated",
    agents_whose_authority_is_lost_are_enrolled_anew: "ampora-agents-authority",
    an_audit_log_that_was_swept_is_taken_from_before: "ampora-swept",
    a_federation_certificate_that_is_missing_is_issued_again: "ampora-federation",
}

macro_rules! detours {
    ($($name:ident: $id:literal),* $(,)?) => {
        $(#[test] fn $name() { recovers($id, true); })*

        #[test]
        fn every_detour_has_its_test() {
            let tested = [$($id),*];
            let all = SHIPPED.iter().map(|(id, _)| *id);
            let all: Vec<&str> = all.filter(|id| !shipped(id).detour.is_empty()).collect();
            assert_eq!(all, tested);
        }
    };
}

detours! {
    a_moment_after_the_damage_is_named_and_another_one_is_taken: "postgres-migration",
    a_redis_that_was_started_with_its_append_only_file_is_named: "redis-shadowed",
    a_restore_without_the_extension_is_named_before_it_begins: "cluster-lost",
    a_vault_without_recovery_points_is_named_and_the_other_way_is_taken: "cluster-unsaved",
    deploying_what_ran_before_is_named_before_it_is_applied: "ampora-site-lost",
    a_newer_key_is_named_where_the_platform_cannot_read_its_fields: "ampora-key-rotated",
    a_moment_after_the_sweep_is_named: "ampora-swept",
}

#[test]
fn every_scenario_names_a_runbook_steps_and_faults_that_there_are() {
    for (id, bytes) in SHIPPED {
        let scenario = Scenario::read(bytes).unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_eq!(scenario.id, *id);
        assert!(
            !scenario.broken.is_empty() && !scenario.answers.is_empty() && !scenario.way.is_empty(),
            "{id}"
        );
        let last = scenario.way.last().unwrap();
        assert!(last.fails.is_none(), "{id} ends well");
        if scenario.twist.is_some() {
            let falls = scenario
                .way
                .iter()
                .chain(&scenario.detour)
                .any(|m| m.fails.is_some());
            assert!(falls, "{id} has a twist that nobody falls for");
        }
    }
}
