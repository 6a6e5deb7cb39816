//! Progress bars on stderr: position, total, rate and what is left; nothing at all when stderr is no terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

const WITH_TOTAL: &str = "{msg:<10} {bar:32} {human_pos}/{human_len} {prefix} {per_sec} {eta}";
const SHARE: &str = "{msg:<10} {bar:32} {percent:>3} % {prefix}, {eta} left";
const WITHOUT_TOTAL: &str = "{msg:<10} {spinner} {human_pos} {prefix} {per_sec}";
const TICK: Duration = Duration::from_millis(120);

pub(super) fn target(shown: bool) -> MultiProgress {
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    MultiProgress::with_draw_target(target)
}

/// One line of progress; it goes away when dropped.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub(super) fn new(bars: &MultiProgress, shown: bool, what: &'static str, total: Option<u64>) -> Bar {
        if !shown {
            return Bar { bar: ProgressBar::hidden() };
        }
        let bar = bars.add(match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        });
        let template = if total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL };
        Bar::drawn(bar, template, what)
    }

    /// A bar that shows a share and the time left, for totals (bytes) that mean little to who looks.
    pub(super) fn of_share(bars: &MultiProgress, shown: bool, what: &'static str, total: u64) -> Bar {
        match shown {
            false => Bar { bar: ProgressBar::hidden() },
            true => Bar::drawn(bars.add(ProgressBar::new(total)), SHARE, what),
        }
    }

    fn drawn(bar: ProgressBar, template: &str, what: &'static str) -> Bar {
        // A template that does not parse leaves the plain style; it is a constant, so tests see it.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_message(what);
        bar.enable_steady_tick(TICK);
        Bar { bar }
    }

    /// Things done so far.
    pub fn at(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// More things done.
    pub fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    /// Words after the count, such as the unit.
    pub fn beside(&self, text: impl Into<std::borrow::Cow<'static, str>>) {
        self.bar.set_prefix(text);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_understood() {
        for template in [WITH_TOTAL, SHARE, WITHOUT_TOTAL] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
