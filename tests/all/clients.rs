//! Clients of others against what a sandbox plays: a recent kubectl does what people do with it, and the
//! runbooks go their way with the real az, aws and helm. `make torture` runs them (see `.config/nextest.toml`),
//! and `tests/setup.sh torture` installs what they need.

use crate::harness::{
    PATIENCE,
    bin::{Blackstart, Finished, Running, step},
    eventually, search_path, test_tools, until,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::PathBuf,
    process::Command,
    time::Duration,
};

/// A whole drill whose every step starts a program that is slow to start.
const DRILL: Duration = Duration::from_secs(900);
/// What one command may take, with what it waits for.
const COMMAND: Duration = Duration::from_secs(120);
const PLATFORM: &str = "deployment/arbitex-platform";

/// A client that `tests/setup.sh torture` installs.
#[track_caller]
fn recent(name: &str) -> PathBuf {
    let path = test_tools().join("recent").join(name);
    assert!(
        path.is_file(),
        "this test needs {}: run tests/setup.sh torture",
        path.display()
    );
    path
}

/// Their folder before all others.
fn recent_first() -> OsString {
    let usual = search_path();
    let all = std::iter::once(test_tools().join("recent")).chain(env::split_paths(&usual));
    env::join_paths(all).unwrap()
}

/// A drill that was gone through, and its sandbox that is still up.
struct Sandbox {
    home: Blackstart,
    drilled: Finished,
    folder: PathBuf,
}

impl Sandbox {
    #[track_caller]
    fn after(scenario: &str) -> Self {
        for tool in ["kubectl", "helm", "az", "aws"] {
            recent(tool);
        }
        let home = Blackstart::new().with("PATH", recent_first());
        let words = ["drill", "--scenario", scenario, "--seed", "11"];
        let drill = home.spawn(&[&words[..], &["--headless", "--keep"]].concat());
        let drilled = drill.finished(DRILL);
        let sandboxes = fs::read_dir(home.state().join("sandboxes"));
        let mut all = sandboxes.unwrap().map(|entry| entry.unwrap().path());
        let folder = all.next().unwrap_or_else(|| panic!("a sandbox\n{drilled}"));
        Self {
            home,
            drilled,
            folder,
        }
    }

    /// Of a tool that is installed there is no stand-in.
    #[track_caller]
    fn has_no_stand_in(&self) {
        let all = fs::read_dir(self.folder.join("bin")).unwrap();
        let all: Vec<_> = all.map(|entry| entry.unwrap().file_name()).collect();
        assert!(all.is_empty(), "{all:?}");
    }

    /// A client inside, with what the steps of the drill have in their environment.
    fn client(&self, name: &str, words: &[&str]) -> Command {
        let program = recent(name);
        let shell = ["drill", "--shell", "--"].iter().map(OsStr::new);
        let all = shell.chain([program.as_os_str()]);
        let all: Vec<&OsStr> = all.chain(words.iter().map(OsStr::new)).collect();
        self.home.command(&all)
    }

    #[track_caller]
    fn does(&self, name: &str, words: &[&str]) -> Finished {
        Running::start(self.client(name, words)).finished(COMMAND)
    }

    /// kubectl in the namespace of the platform.
    #[track_caller]
    fn kubectl(&self, words: &[&str]) -> Finished {
        let namespace = ["--namespace", "arbitex"];
        self.does("kubectl", &[&namespace[..], words].concat())
    }

    #[track_caller]
    fn object(&self, name: &str) -> Value {
        let done = self.kubectl(&["get", name, "--output=json"]).exits(0);
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// Names of the platform's pods that are not about to go.
    #[track_caller]
    fn pods(&self) -> Vec<String> {
        let words = ["get", "pods", "--selector=app=arbitex-platform"];
        let done = self.kubectl(&[&words[..], &["--output=json"]].concat());
        let list: Value = serde_json::from_str(&done.exits(0).stdout).unwrap();
        let pods = list["items"].as_array().unwrap().iter();
        let stay = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        stay.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The new pods of the platform, once a rollout has replaced those.
    #[track_caller]
    fn replaced(&self, before: &[String]) -> Vec<String> {
        self.kubectl(&["rollout", "status", PLATFORM, "--timeout=60s"])
            .exits(0)
            .says("successfully rolled out");
        let now = self.pods();
        assert!(!now.is_empty());
        assert!(now.iter().all(|pod| !before.contains(pod)), "{now:?}");
        now
    }

    /// az with the subscription, as the runbooks call it.
    #[track_caller]
    fn az(&self, words: &[&str]) -> Finished {
        let own = [
            "--subscription",
            "00000000-0000-0000-0000-0000000d1111",
            "--only-show-errors",
        ];
        self.does("az", &[words, &own].concat())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let clean = self.home.spawn(&["drill", "--clean"]);
        let _ = clean.finished(PATIENCE);
    }
}

/// A claim, and a pod that mounts it and goes on printing.
const WALKER: &str = "apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: spare }
spec: { storageClassName: managed, accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
---
apiVersion: v1
kind: Pod
metadata: { name: walker, labels: { pace: slow } }
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{ name: spare, persistentVolumeClaim: { claimName: spare } }]
  containers:
    - name: walker
      image: mcr.microsoft.com/azurelinux/busybox:1.36
      command: [sh, -c, 'n=0; while :; do n=$((n + 1)); echo \"step $n\"; sleep 0.2; done']
      volumeMounts: [{ name: spare, mountPath: /spare }]
";

#[test]
fn a_recent_kubectl_does_what_people_do_with_it() {
    let sandbox = Sandbox::after("redis-shadowed");
    let k = |words: &[&str]| sandbox.kubectl(words);
    k(&["version"]).exits(0).says("Client Version: v1\\.35\\.");

    looks(&sandbox);
    a_rollout_goes_on_and_back(&sandbox);
    manifests_and_what_runs(&sandbox);
    a_claim_ends_when_nobody_holds_it(&sandbox);
}

fn looks(sandbox: &Sandbox) {
    let k = |words: &[&str]| sandbox.kubectl(words);
    k(&["get", "pods,statefulsets,pvc", "--output=wide"])
        .exits(0)
        .says("pod/arbitex-redis-0 +1/1 +Running")
        .says("statefulset.apps/arbitex-redis +1/1")
        .says("persistentvolumeclaim/arbitex-redis-data +Bound");
    k(&["describe", "pod", "arbitex-redis-0"])
        .exits(0)
        .says("Name: +arbitex-redis-0")
        .says("Ready: +True")
        .says("ClaimName: +arbitex-redis-data")
        .says("Successfully assigned arbitex/arbitex-redis-0");
    k(&["describe", PLATFORM])
        .exits(0)
        .says("3 desired \\| 3 updated \\| 3 total \\| 3 available")
        .says("ScalingReplicaSet");
    k(&["get", "pod", "nobody"])
        .exits(1)
        .says("Error from server \\(NotFound\\): pods \"nobody\" not found");
}

fn a_rollout_goes_on_and_back(sandbox: &Sandbox) {
    let k = |words: &[&str]| sandbox.kubectl(words);
    let first = sandbox.pods();
    assert_eq!(first.len(), 3);
    k(&["rollout", "restart", PLATFORM])
        .exits(0)
        .says("restarted");
    let second = sandbox.replaced(&first);
    assert_eq!(second.len(), 3);

    k(&["scale", PLATFORM, "--replicas=1"])
        .exits(0)
        .says("scaled");
    k(&[
        "wait",
        "--for=jsonpath={.status.readyReplicas}=1",
        PLATFORM,
        "--timeout=30s",
    ])
    .exits(0)
    .says("condition met");
    until(PATIENCE, "one pod", || sandbox.pods().len() == 1);

    let template = sandbox.object(PLATFORM)["spec"]["template"].clone();
    let before = sandbox.pods();
    k(&["set", "env", PLATFORM, "MARK=here"])
        .exits(0)
        .says("env updated");
    let marked = sandbox.replaced(&before);
    let env = &sandbox.object(PLATFORM)["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env[0]["value"], "here", "{env}");
    let seen = k(&["exec", &marked[0], "--", "printenv", "MARK"]).exits(0);
    assert_eq!(seen.stdout, "here\n");

    k(&["rollout", "undo", PLATFORM])
        .exits(0)
        .says("rolled back");
    let back = sandbox.replaced(&marked);
    assert_eq!(sandbox.object(PLATFORM)["spec"]["template"], template);
    k(&["exec", &back[0], "--", "printenv", "MARK"])
        .exits(1)
        .says("command terminated with exit code 1");
}

fn manifests_and_what_runs(sandbox: &Sandbox) {
    let k = |words: &[&str]| sandbox.kubectl(words);
    let file = sandbox.home.write("walker.yaml", WALKER);
    k(&["apply", "--filename", &file])
        .exits(0)
        .says("persistentvolumeclaim/spare created")
        .says("pod/walker created");
    k(&["apply", "--filename", &file])
        .exits(0)
        .says("pod/walker unchanged");
    sandbox
        .home
        .write("walker.yaml", WALKER.replace("pace: slow", "pace: fast"));
    k(&["diff", "--filename", &file])
        .exits(1)
        .says("\\+ +pace: fast");
    k(&["apply", "--filename", &file])
        .exits(0)
        .says("pod/walker configured");
    assert_eq!(
        sandbox.object("pod/walker")["metadata"]["labels"]["pace"],
        "fast"
    );

    k(&[
        "wait",
        "--for=condition=Ready",
        "pod/walker",
        "--timeout=30s",
    ])
    .exits(0)
    .says("pod/walker condition met");
    k(&[
        "wait",
        "--for=condition=Nonsense",
        "pod/walker",
        "--timeout=1s",
    ])
    .exits(1)
    .says("timed out waiting for the condition on pods/walker");

    let words = ["exec", "walker", "--", "sh", "-c"];
    let done = k(&[&words[..], &["echo out; echo err >&2; exit 7"]].concat()).exits(7);
    assert_eq!(done.stdout, "out\n");
    assert!(done.stderr.starts_with("err\n"), "{done}");

    // There and back, the same to the last bit.
    let bytes: Vec<u8> = (0..300_001_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 11).to_le_bytes()[0])
        .collect();
    let (there, back) = (
        sandbox.home.write("there.bin", &bytes),
        sandbox.home.file("back.bin"),
    );
    k(&["cp", &there, "walker:/tmp/there.bin"]).exits(0);
    k(&["exec", "walker", "--", "wc", "-c", "/tmp/there.bin"])
        .exits(0)
        .says("^300001 ");
    k(&["cp", "walker:/tmp/there.bin", &back]).exits(0);
    assert!(fs::read(back).unwrap() == bytes);

    // What is printed after it was asked for is told, until whoever asked has enough.
    let followed = sandbox.home.file("followed.txt");
    let words = [
        "--namespace=arbitex",
        "logs",
        "--follow",
        "--tail=1",
        "walker",
    ];
    let mut command = sandbox.client("kubectl", &words);
    command.stdout(fs::File::create(&followed).unwrap());
    let mut child = command.spawn().unwrap();
    let lines = eventually(PATIENCE, "five lines", || {
        let text = fs::read_to_string(&followed).unwrap();
        let whole = text.ends_with('\n').then_some(text)?;
        (whole.lines().count() >= 5).then_some(whole)
    });
    assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    crate::harness::process::send(child.id(), Signal::INT);
    let ended = crate::harness::process::wait_within(&mut child, PATIENCE);
    assert!(ended.is_some_and(|status| !status.success()));
    let steps: Vec<u64> = lines
        .lines()
        .map(|line| line.strip_prefix("step ").unwrap().parse().unwrap())
        .collect();
    assert!(steps.windows(2).all(|w| w[1] == w[0] + 1), "{steps:?}");
}

fn a_claim_ends_when_nobody_holds_it(sandbox: &Sandbox) {
    let k = |words: &[&str]| sandbox.kubectl(words);
    k(&["delete", "pvc", "spare", "--timeout=1s"])
        .exits(1)
        .says("persistentvolumeclaim \"spare\" deleted")
        .says("timed out waiting for the condition on persistentvolumeclaims/spare");
    let held = sandbox.object("pvc/spare");
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    k(&["delete", "pod", "walker", "--timeout=60s"]).exits(0);
    k(&["wait", "--for=delete", "pvc/spare", "--timeout=60s"]).exits(0);
    k(&["delete", "pvc", "spare"])
        .exits(1)
        .says("\"spare\" not found");
}

#[test]
fn the_real_az_and_aws_do_the_commands_of_the_runbooks() {
    for scenario in [
        "postgres-migration",
        "postgres-gone",
        "volume-lost",
        "ampora-key-rotated",
        "ampora-site-lost",
    ] {
        let sandbox = Sandbox::after(scenario);
        assert_eq!(sandbox.drilled.code, 0, "{scenario}\n{}", sandbox.drilled);
        let shown = sandbox.home.show_json(&sandbox.home.incident());
        assert_eq!(shown["state"], "recovered", "{scenario}");
        sandbox.has_no_stand_in();
        // Only the real one keeps the tokens that it was given.
        if ["postgres-migration", "volume-lost"].contains(&scenario) {
            let tokens = sandbox.folder.join("home/azure/msal_token_cache.json");
            assert!(tokens.is_file(), "{scenario}");
        }
        let login = sandbox.home.root().join("home/.azure");
        assert!(!login.exists(), "{scenario}: the login of whoever drills");
    }
}

#[test]
fn a_machine_whose_az_lacks_the_extensions_learns_it_in_a_drill() {
    let sandbox = Sandbox::after("cluster-lost");
    assert_eq!(sandbox.drilled.code, 1, "{}", sandbox.drilled);
    sandbox.has_no_stand_in();
    let shown = sandbox.home.show_json(&sandbox.home.incident());
    let failed = &step(&shown, "recovery-point")["attempts"][0];
    let cause = failed["causes"][0]["cause"].as_str().unwrap_or_default();
    assert!(
        cause.starts_with("These commands are extensions of az"),
        "{failed:#}"
    );

    // What needs none of them is done all the same.
    let site = fs::read(sandbox.folder.join("site.yaml")).unwrap();
    let site: Value = serde_json::from_slice(&site).unwrap();
    let variable = |name: &str| site["variables"][name].as_str().unwrap();
    let group = ["--resource-group", "arbitex-prod-rg"];
    let cluster = [&group[..], &["--name", "arbitex-aks-restored"]].concat();
    let az = |words: &[&str], more: &[&str]| sandbox.az(&[words, more].concat());
    let made = [
        &cluster[..],
        &["--location", "westeurope", "--kubernetes-version", "1.32"],
        &["--tier", "standard", "--node-count", "1", "--zones", "1"],
        &["--node-vm-size", "Standard_D4s_v5"],
        &["--network-plugin", "azure"],
        &["--vnet-subnet-id", variable("cluster_subnet")],
        &["--service-cidr", "10.1.0.0/16"],
        &["--dns-service-ip", "10.1.0.10"],
        &["--enable-managed-identity"],
        &["--assign-identity", variable("cluster_identity")],
        &["--no-ssh-key", "--no-wait", "--yes", "--output", "none"],
    ]
    .concat();
    az(&["aks", "create"], &made).exits(0);
    until(PATIENCE, "a cluster that is made", || {
        let query = ["--query", "provisioningState", "--output", "tsv"];
        let done = az(&["aks", "show"], &[&cluster[..], &query].concat());
        done.exits(0).stdout == "Succeeded\n"
    });
    let registry = ["--attach-acr", variable("registry")];
    az(&["aks", "update"], &[&cluster[..], &registry].concat()).exits(0);
    let file = sandbox.home.file("restored.kubeconfig");
    let words = ["--context", "restored", "--file", &file];
    let words = [&cluster[..], &words, &["--overwrite-existing"]].concat();
    az(&["aks", "get-credentials"], &words).exits(0);
    sandbox
        .does("kubectl", &["--kubeconfig", &file, "get", "nodes"])
        .exits(0)
        .says(" Ready ");

    let account = format!(
        "/subscriptions/{}/resourceGroups/arbitex-prod-rg/providers/Microsoft.Storage/storageAccounts/{}",
        variable("subscription"),
        variable("backup_account")
    );
    // A role that is there already is no failure.
    for _ in 0..2 {
        let words = [
            "--assignee-object-id",
            "6cf4f2b0-0000-4000-8000-000000000001",
            "--assignee-principal-type",
            "ServicePrincipal",
            "--role",
            "Storage Blob Data Contributor",
            "--scope",
            &account,
            "--output",
            "none",
        ];
        az(&["role", "assignment", "create"], &words).exits(0);
    }
    let words = ["--vault-name", variable("key_vault"), "--name", "AUDIT-KEY"];
    let words = [&words[..], &["--query", "value", "--output", "json"]].concat();
    az(&["keyvault", "secret", "show"], &words)
        .exits(0)
        .says("^\"[0-9a-f]{32}\"\n$");
    let words = ["--vault-name", variable("key_vault"), "--name", "NOBODY"];
    az(&["keyvault", "secret", "show"], &words)
        .exits(3)
        .says("SecretNotFound");
    sandbox
        .does("helm", &["list", "--all-namespaces", "--kubeconfig", &file])
        .exits(0)
        .says("^NAME");
}
