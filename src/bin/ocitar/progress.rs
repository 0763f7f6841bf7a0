//! A bar for people who wait, and an ear for signals.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, LazyLock};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ocitar::error::{Error, Result};
use ocitar::progress::Progress;
use signal_hook::consts::{SIGBUS, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use crate::args::Common;

/// Shows how much is done, on a terminal.
pub struct Bar {
    bar: ProgressBar,
}

/// The signals that end the work, and whether each has come: of a run that
/// writes several files, in any of them or between two.
static SIGNALS: LazyLock<[(i32, Arc<AtomicBool>); 3]> =
    LazyLock::new(|| [SIGINT, SIGTERM, SIGHUP].map(|signal| (signal, Arc::default())));

/// The signal that ended the work.
static SIGNAL: AtomicI32 = AtomicI32::new(SIGINT);

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
        Bar { bar }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&self, total: u64) {
        // What is written after it was verified begins anew.
        self.bar.set_position(0);
        self.bar.set_length(total);
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn is_cancelled(&self) -> bool {
        let came = SIGNALS.iter().find(|(_, flag)| flag.load(Ordering::Relaxed));
        if let Some((signal, _)) = came {
            SIGNAL.store(*signal, Ordering::Relaxed);
        }
        came.is_some()
    }
}

/// From here on a first SIGINT, SIGTERM or SIGHUP asks the work to stop, so that a
/// half-written file is removed; a second one, whichever it is, ends the process at once.
pub fn catch_signals() -> Result<()> {
    static ONCE: AtomicBool = AtomicBool::new(false);
    if ONCE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let any = Arc::new(AtomicBool::new(false));
    for (signal, flag) in SIGNALS.iter() {
        // In this order: what the first one sets must not end it.
        let again = signal_hook::flag::register_conditional_shutdown(
            *signal,
            128 + signal,
            Arc::clone(&any),
        );
        let registered = again
            .and_then(|_| signal_hook::flag::register(*signal, Arc::clone(&any)))
            .and_then(|_| signal_hook::flag::register(*signal, Arc::clone(flag)));
        registered.map_err(|e| Error::io("signals", e))?;
    }
    Ok(())
}

/// Makes of the signals that files may send what other failures of theirs are:
/// errors of input and output.
pub fn survive_signals_of_files() {
    // A mapped file became shorter, or its disk failed. There is no way back from
    // there, and nothing but to end is safe; an unfinished output has no name.
    let always = Arc::new(AtomicBool::new(true));
    let exits = signal_hook::flag::register_conditional_shutdown(SIGBUS, 5, always);
    // Caught, a limit on the size of files is an error of the write.
    let goes_on = signal_hook::flag::register(SIGXFSZ, Arc::default());
    // Where that fails the signals do what they always do.
    let _ = (exits, goes_on);
}

/// 128 and the number of the signal that ended the work.
pub fn signal_exit_code() -> u8 {
    u8::try_from(128 + SIGNAL.load(Ordering::Relaxed)).unwrap_or(130)
}
