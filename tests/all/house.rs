//! The house: imports go down, the domain is pure, files are rooms, and what we build on is what we
//! said.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file, below `src`, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut out = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                out.push((
                    path.strip_prefix(root().join("src")).unwrap().to_owned(),
                    text,
                ));
            }
        }
    }
    assert!(out.len() > 50, "the sources were not found");
    out
}

/// The room of a file: its first folder, or its own name.
fn room(path: &Path) -> String {
    let first = path.iter().next().unwrap().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The code without its tests and comments.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]").next().unwrap();
    before_tests
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Higher floors may use lower ones; rooms of one floor may use each other where the list says so.
const FLOORS: [(&str, u32); 20] = [
    ("main", 10),
    ("lib", 10),
    ("cli", 9),
    ("tui", 8),
    ("engine", 7),
    ("store", 6),
    ("export", 6),
    ("supervisor", 5),
    ("actions", 4),
    ("sandbox", 4),
    ("checks", 4),
    ("systems", 3),
    ("values", 2),
    ("logs", 2),
    ("journal", 2),
    ("private", 1),
    ("clock", 1),
    ("trace", 2),
    ("offered", 1),
    ("domain", 0),
];

/// Rooms of one floor: an export is made from what the store loaded, a log is stamped as a journal is.
const NEIGHBOURS: [(&str, &str); 3] = [
    ("journal", "values"),
    ("export", "store"),
    ("logs", "journal"),
];

#[test]
fn imports_only_go_down() {
    let floors: BTreeMap<&str, u32> = FLOORS.into_iter().collect();
    let uses = regex::Regex::new(r"crate::(?:\{([^}]*)\}|([a-z_]+))").unwrap();
    let names = regex::Regex::new(r"(?:^|[{,]\s*)([a-z_]+)(?:::|,|\s*$|\s*\})").unwrap();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let from = room(&path);
        let floor = *floors
            .get(from.as_str())
            .unwrap_or_else(|| panic!("{from} has no floor: give it one in FLOORS"));
        for hit in uses.captures_iter(&code(&text)) {
            let mut rooms = BTreeSet::new();
            if let Some(one) = hit.get(2) {
                rooms.insert(one.as_str().to_owned());
            }
            if let Some(list) = hit.get(1) {
                let list = format!("{{{}}}", list.as_str());
                rooms.extend(names.captures_iter(&list).map(|c| c[1].to_owned()));
            }
            for to in rooms {
                let Some(target) = floors.get(to.as_str()) else {
                    continue;
                };
                let neighbours = NEIGHBOURS.contains(&(from.as_str(), to.as_str()));
                if to != from && *target >= floor && !neighbours {
                    wrong.push(format!("{} uses crate::{to}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_domain_is_pure() {
    let forbidden = [
        "std::fs",
        "std::env",
        "std::net",
        "std::process",
        "std::thread",
        "std::io",
        "tokio",
        "Utc::now",
        "SystemTime",
        "Instant::now",
        "rustix",
        "reqwest",
        "crossterm",
        "ratatui",
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if room(&path) != "domain" {
            continue;
        }
        let code = code(&text);
        for word in forbidden {
            if code.contains(word) {
                wrong.push(format!("{} has {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_file_is_one_room() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > 620)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(path, text)| !text.starts_with("//!") && !path.ends_with("tests.rs"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

/// What `cargo metadata` says of everything that is linked.
fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The packages that are really linked: `cargo metadata` also lists optional ones that nobody asked for.
fn linked(metadata: &serde_json::Value) -> Vec<&serde_json::Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges=normal,build",
            "--prefix=none",
        ])
        .args(["--target=x86_64-unknown-linux-gnu", "--format={p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|l| {
            let mut words = l.split_whitespace();
            Some((words.next()?, words.next()?.trim_start_matches('v')))
        })
        .collect();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| names.contains(&(p["name"].as_str().unwrap(), p["version"].as_str().unwrap())))
        .collect()
}

#[test]
fn what_we_build_on_is_licensed_and_single() {
    let metadata = metadata();
    let packages = linked(&metadata);
    assert!(packages.len() > 100, "the packages were not found");
    let allowed = [
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unicode-3.0",
        "Unlicense",
        "CDLA-Permissive-2.0",
        "0BSD",
        "BSL-1.0",
        "MIT-0",
        "CC0-1.0",
        "Apache-2.0 WITH LLVM-exception",
    ];
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        versions
            .entry(name)
            .or_default()
            .insert(package["version"].as_str().unwrap());
        // Asked of its own files only, which we do not change; `directories` needs it.
        if name == "option-ext" {
            continue;
        }
        let licence = package["license"].as_str().unwrap_or("");
        let one_is_fine = licence
            .split(" OR ")
            .flat_map(|part| part.split('/'))
            .any(|part| {
                part.split(" AND ")
                    .all(|p| allowed.contains(&p.trim_matches(['(', ')', ' '])))
            });
        assert!(one_is_fine, "{name}: `{licence}` is not on the list");
    }
    for single in [
        "ratatui",
        "ratatui-core",
        "crossterm",
        "rustls",
        "ring",
        "tokio",
    ] {
        assert_eq!(versions.get(single).map(BTreeSet::len), Some(1), "{single}");
    }
    for never in [
        "aws-lc-rs",
        "aws-lc-sys",
        "openssl",
        "openssl-sys",
        "native-tls",
    ] {
        assert!(!versions.contains_key(never), "{never} is linked");
    }
}

#[test]
fn the_runbook_in_the_readme_has_no_fault() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, after) = readme.split_once("```yaml\n").expect("a runbook");
    let (text, _) = after.split_once("```").expect("its end");
    let home = crate::harness::bin::Blackstart::new();
    let file = home.write("readme.yaml", text);
    home.output(&["lint", &file]).exits(0);
}
