//! Secrets: in memory only, compared by fingerprint under a key of the incident.

use crate::{domain::redact::Redactor, journal::hex};
use hmac::{Hmac, KeyInit, Mac};
use indexmap::IndexMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The secrets of one incident. Dropped, they are overwritten.
pub struct Vault {
    key: [u8; 32],
    secrets: IndexMap<String, SecretString>,
    /// For tests of the tests, in debug builds.
    no_redact: bool,
}

impl Vault {
    pub fn new(key: [u8; 32]) -> Self {
        let no_redact =
            cfg!(debug_assertions) && std::env::var_os("BLACKSTART_TEST_NO_REDACT").is_some();
        Self {
            key,
            secrets: IndexMap::new(),
            no_redact,
        }
    }

    /// Takes a secret and returns its fingerprint.
    pub fn hold(&mut self, name: &str, value: String) -> String {
        let fingerprint = self.fingerprint(&value);
        self.secrets
            .insert(name.to_owned(), SecretString::from(value));
        fingerprint
    }

    fn fingerprint(&self, value: &str) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key)
            .expect("HMAC takes keys of any length");
        mac.update(value.as_bytes());
        hex(&mac.finalize().into_bytes()[..8])
    }

    pub fn redactor(&self) -> Redactor {
        if self.no_redact {
            return Redactor::none();
        }
        Redactor::new(
            self.secrets
                .iter()
                .map(|(n, v)| (n.as_str(), v.expose_secret())),
        )
    }

    pub fn no_redact(&self) -> bool {
        self.no_redact
    }

    /// The secrets themselves, on their way to the edge.
    pub(super) fn expose(&self) -> IndexMap<String, String> {
        self.secrets
            .iter()
            .map(|(n, v)| (n.clone(), v.expose_secret().to_owned()))
            .collect()
    }
}
