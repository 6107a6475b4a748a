//! Values of peace time: one JSON line each time they were taken, oldest first.

use super::Store;
use crate::{
    clock,
    domain::{site::Baseline, text::Clean},
    private::{self, Open},
};
use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Write},
    path::PathBuf,
};

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    at: DateTime<Utc>,
    who: Clean,
    values: IndexMap<String, String>,
}

impl Store {
    fn baselines_path(&self, runbook: &str, site: Option<&str>) -> PathBuf {
        let name = match site {
            Some(site) => format!("{runbook}@{site}.jsonl"),
            None => format!("{runbook}.jsonl"),
        };
        self.root.join("baselines").join(name)
    }

    /// What was taken of a runbook at a site; lines that cannot be read are left out.
    pub fn baselines(&self, runbook: &str, site: Option<&str>) -> Vec<Baseline> {
        let text = std::fs::read_to_string(self.baselines_path(runbook, site)).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|l| serde_json::from_str::<Line>(l).ok());
        lines
            .map(|line| Baseline {
                at: line.at,
                values: line.values,
            })
            .collect()
    }

    /// Keeps what was taken just now; synced when this returns.
    pub fn keep_baseline(
        &self,
        runbook: &str,
        site: Option<&str>,
        values: &IndexMap<String, String>,
    ) -> io::Result<DateTime<Utc>> {
        let path = self.baselines_path(runbook, site);
        if let Some(folder) = path.parent() {
            private::create_dir(folder)?;
        }
        let line = Line {
            v: 1,
            at: clock::now(),
            who: Clean::line(&crate::who()),
            values: values.clone(),
        };
        let mut file = private::open(&path, Open::Append)?;
        writeln!(
            file,
            "{}",
            serde_json::to_string(&line).map_err(io::Error::other)?
        )?;
        file.sync_all()?;
        private::sync_dir_of(&path)?;
        Ok(line.at)
    }
}
