//! Settings: flags over environment over the config file; and where things are kept.

use super::{Exit, Failure};
use crate::store::Store;
use directories::ProjectDirs;
use std::path::{Path, PathBuf};

/// What holds for this run.
pub(super) struct Settings {
    state_dir: Option<PathBuf>,
    /// The config file that was named.
    pub file: Option<PathBuf>,
    pub config_dir: Option<PathBuf>,
    pub mono: bool,
    pub ascii: bool,
    pub keys: Vec<(String, String)>,
}

impl Settings {
    pub(super) fn read(file: Option<&Path>, state_dir: Option<PathBuf>) -> Result<Self, Failure> {
        let dirs = ProjectDirs::from("", "", "blackstart");
        let config_dir = dirs.as_ref().map(|d| d.config_dir().to_owned());
        let named = file.is_some();
        let file = file
            .map(Path::to_owned)
            .or_else(|| config_dir.as_ref().map(|d| d.join("config.toml")));
        let text = match file.as_deref().map(std::fs::read_to_string) {
            Some(Ok(text)) => text,
            Some(Err(e)) if named && e.kind() != std::io::ErrorKind::NotFound => {
                let shown = file.unwrap_or_default().display().to_string();
                return Err(Failure::usage(
                    format!("the config file {shown} cannot be read: {e}"),
                    "give another with --config",
                ));
            }
            Some(Err(_)) | None => String::new(),
        };
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            let shown = file.clone().unwrap_or_default().display().to_string();
            Failure::usage(
                format!("the config file {shown}:\n{e}"),
                "mend it, or give another with --config",
            )
        })?;
        let state_dir = state_dir
            .or_else(|| {
                table
                    .get("state_dir")
                    .and_then(|v| v.as_str())
                    .map(PathBuf::from)
            })
            .or_else(|| {
                dirs.as_ref()
                    .and_then(|d| d.state_dir().map(Path::to_owned))
            });
        let keys = table
            .get("keys")
            .and_then(|v| v.as_table())
            .map(|keys| {
                keys.iter()
                    .flat_map(|(name, value)| {
                        let several = value.as_array().cloned().unwrap_or_default();
                        let all = if several.is_empty() {
                            vec![value.clone()]
                        } else {
                            several
                        };
                        all.into_iter()
                            .filter_map(|key| Some((name.clone(), key.as_str()?.to_owned())))
                            .collect::<Vec<_>>()
                    })
                    .collect()
            })
            .unwrap_or_default();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let theme = table.get("theme").and_then(|v| v.as_str());
        Ok(Self {
            file: file.filter(|_| named),
            state_dir,
            config_dir,
            mono: no_color || theme == Some("mono"),
            ascii: table
                .get("ascii")
                .and_then(|v| v.as_bool())
                .unwrap_or(false),
            keys,
        })
    }

    fn dir(&self) -> Result<&Path, Failure> {
        self.state_dir.as_deref().ok_or_else(|| {
            Failure::usage(
                "this account has no home folder to keep incidents in",
                "say where: --state-dir DIR, or BLACKSTART_STATE_DIR",
            )
        })
    }

    /// For commands that only look.
    pub(super) fn store_to_look(&self) -> Result<Store, Failure> {
        Ok(Store::look(self.dir()?))
    }

    pub(super) fn store(&self) -> Result<Store, Failure> {
        Store::open(self.dir()?).map_err(|e| {
            Failure::new(
                Exit::Failed,
                e.to_string(),
                "say where else: --state-dir DIR",
            )
        })
    }
}
