//! The limit follows the time inside, the line follows the pace, and places are never lost or made up.

use super::*;

fn options() -> AdmissionOptions {
    AdmissionOptions { target: Duration::from_millis(20), ..AdmissionOptions::default() }
}

fn place(admission: &Arc<Admission>) -> Option<Place> {
    let permit = Arc::clone(&admission.permits).try_acquire_owned().ok()?;
    Some(admission.enter(permit, true))
}

/// Places that can be taken at once.
fn places(admission: &Arc<Admission>) -> usize {
    let taken: Vec<Place> = std::iter::from_fn(|| place(admission)).collect();
    taken.len()
}

fn window_over(admission: &Admission) {
    let mut state = admission.state.lock().unwrap();
    state.window.since -= WINDOW;
}

/// One window in which all places were used, each for so long.
fn window(admission: &Arc<Admission>, took: Duration) {
    let mut taken: Vec<Place> = std::iter::from_fn(|| place(admission)).collect();
    taken.iter_mut().for_each(|place| place.since -= took);
    drop(taken);
    window_over(admission);
    admission.status();
}

#[test]
fn slow_windows_take_places_away_and_fast_ones_give_them_back() {
    let admission = Arc::new(Admission::new(16, options()));
    assert_eq!(places(&admission), 16);
    window(&admission, Duration::from_millis(1));
    for _ in 0..10 {
        window(&admission, Duration::from_millis(100));
    }
    let limit = admission.status().limit;
    assert!((4..=6).contains(&limit), "16 * 0.9^10 = 5.6: {limit}");
    assert_eq!(places(&admission), limit);
    for _ in 0..40 {
        window(&admission, Duration::from_millis(1));
    }
    assert_eq!((admission.status().limit, places(&admission)), (16, 16), "and not more than may be");
}

#[test]
fn places_that_go_while_they_are_taken_go_when_they_come_back() {
    let admission = Arc::new(Admission::new(16, options()));
    window(&admission, Duration::from_millis(1));
    let mut held: Vec<Place> = std::iter::from_fn(|| place(&admission)).collect();
    let mut late = held.pop().unwrap();
    late.since -= Duration::from_secs(1);
    drop(late);
    window_over(&admission);
    assert_eq!(admission.status().limit, 14, "16 * 0.9");
    assert!(place(&admission).is_none());
    held.truncate(13);
    assert_eq!(places(&admission), 1);
    drop(held);
    assert_eq!((places(&admission), admission.status().inside), (14, 0));
}

#[test]
fn the_line_is_as_long_as_is_worked_off_in_time() {
    let admission = Arc::new(Admission::new(
        2,
        AdmissionOptions {
            queue: Duration::from_millis(200),
            target: Duration::from_secs(5),
            ..AdmissionOptions::default()
        },
    ));
    assert_eq!(admission.may_wait(7, 8), Ok(()), "nothing is known of the pace yet");
    assert_eq!(admission.may_wait(8, 8), Err(Shed::Queue));
    let mut one = place(&admission).unwrap();
    one.since -= Duration::from_millis(100);
    drop(one);
    // Two at a time, 100 ms each: four in 200 ms.
    assert!(admission.may_wait(2, 64).is_ok());
    assert_eq!(admission.may_wait(4, 64), Err(Shed::Queue));
}

#[test]
fn a_crowd_leaves_out_more_and_more_until_nobody_waits() {
    let admission = Admission::new(16, options());
    assert_eq!(admission.restraint(), Restraint::default());
    let mut seen = Vec::new();
    for _ in 0..60 {
        admission.shed(Shed::Queue);
        window_over(&admission);
        // The clock of the steps is the real one.
        std::thread::sleep(Duration::from_millis(25));
        let restraint = admission.restraint();
        if seen.last() != Some(&restraint) {
            seen.push(restraint);
        }
        if admission.status().level == Level::CachedOnly {
            break;
        }
    }
    let last = seen.last().copied().unwrap();
    assert!(last.no_rerank && last.floor_recall == Some(0.9) && last.top_k_max == Some(10), "{seen:?}");
    assert_eq!(seen.len(), 4, "one step after the other: {seen:?}");
    assert_eq!(admission.may_wait(0, 64), Err(Shed::CachedOnly));
    assert!(admission.status().shed[0].1 >= 4);
}

#[test]
fn searches_that_are_slow_by_nature_keep_their_places() {
    let admission = Arc::new(Admission::new(4, options()));
    for _ in 0..20 {
        window(&admission, Duration::from_millis(400));
    }
    assert_eq!(admission.status().limit, 4, "the target is 20 ms, and none was ever faster than 400 ms");
    for _ in 0..20 {
        window(&admission, Duration::from_millis(1_600));
    }
    assert_eq!(admission.status().limit, 1, "four times as slow as they can be");
}
