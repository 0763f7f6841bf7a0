//! Work on many things at once, in a given order, without the global pool.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Applies `work` to every task on at most `jobs` threads (as many as the
/// machine has when `None`), starting the tasks in order. Results come back in
/// the order of the tasks.
///
/// Inside a rayon pool the caller's pool is used. Where no thread can be had
/// the work is done on this one.
pub(crate) fn map<T: Sync, R: Send>(
    tasks: &[T],
    jobs: Option<usize>,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if rayon::current_thread_index().is_some() {
        return run(tasks, rayon::current_num_threads(), &work);
    }
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.unwrap_or(machine).clamp(1, tasks.len().max(1));
    if jobs > 1
        && let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(jobs).build()
    {
        return pool.install(|| run(tasks, jobs, &work));
    }
    tasks.iter().map(work).collect()
}

/// Workers take the next task when they are free, so that the first tasks, the
/// biggest, start first; splitting the list in halves would not do that.
fn run<T: Sync, R: Send>(tasks: &[T], jobs: usize, work: &(impl Fn(&T) -> R + Sync)) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(tasks.len()));
    rayon::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|_| {
                while let Some((at, task)) = take(tasks, &next) {
                    let result = work(task);
                    let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    done.push((at, result));
                }
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
    fn results_keep_the_order_of_the_tasks() {
        let tasks: Vec<u32> = (0..1000).collect();
        for jobs in [None, Some(1), Some(2), Some(16)] {
            assert_eq!(
                map(&tasks, jobs, |task| task * 2),
                (0..1000).map(|n| n * 2).collect::<Vec<_>>()
            );
        }
        assert_eq!(map(&[] as &[u32], None, |task| *task), Vec::<u32>::new());
    }
}
