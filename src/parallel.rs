//! Work on many things at once, in a given order, without the global pool.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads of a [`map`] that have nothing more to do. Who is still at work may
/// start as many of their own.
#[derive(Debug)]
pub(crate) struct Spare(AtomicUsize);

/// The place of a spare thread; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'s>(&'s Spare);

impl Spare {
    pub(crate) fn new(threads: usize) -> Spare {
        Spare(AtomicUsize::new(threads))
    }

    pub(crate) fn take(&self) -> Option<Taken<'_>> {
        let fewer = |threads: usize| threads.checked_sub(1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        taken.is_ok().then_some(Taken(self))
    }

    fn give(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.give();
    }
}

/// Applies `work` to every task on at most `jobs` threads (as many as the
/// machine has when `None`), starting the tasks in order. Results come back in
/// the order of the tasks.
///
/// Inside a rayon pool the caller's pool is used. Where no thread can be had
/// the work is done on this one.
pub(crate) fn map<T: Sync, R: Send>(
    tasks: &[T],
    jobs: Option<usize>,
    work: impl Fn(&T, &Spare) -> R + Sync,
) -> Vec<R> {
    if rayon::current_thread_index().is_some() {
        return run(tasks, rayon::current_num_threads(), &work);
    }
    let jobs = jobs.unwrap_or_else(machine).max(1);
    let threads = jobs.min(tasks.len());
    if threads > 1
        && let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(threads).build()
    {
        return pool.install(|| run(tasks, jobs, &work));
    }
    let spare = Spare::new(jobs - 1);
    tasks.iter().map(|task| work(task, &spare)).collect()
}

/// Threads that this process may run at once.
pub(crate) fn machine() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many more threads the system lets this process have now, up to `most`.
pub(crate) fn startable(most: usize) -> usize {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    std::thread::scope(|scope| {
        // All at once, or it would be one after the other.
        let wait = || {
            let held = held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = held.recv();
        };
        let start = |_: &usize| std::thread::Builder::new().spawn_scoped(scope, wait).is_ok();
        let started = (0..most).take_while(start).count();
        drop(hold);
        started
    })
}

/// Workers take the next task when they are free, so that the first tasks, the
/// biggest, start first; splitting the list in halves would not do that.
fn run<T: Sync, R: Send>(
    tasks: &[T],
    jobs: usize,
    work: &(impl Fn(&T, &Spare) -> R + Sync),
) -> Vec<R> {
    let workers = jobs.min(tasks.len());
    let spare = Spare::new(jobs - workers);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(tasks.len()));
    rayon::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|_| {
                while let Some((at, task)) = take(tasks, &next) {
                    let result = work(task, &spare);
                    let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    done.push((at, result));
                }
                spare.give();
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

fn take<'t, T>(tasks: &'t [T], next: &AtomicUsize) -> Option<(usize, &'t T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, tasks.get(at)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_without_tasks_are_to_be_had() {
        let spare = |tasks: &[u32], jobs| map(tasks, Some(jobs), |_, spare| spare.take().is_some());
        assert_eq!(spare(&[1], 1), [false]);
        assert_eq!(spare(&[1], 2), [true]);
        assert_eq!(spare(&[1, 2], 4), [true, true]);
        let one = Spare::new(1);
        let taken = one.take();
        assert!(taken.is_some() && one.take().is_none());
        drop(taken);
        assert!(one.take().is_some());
    }

    #[test]
    fn results_keep_the_order_of_the_tasks() {
        let tasks: Vec<u32> = (0..1000).collect();
        for jobs in [None, Some(1), Some(2), Some(16)] {
            assert_eq!(
                map(&tasks, jobs, |task, _| task * 2),
                (0..1000).map(|n| n * 2).collect::<Vec<_>>()
            );
        }
        assert_eq!(map(&[] as &[u32], None, |task, _| *task), Vec::<u32>::new());
    }
}
