//! A bar for people who wait, and an ear for signals.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ocitar::error::{Error, Result};
use ocitar::progress::Progress;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::Common;

/// Shows how much is done, on a terminal.
pub struct Bar {
    bar: ProgressBar,
    signals: Signals,
}

#[derive(Default)]
struct Signals {
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

/// Set when SIGTERM was what ended the work.
static TERMINATED: AtomicBool = AtomicBool::new(false);

impl Bar {
    pub fn new(common: &Common, what: &'static str) -> Bar {
        let shown =
            !common.no_progress && !common.quiet && !common.json && io::stderr().is_terminal();
        let target = if shown {
            ProgressDrawTarget::stderr_with_hz(8)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target).with_message(what);
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Bar { bar, signals: Signals::default() }
    }

    /// From here on a first SIGINT or SIGTERM asks the work to stop, so that a
    /// half-written file is removed; a second one ends the process at once.
    pub fn catch_signals(&self) -> Result<()> {
        for (signal, flag) in
            [(SIGINT, &self.signals.interrupted), (SIGTERM, &self.signals.terminated)]
        {
            let code = 128 + signal;
            let registered =
                signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(flag))
                    .and_then(|_| signal_hook::flag::register(signal, Arc::clone(flag)));
            registered.map_err(|e| Error::io("signals", e))?;
        }
        Ok(())
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&self, total: u64) {
        self.bar.set_length(total);
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn is_cancelled(&self) -> bool {
        let terminated = self.signals.terminated.load(Ordering::Relaxed);
        TERMINATED.fetch_or(terminated, Ordering::Relaxed);
        terminated || self.signals.interrupted.load(Ordering::Relaxed)
    }
}

/// 128 and the number of the signal that ended the work.
pub fn signal_exit_code() -> u8 {
    if TERMINATED.load(Ordering::Relaxed) { 143 } else { 130 }
}
