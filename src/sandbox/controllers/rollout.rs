//! The arithmetic of a rollout: how many pods of the new template and of the old ones there may be.

use super::objects::number;
use serde_json::Value;

/// How many pods a replica set is asked for, and how many are available.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub asked: i64,
    pub available: i64,
}

/// What a deployment asks for.
pub(super) struct Wish {
    pub wanted: i64,
    pub surge: i64,
    pub unavailable: i64,
    pub recreate: bool,
    pub paused: bool,
}

impl Wish {
    pub(super) fn of(deployment: &Value) -> Self {
        let spec = &deployment["spec"];
        let wanted = number(&spec["replicas"], 1).max(0);
        let recreate = spec["strategy"]["type"] == "Recreate";
        let rolling = &spec["strategy"]["rollingUpdate"];
        let (surge, unavailable) = match recreate {
            true => (0, wanted),
            false => limits(&rolling["maxSurge"], &rolling["maxUnavailable"], wanted),
        };
        Self {
            wanted,
            surge,
            unavailable,
            recreate,
            paused: spec["paused"] == true,
        }
    }
}

/// How many pods more and how many fewer there may be during a rollout.
fn limits(surge: &Value, unavailable: &Value, wanted: i64) -> (i64, i64) {
    let surge = share(surge, wanted, true);
    match share(unavailable, wanted, false).min(wanted) {
        0 if surge == 0 => (0, 1),
        unavailable => (surge, unavailable),
    }
}

/// A number, or a percentage of all; a quarter when nothing is said.
fn share(value: &Value, of: i64, up: bool) -> i64 {
    if let Some(number) = value.as_i64() {
        return number.max(0);
    }
    let percent = value.as_str().unwrap_or("25%").trim_end_matches('%');
    let percent = percent.parse::<i64>().unwrap_or(0).max(0);
    let more = if up { 99 } else { 0 };
    (of * percent + more) / 100
}

/// One step of a rolling update: the sizes that the new replica set and the old ones shall have.
pub(super) fn step(wish: &Wish, new: Size, old: &[Size]) -> (i64, Vec<i64>) {
    let mut sizes: Vec<i64> = old.iter().map(|o| o.asked).collect();
    let all = new.asked + sizes.iter().sum::<i64>();
    if new.asked > wish.wanted {
        return (wish.wanted, sizes);
    }
    let room = (wish.wanted + wish.surge - all).clamp(0, wish.wanted - new.asked);
    if room > 0 {
        return (new.asked + room, sizes);
    }
    let least = wish.wanted - wish.unavailable;
    let mut spare = all - least - (new.asked - new.available);
    if spare <= 0 {
        return (new.asked, sizes);
    }
    // Those that serve nobody go first.
    for (size, held) in sizes.iter_mut().zip(old) {
        let ill = (*size - held.available).clamp(0, spare);
        *size -= ill;
        spare -= ill;
    }
    let available = new.available + old.iter().map(|o| o.available).sum::<i64>();
    let mut more = available - least;
    for size in &mut sizes {
        let fewer = (*size).clamp(0, more.max(0));
        *size -= fewer;
        more -= fewer;
    }
    (new.asked, sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wish(wanted: i64) -> Wish {
        Wish::of(&json!({ "spec": { "replicas": wanted } }))
    }

    fn size(asked: i64, available: i64) -> Size {
        Size { asked, available }
    }

    #[test]
    fn quarters_are_rounded_up_and_down() {
        let quarter = Value::Null;
        assert_eq!(limits(&quarter, &quarter, 1), (1, 0));
        assert_eq!(limits(&quarter, &quarter, 3), (1, 0));
        assert_eq!(limits(&quarter, &quarter, 8), (2, 2));
        assert_eq!(limits(&json!(0), &json!(0), 3), (0, 1));
        assert_eq!(limits(&json!("50%"), &json!(9), 3), (2, 3));
    }

    #[test]
    fn a_rollout_of_three() {
        let wish = wish(3);
        // One more than wanted is made, and waited for.
        assert_eq!(step(&wish, size(0, 0), &[size(3, 3)]), (1, vec![3]));
        assert_eq!(step(&wish, size(1, 0), &[size(3, 3)]), (1, vec![3]));
        assert_eq!(step(&wish, size(1, 1), &[size(3, 3)]), (1, vec![2]));
        assert_eq!(step(&wish, size(1, 1), &[size(2, 2)]), (2, vec![2]));
        assert_eq!(step(&wish, size(3, 3), &[size(1, 1)]), (3, vec![0]));
        assert_eq!(step(&wish, size(3, 3), &[size(0, 0)]), (3, vec![0]));
    }

    #[test]
    fn the_ill_go_first() {
        let wish = wish(3);
        let old = [size(1, 0), size(3, 3)];
        assert_eq!(step(&wish, size(0, 0), &old), (0, vec![0, 3]));
    }

    #[test]
    fn fewer_are_wanted() {
        assert_eq!(step(&wish(0), size(2, 2), &[]), (0, vec![]));
        assert_eq!(step(&wish(0), size(0, 0), &[size(2, 2)]), (0, vec![0]));
    }
}
