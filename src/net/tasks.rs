//! The queries of one worker that wait, and who of them is to be polled.
//!
//! A waker may be called from anywhere: it puts its task's number on a list, and writes to the worker's event queue only if the worker
//! sleeps. A query answered by an upstream never leaves its worker: no task is allocated on a runtime and no thread is woken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use periplus_core::reply::Answer;
use periplus_core::server::Waiting;

use super::limits::WaitingGuard;
use crate::sys::ReturnPath;

/// Places that are worth keeping for the next queries.
const FEW: usize = 256;

/// A query that waits.
pub(super) struct Task {
    pub(super) waiting: Waiting,
    pub(super) path: ReturnPath,
    /// Held for as long.
    pub(super) _guard: WaitingGuard,
}

/// All that wait.
pub(super) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ready: VecDeque<u32>,
    woken: Arc<Woken>,
}

struct Slot {
    task: Option<Task>,
    waker: Waker,
    flag: Arc<TaskWaker>,
}

/// The tasks that were woken.
pub(super) struct Woken {
    list: Mutex<List>,
    events: mio::Waker,
}

#[derive(Default)]
struct List {
    tasks: Vec<u32>,
    /// The worker waits for events, or is about to.
    asleep: bool,
}

struct TaskWaker {
    index: u32,
    /// On the list already.
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut list = self.woken.lock();
        list.tasks.push(self.index);
        if std::mem::take(&mut list.asleep) {
            drop(list);
            // It can fail only when the queue is gone, and then nobody sleeps.
            let _ = self.woken.events.wake();
        }
    }
}

impl Woken {
    /// Nobody yet; `events` ends the worker's sleep.
    pub(super) fn new(events: mio::Waker) -> Woken {
        Woken { list: Mutex::default(), events }
    }

    /// Says that the worker is about to sleep. `false`: it must not, somebody was woken.
    pub(super) fn fall_asleep(&self) -> bool {
        let mut list = self.lock();
        list.asleep = list.tasks.is_empty();
        list.asleep
    }

    /// The worker is awake.
    pub(super) fn get_up(&self) {
        self.lock().asleep = false;
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    /// None.
    pub(super) fn new(woken: Arc<Woken>) -> Tasks {
        Tasks { slots: Vec::new(), free: Vec::new(), ready: VecDeque::new(), woken }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Forgets the places of a crowd that is gone. A waker of one of them wakes nobody, or somebody in vain.
    pub(super) fn shrink(&mut self) {
        if self.slots.len() > FEW && self.is_empty() {
            self.woken.lock().tasks.shrink_to(FEW);
            *self = Tasks::new(Arc::clone(&self.woken));
        }
    }

    /// Whether somebody has been found woken and was not polled yet.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Polls a new task for the first time, and keeps it if it has to wait.
    pub(super) fn begin(&mut self, task: Task, done: &mut impl FnMut(Task, Answer)) {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.slots.len() as u32;
            let woken = Arc::clone(&self.woken);
            let flag = Arc::new(TaskWaker { index, queued: AtomicBool::new(false), woken });
            self.slots.push(Slot { task: None, waker: Arc::clone(&flag).into(), flag });
            index
        });
        self.slots[index as usize].task = Some(task);
        self.poll(index, done);
    }

    /// Polls up to `most` of those that were woken.
    pub(super) fn run(&mut self, most: usize, done: &mut impl FnMut(Task, Answer)) {
        self.ready.extend(self.woken.lock().tasks.drain(..));
        for _ in 0..most {
            let Some(index) = self.ready.pop_front() else { return };
            self.poll(index, done);
        }
    }

    fn poll(&mut self, index: u32, done: &mut impl FnMut(Task, Answer)) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        // Not a store: what the poll reads must not be read before it, or who wakes in between is not heard.
        slot.flag.queued.swap(false, Ordering::AcqRel);
        // Woken by something that the task before it in this place had left behind.
        let Some(task) = &mut slot.task else { return };
        let polled = task.waiting.poll(&mut Context::from_waker(&slot.waker));
        if let Poll::Ready(answer) = polled
            && let Some(task) = slot.task.take()
        {
            self.free.push(index);
            done(task, answer);
        }
    }
}
