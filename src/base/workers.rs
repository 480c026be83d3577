//! A fixed, small set of threads for work that blocks: log and index reads, password hashes.
//! Never grows; work beyond the threads waits in the callers' futures.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Job = Box<dyn FnOnce() + Send>;

/// Room in the queue between callers and threads; a caller beyond it waits, holding only its own future.
const WAITING_JOBS_MAX: usize = 64;

/// A handle on the threads: cheap to clone. The threads end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Workers {
    /// Nothing when there are no threads, and whoever asks does the work itself.
    jobs: Option<smol::channel::Sender<Job>>,
}

impl Workers {
    /// Starts `threads` threads named `name`, each with a stack of `stack_bytes`.
    pub fn new(name: &str, threads: usize, stack_bytes: usize) -> io::Result<Self> {
        let (jobs, todo) = smol::channel::bounded::<Job>(WAITING_JOBS_MAX);
        for _ in 0..threads.max(1) {
            let todo = todo.clone();
            std::thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(move || {
                while let Ok(job) = todo.recv_blocking() {
                    // A panicking job drops its answer, which its caller sees; the thread lives.
                    if catch_unwind(AssertUnwindSafe(job)).is_err() {
                        log::error!("a worker's job panicked");
                    }
                }
            })?;
        }
        Ok(Self { jobs: Some(jobs) })
    }

    /// No threads: each job runs where its future is polled, at once, so that a test's order is always the same.
    pub fn none() -> Self {
        Self { jobs: None }
    }

    /// Whether there are threads.
    pub fn are_some(&self) -> bool {
        self.jobs.is_some()
    }

    /// Runs `job` on one of the threads; `None` when it panicked or the threads are gone.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let Some(jobs) = &self.jobs else {
            return catch_unwind(AssertUnwindSafe(job)).ok();
        };
        let (answer, answered) = smol::channel::bounded(1);
        let job: Job = Box::new(move || {
            // The caller may have gone away meanwhile.
            drop(answer.try_send(job()));
        });
        jobs.send(job).await.ok()?;
        answered.recv().await.ok()
    }

    /// As [`Workers::run`], from a thread that may block.
    pub fn run_blocking<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        smol::future::block_on(self.run(job))
    }

    /// Starts `job` and answers with a future that need not be awaited for the job to run.
    pub fn start<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> {
        let (answer, answered) = smol::channel::bounded(1);
        let job: Job = Box::new(move || drop(answer.try_send(job())));
        let jobs = self.jobs.clone();
        let sent = match &jobs {
            Some(jobs) => jobs.try_send(job),
            None => {
                // A panicking job drops its answer, which its caller sees.
                drop(catch_unwind(AssertUnwindSafe(job)));
                Ok(())
            }
        };
        async move {
            if let (Err(error), Some(jobs)) = (sent, jobs) {
                jobs.send(error.into_inner()).await.ok()?;
            }
            answered.recv().await.ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_job_answers_none_and_the_thread_lives() {
        let workers = Workers::new("test", 1, 128 * 1024).unwrap();
        smol::block_on(async {
            assert_eq!(workers.run(|| panic!("as the test wants")).await, None::<()>);
            assert_eq!(workers.run(|| 7).await, Some(7));
            let none = Workers::none();
            assert_eq!(none.run(|| panic!("as the test wants")).await, None::<()>);
            assert_eq!(none.run(|| 7).await, Some(7));
            assert_eq!(none.start(|| 7).await, Some(7));
        });
    }
}
