//! Durations and sizes as people write and read them.

use std::time::Duration;

/// `90s`, `5m`, `1h30m`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|e| format!("`{}` is not a duration: {e}", text.trim()))
}

/// `50Gi`, `512 MiB`, `1.5GB`, or plain bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim());
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a size"))?;
    let unit = unit.trim_end_matches(['b', 'B']);
    let factor: f64 = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("`{text}` is not a size: write 50Gi, 512Mi or 1GB")),
    };
    Ok((number * factor) as u64)
}

/// A clock for people: `0:42`, `21:07`, `1:04:09`.
pub fn clock(seconds: f64) -> String {
    let total = seconds.max(0.0) as u64;
    let (h, m, s) = (total / 3600, total / 60 % 60, total % 60);
    if h > 0 {
        format!("{h}:{m:02}:{s:02}")
    } else {
        format!("{m}:{s:02}")
    }
}

/// A duration in the fewest words: `45m`, `2h`, `1h30m`, `3 m 41 s` for what was measured.
pub fn short(seconds: u64) -> String {
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (h, m, s) {
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, 0, 0) => format!("{h}h"),
        (h, m, 0) => format!("{h}h{m:02}m"),
        (h, m, s) => format!("{h}h{m:02}m{s:02}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_clocks_read_as_people_do() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("soon").is_err());
        assert_eq!(size("50Gi"), Ok(50 << 30));
        assert_eq!(size("1.5GB"), Ok(1_500_000_000));
        assert!(size("many").is_err());
        assert_eq!(clock(3849.2), "1:04:09");
        assert_eq!(short(5400), "1h30m");
        assert_eq!(short(221), "3m41s");
    }
}
