//! `{ command: [python, -m, alembic, current, --check-heads] }` or `{ script: "…" }`

use crate::domain::{
    finding::Pos,
    runbook::reader::{Map, Reader},
};
use serde::{Deserialize, Serialize};

/// A program's answer: arguments without a shell, or a script with the environment only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Words {
    pub run: Run,
    /// The exit code that must be; 0 without it.
    pub exit: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Run {
    Arguments(Vec<String>),
    Script {
        text: String,
        #[serde(skip)]
        at: Pos,
    },
}

impl Words {
    pub fn read(r: &mut Reader, map: &mut Map<'_>) -> Option<Self> {
        let exit = map.integer(r, "exit").unwrap_or(0);
        if let Some(node) = map.get("script") {
            let text = r.text(node, "script")?;
            return Some(Self {
                run: Run::Script {
                    text,
                    at: node.text_at(),
                },
                exit,
            });
        }
        let node = map.required(r, "command")?;
        let arguments = r.texts(node, "command");
        r.no_placeholder(node);
        if arguments.is_empty() {
            r.error(
                "wrong-type",
                node.at,
                "`command` names no program",
                "a list of arguments, `[pg_isready, -q]`; for a shell use `script:`",
            );
            return None;
        }
        Some(Self {
            run: Run::Arguments(arguments),
            exit,
        })
    }

    pub fn label(&self) -> String {
        match &self.run {
            Run::Arguments(arguments) => arguments.join(" "),
            Run::Script { text, .. } => {
                let first = text.lines().find(|l| !l.trim().is_empty());
                let first = first.unwrap_or("script").trim();
                first.trim_start_matches("# ").to_owned()
            }
        }
    }

    pub fn expected(&self) -> String {
        format!("exit {}", self.exit)
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        match &self.run {
            Run::Arguments(arguments) => arguments.iter().map(|a| (a.as_str(), false)).collect(),
            Run::Script { .. } => Vec::new(),
        }
    }
}
