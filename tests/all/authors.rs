//! What authors have: the plan on paper, the page, runbook tests.

use crate::harness::{bin::Blackstart, fixture};
use serde_json::Value;

fn json(home: &Blackstart, args: &[&str], code: i32) -> Value {
    let done = home.output(args).exits(code);
    serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done}"))
}

#[test]
fn the_plan_on_paper_has_the_steps_the_longest_way_and_what_is_missing() {
    let home = Blackstart::new().with("DB_PASSWORD", "correct-horse-battery");
    let args = [
        "plan",
        "arbitex",
        "--go",
        "postgres/pitr",
        "--set",
        "target=2026-03-10T14:30:00Z",
        "--set",
        "db_host=db.example.net",
    ];
    let plan = json(&home, &[&args[..], &["--json"]].concat(), 0);
    let steps = plan["steps"].as_array().unwrap();
    let place = |id: &str| {
        let found = steps
            .iter()
            .position(|s| s["step"].as_str().unwrap().ends_with(id));
        found.unwrap_or_else(|| panic!("no step {id}"))
    };
    assert!(place("secure/stop-writers") < place("pitr/restore-server"));
    assert!(place("pitr/restore-server") < place("recovered/health"));
    let critical = plan["critical_path"]["seconds"].as_u64().unwrap();
    let sum: u64 = steps.iter().filter_map(|s| s["budget_s"].as_u64()).sum();
    assert!(critical > 1_800 && critical <= sum, "{critical} of {sum}");
    let p0 = plan["severities"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["id"] == "P0")
        .unwrap();
    assert_eq!((&p0["rto_s"], &p0["fits"]), (&3600.into(), &true.into()));
    let misses: Vec<&Value> = plan["backups"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|b| b["misses"][0] == "P0")
        .collect();
    assert!(
        misses.iter().any(|b| b["of"] == "database"),
        "the dumps do not keep the RPO of a P0"
    );
    let missing = plan["missing"].to_string();
    assert!(
        missing.contains("cluster_context") && missing.contains("the tool `az`"),
        "{missing}"
    );
    assert!(!missing.contains("db_password"), "{missing}");

    let paper = home.output(&args).exits(0);
    for words in [
        "TARGET=2026-03-10T14:30:00Z",
        "[masked:db_password]",
        "missing here and now",
        "RTO of 1h",
        "moves database",
    ] {
        assert!(paper.stdout.contains(words), "{words}:\n{}", paper.stdout);
    }
    assert!(
        !paper.stdout.contains("correct-horse"),
        "a secret is masked"
    );
    home.output(&["plan", "arbitex", "--go", "postgres"])
        .exits(2)
        .says("postgres/pitr");
    home.output(&["plan", "arbitex", "--go", "postgers/pitr"])
        .exits(2)
        .says("postgres");
}

#[test]
fn the_page_of_a_runbook_says_how_to_do_it_by_hand() {
    let home = Blackstart::new();
    let file = home.write("looking.yaml", fixture("looking.yaml"));
    let page = home.output(&["render", &file]).exits(0).stdout;
    for words in [
        "# Looking at real systems",
        "## The cache",
        "redis-cli -e -h 127.0.0.1 -p \"$CACHE_PORT\" INFO keyspace",
        "PGPASSWORD=\"$DB_PASSWORD\" psql",
        "shows `>= 3`",
        "## Recovered",
    ] {
        assert!(page.contains(words), "{words}:\n{page}");
    }
    for shipped in ["arbitex", "ampora"] {
        let page = home.output(&["render", shipped]).exits(0).stdout;
        assert!(
            page.starts_with("# ") && !page.contains("\n\n\n\n"),
            "{shipped}"
        );
        assert_eq!(
            page.matches("```").count() % 2,
            0,
            "every block of code ends"
        );
    }
    let wrong = home.write("wrong.yaml", "blackstart: 1\n");
    home.output(&["render", &wrong]).exits(2).says("errors");
}

#[test]
fn the_tests_of_both_shipped_runbooks_pass_and_a_wrong_one_fails() {
    let home = Blackstart::new();
    for shipped in ["arbitex", "ampora"] {
        let said = json(&home, &["test", shipped, "--json"], 0);
        assert!(said["tests"].as_array().unwrap().len() > 100, "{shipped}");
        assert_eq!(said["failed"], 0);
    }
    let runbook = home.write("looking.yaml", fixture("looking.yaml"));
    home.output(&["test", &runbook])
        .exits(2)
        .says("looking.test.yaml");
    home.write(
        "looking.test.yaml",
        "runbook: looking\ntests:\n  - { name: nothing matches, step: ping, output: NOAUTH, expect: { cause: no-auth } }\n",
    );
    home.output(&["test", &runbook])
        .exits(1)
        .says("no failure row is called");
    home.write(
        "looking.test.yaml",
        "runbook: looking\ntests: [ { name: a, stp: ping, expect: { none: true } } ]\n",
    );
    home.output(&["test", &runbook]).exits(2).says("step");
}

#[test]
fn the_installed_tools_are_asked_which_options_they_have() {
    let home = Blackstart::new();
    crate::harness::need("pgbackrest", "pgbackrest");
    let script = |run: &str| {
        format!(
            "blackstart: 1\nid: t\ntitle: T\nprocedures:\n  - id: p\n    needs: {{ tools: [pg_restore, pgbackrest, redis-cli] }}\n    steps:\n      - {{ id: a, title: A, budget: 1m, fences: true, preserves: true, expect: done, run: 'true' }}\n      - id: b\n        title: B\n        budget: 1m\n        expect: done\n        run: |\n          {run}\nrecovered: {{ when: {{ file: / }} }}\n"
        )
    };
    for (run, slip) in [
        (
            "pg_restore --exit-on-error --no-onwer -d x f",
            Some("--no-onwer"),
        ),
        ("pg_restore --exit-on-error --no-owner -d x f", None),
        (
            "pgbackrest --stanza=x --repo1-path=/r info --output=json --stanzas=x | jq -e .",
            Some("--stanzas"),
        ),
        (
            "pgbackrest --stanza=x --no-delta --pg1-path=/d restore --type=time --target=x",
            None,
        ),
    ] {
        let file = home.write("tools.yaml", script(run));
        let said = home.output(&["lint", "--tools", "--json", &file]).exits(0);
        let list: Value = serde_json::from_str(&said.stdout).unwrap();
        let found: Vec<&Value> = list
            .as_array()
            .unwrap()
            .iter()
            .filter(|f| f["code"] == "unknown-option")
            .collect();
        match slip {
            None => assert!(found.is_empty(), "{run}: {found:#?}"),
            Some(slip) => {
                assert_eq!(found.len(), 1, "{run}: {list:#}");
                assert!(
                    found[0]["message"].as_str().unwrap().contains(slip),
                    "{found:#?}"
                );
            }
        }
    }
    let file = home.write("tools.yaml", script("helm list --alll"));
    let said = home.output(&["lint", "--tools", &file]).exits(0);
    let installed = said.both().contains("has no option `--alll`");
    assert!(
        installed || said.stderr.contains("helm is not installed here"),
        "{said}"
    );
}
