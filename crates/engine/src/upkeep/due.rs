//! What is due for one collection, and why: figures in, a decision out.
//!
//! Invariants: times on disk (of the newest backup, of the last check) decide, so a restart neither skips nor repeats;
//! a collection without a commit behind its newest backup gets no other one, so that quiet weeks do not push older states
//! out of the backups kept.

use super::UpkeepPolicy;
use super::board::{Compacted, Kept};
use crate::clock::ms;

/// When a job is due, milliseconds since 1970, and why.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Due {
    pub(super) at_ms: u64,
    pub(super) reason: String,
}

/// `None` while nothing is unsaved. `kept.newest_backup` must have been looked up.
pub(super) fn backup(policy: &UpkeepPolicy, kept: &Kept, seq: u64, now_ms: u64) -> Option<Due> {
    let every = policy.backup_every?;
    let changed_since_ms = kept.changed_since_ms.unwrap_or(now_ms);
    let settled_ms = changed_since_ms.saturating_add(ms(every.min(policy.settle)));
    let at = |at_ms, reason| Some(Due { at_ms, reason });
    let newest = kept.newest_backup?;
    if let Some(reason) = &kept.backup_wanted {
        return at(now_ms, reason.clone());
    }
    match newest {
        Some(newest) if newest.is_damaged => at(now_ms, "the newest backup is damaged".to_owned()),
        Some(newest) if newest.seq == seq => None,
        Some(newest) => {
            let period_ms = (newest.taken_unix_s * 1_000).saturating_add(ms(every));
            at(period_ms.max(settled_ms), format!("the newest backup is of commit {}", newest.seq))
        }
        None if seq == 0 => None,
        None => at(settled_ms, "there is no backup yet".to_owned()),
    }
}

/// `kept.scrubbed_ms` must have been looked up.
pub(super) fn scrub(policy: &UpkeepPolicy, kept: &Kept, seq: u64) -> Option<Due> {
    let every = policy.scrub_every?;
    if seq == 0 {
        return None;
    }
    Some(match kept.scrubbed_ms? {
        Some(last_ms) => Due {
            at_ms: last_ms.saturating_add(ms(every)),
            reason: "the last check is a period ago".to_owned(),
        },
        None => Due {
            at_ms: kept.first_seen_ms.saturating_add(ms(every.min(policy.settle))),
            reason: "it was not checked yet".to_owned(),
        },
    })
}

/// Whether space is to be looked for: something was deleted, and commit or generation are others than at the last look,
/// which was a period ago, or the index is about to be built over what is there.
pub(super) fn compact(
    policy: &UpkeepPolicy,
    kept: &Kept,
    now: Compacted,
    builds: bool,
    now_ms: u64,
) -> Option<String> {
    let every = policy.compact_every?;
    let due = match kept.compacted {
        Some((_, last)) if last == now => false,
        Some((at_ms, _)) => builds || at_ms.saturating_add(ms(every)) <= now_ms,
        None => true,
    };
    due.then(|| "rows were deleted since the last look".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::board::NewestBackup;
    use super::*;
    use std::time::Duration;

    const HOUR_MS: u64 = 3_600_000;
    const NOW_MS: u64 = 1_000 * HOUR_MS;

    fn kept(newest: Option<(u64, u64)>, changed_ago_ms: Option<u64>) -> Kept {
        let newest = newest.map(|(ago_ms, seq)| NewestBackup {
            taken_unix_s: (NOW_MS - ago_ms) / 1_000,
            seq,
            is_damaged: false,
        });
        Kept {
            newest_backup: Some(newest),
            changed_since_ms: changed_ago_ms.map(|ago_ms| NOW_MS - ago_ms),
            scrubbed_ms: Some(None),
            first_seen_ms: NOW_MS,
            ..Kept::default()
        }
    }

    fn due_in_ms(kept: &Kept, seq: u64) -> Option<i64> {
        backup(&UpkeepPolicy::default(), kept, seq, NOW_MS).map(|due| due.at_ms as i64 - NOW_MS as i64)
    }

    #[test]
    fn backups_are_a_day_apart_whatever_was_restarted() {
        assert_eq!(due_in_ms(&kept(Some((23 * HOUR_MS, 5)), Some(20 * HOUR_MS)), 6), Some(HOUR_MS as i64));
        let late = due_in_ms(&kept(Some((30 * HOUR_MS, 5)), Some(20 * HOUR_MS)), 6);
        assert_eq!(late, Some(-6 * HOUR_MS as i64), "missed while it was off: made now");
        assert_eq!(due_in_ms(&kept(Some((300 * HOUR_MS, 5)), None), 5), None, "nothing to save");
        let after_quiet = due_in_ms(&kept(Some((300 * HOUR_MS, 5)), Some(0)), 6);
        assert_eq!(after_quiet, Some(600_000), "writes collect for ten minutes");
    }

    #[test]
    fn a_first_backup_comes_soon_and_a_damaged_one_gets_a_successor_at_once() {
        assert_eq!(due_in_ms(&kept(None, Some(0)), 1), Some(600_000));
        assert_eq!(due_in_ms(&kept(None, None), 0), None, "an empty collection");
        let mut damaged = kept(Some((HOUR_MS, 5)), None);
        damaged.newest_backup = damaged
            .newest_backup
            .map(|newest| newest.map(|newest| NewestBackup { is_damaged: true, ..newest }));
        assert_eq!(due_in_ms(&damaged, 5), Some(0));
        let off = UpkeepPolicy { backup_every: None, ..UpkeepPolicy::default() };
        assert_eq!(backup(&off, &damaged, 5, NOW_MS), None);
    }

    #[test]
    fn checks_follow_the_last_one() {
        let policy = UpkeepPolicy::default();
        let mut kept = kept(None, None);
        assert_eq!(scrub(&policy, &kept, 1).map(|due| due.at_ms), Some(NOW_MS + 600_000));
        kept.scrubbed_ms = Some(Some(NOW_MS - HOUR_MS));
        assert_eq!(scrub(&policy, &kept, 1).map(|due| due.at_ms), Some(NOW_MS + 23 * HOUR_MS));
        assert_eq!(scrub(&policy, &kept, 0), None, "nothing to read");
        let short = UpkeepPolicy { scrub_every: Some(Duration::from_millis(5)), ..policy };
        assert_eq!(scrub(&short, &kept, 1).map(|due| due.at_ms), Some(NOW_MS - HOUR_MS + 5));
    }

    #[test]
    fn space_is_looked_for_once_per_commit_and_generation() {
        let policy = UpkeepPolicy::default();
        let mut kept = Kept::default();
        let due = |kept: &Kept, now, builds| compact(&policy, kept, now, builds, NOW_MS).is_some();
        assert!(due(&kept, (5, None), false), "after a start");
        kept.compacted = Some((NOW_MS - HOUR_MS / 2, (5, None)));
        assert!(!due(&kept, (5, None), true), "nothing was deleted since");
        assert!(!due(&kept, (6, None), false), "a moment ago");
        assert!(due(&kept, (6, None), true), "before a build");
        kept.compacted = Some((NOW_MS - HOUR_MS, (5, Some(1))));
        assert!(due(&kept, (5, Some(2)), false), "the index that held rows is gone");
        let off = UpkeepPolicy { compact_every: None, ..policy.clone() };
        assert_eq!(compact(&off, &kept, (6, None), true, NOW_MS), None);
    }
}
