//! What can be said of a command that still runs, from what it has printed so far: does it wait for an
//! answer, and how far is it?

use regex::Regex;
use std::sync::LazyLock;

static PROMPT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)(",
        r"(password|passphrase|passcode|pass phrase|username|login|token|otp|verification code)\b.{0,80}:\s*$",
        r"|[\[(](y/n|yes/no|y/n/[a-z?/]+|yes/no/\[fingerprint\])[\])]\s*[:?]?\s*(\[[a-z]+\])?\s*$",
        r"|(are you sure|do you want|continue|proceed|overwrite)[^?]{0,120}\?\s*(\[[a-z/]+\]|\([a-z/]+\))?\s*:?\s*$",
        r"|(press|hit) (any key|enter|return)\b.{0,40}$",
        r")"
    ))
    .expect("a valid expression")
});

/// Does this last line, which has no end yet, ask for something?
pub fn asks(last: &str) -> bool {
    PROMPT.is_match(last)
}

/// How far a command is.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Of a hundred, where the tool says so.
    pub percent: Option<f64>,
    /// In the tool's own words.
    pub words: String,
}

static PERCENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(\d{1,3}(?:\.\d+)?)\s?%").expect("a valid expression"));
/// The meter of curl: `45  120M   45 54.0M    0     0  10.2M      0  0:00:11  0:00:05  0:00:06 10.4M`.
static CURL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*(\d{1,3})\s+[\d.]+[kMGTP]?\s+\d{1,3}\s+[\d.]+[kMGTP]?\s+\d{1,3}\s")
        .expect("a valid expression")
});
static OF: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(\d+) (?:of|out of) (\d+) (?:new |updated |old )?(replicas?|pods?)\b")
        .expect("a valid expression")
});
static ITEM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"pg_restore: (?:processing data for|creating|processing item|restoring|launching item) .{1,80}$")
        .expect("a valid expression")
});
static STATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)"?(?:provisioningState|status|state)"?\s*:\s*"?(InProgress|Updating|Creating|Provisioning|Running|Accepted|Restoring|Starting|Deleting)\b"#)
        .expect("a valid expression")
});

/// The figure that a line holds, in the formats of the tools of a recovery.
pub fn figure(line: &str) -> Option<Figure> {
    let of = |percent: f64| Figure {
        percent: (percent <= 100.0).then_some(percent),
        words: line.trim().to_owned(),
    };
    if let Some(found) = CURL.captures(line) {
        return Some(of(found[1].parse().ok()?));
    }
    if let Some(found) = OF.captures(line) {
        let (done, all): (f64, f64) = (found[1].parse().ok()?, found[2].parse().ok()?);
        return (all > 0.0).then(|| of(100.0 * done / all));
    }
    // pgBackRest says the share of a file's copy, pg_basebackup that of all, rsync and wget likewise.
    if let Some(found) = PERCENT.captures_iter(line).last()
        && is_progress(line)
    {
        return Some(of(found[1].parse().ok()?));
    }
    if ITEM.is_match(line) || STATE.is_match(line) {
        return Some(Figure {
            percent: None,
            words: line.trim().to_owned(),
        });
    }
    None
}

/// A percentage is not always a progress: `disk usage 91 %` is none.
fn is_progress(line: &str) -> bool {
    static WORDS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            r"(?i)(\b(restore|backup|back up|copy|copied|check(ed)?|transfer\w*|download\w*|upload\w*|receiv\w*|extract\w*|writing|import\w*|export\w*|progress|complete[d]?|done)\b",
            r"|\d+/\d+ kB|[\d.]+[kMG]?B/s|\[[=#>.\s-]{4,}\]|\beta\b)"
        ))
        .expect("a valid expression")
    });
    WORDS.is_match(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_waits_is_known() {
        for line in [
            "Password: ",
            "Password for user postgres: ",
            "Enter PEM pass phrase:",
            "[sudo] password for root: ",
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
            "Do you want to perform this operation? (y/n): ",
            "overwrite 'backup.tar'? ",
            "Proceed? [y/N] ",
            "Press any key to continue...",
            "Username for 'https://git.example': ",
        ] {
            assert!(asks(line), "{line}");
        }
        for line in [
            "restored log file",
            "the password was changed",
            "status: running",
            "error: password authentication failed for user \"x\"",
            "",
        ] {
            assert!(!asks(line), "{line}");
        }
    }

    #[test]
    fn the_figures_of_known_tools_are_read() {
        let percent = |line: &str| figure(line).and_then(|f| f.percent);
        assert_eq!(
            percent("P01 DETAIL: restore file /var/lib/pg/base/1/2 (16MB, 45.20%) checksum 3f"),
            Some(45.2)
        );
        assert_eq!(percent("12345/67890 kB (18%), 0/1 tablespace"), Some(18.0));
        assert_eq!(
            percent(
                " 45  120M   45 54.0M    0     0  10.2M      0  0:00:11  0:00:05  0:00:06 10.4M"
            ),
            Some(45.0)
        );
        assert_eq!(
            percent(
                "Waiting for deployment \"api\" rollout to finish: 1 of 4 updated replicas are available..."
            ),
            Some(25.0)
        );
        let item =
            figure("pg_restore: processing data for table \"public.tenants\"").expect("an item");
        assert_eq!(item.percent, None);
        assert!(figure("  \"provisioningState\": \"Updating\",").is_some());
        assert_eq!(figure("/dev/sda1  91% /var"), None);
        assert_eq!(figure("no figure here"), None);
    }
}
