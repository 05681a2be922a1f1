// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine with store buffers and one vCPU, and the walk through all its states.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A set of items: bit `n` is item `n`.
pub type Items = u16;

/// A thread, on a processor of its own while it is not waiting for the vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    /// The operation that it is in the middle of, an index into its program.
    pub operation: u8,
    /// The step of that operation that comes next.
    pub step: u8,
    /// What earlier steps loaded.
    pub registers: [u8; 4],
    /// Items that are its own.
    pub held: Items,
    /// Stores that others do not see yet, oldest first.
    buffer: Vec<(u8, u8)>,
}

/// One state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Words.
    pub memory: Vec<u8>,
    /// All threads.
    pub threads: Vec<Thread>,
    /// Which thread has the vCPU whose structure is modelled. Sections run only there.
    on_vcpu: Option<u8>,
}

/// What a model says.
pub trait Model {
    /// The operations of each thread.
    fn operations(&self, thread: usize) -> usize;
    /// Whether the thread's next step is inside a critical section, which starts at this step.
    fn section(&self, machine: &Machine, thread: usize) -> Option<u8>;
    /// Makes the thread's next step.
    fn step(&self, machine: &mut Machine, thread: usize);
    /// What is inside, when all stores are visible.
    ///
    /// # Errors
    /// What is wrong with it.
    fn inside(&self, memory: &[u8]) -> Result<Items, String>;
    /// Uses, in a fork child, the copy in `memory`, where no other thread is.
    ///
    /// # Errors
    /// What does not work.
    fn check_child(&self, memory: Vec<u8>) -> Result<(), String>;
}

impl Machine {
    /// Threads at the start of their programs, which hold these items.
    #[must_use]
    pub fn new(memory: Vec<u8>, held: &[Items]) -> Self {
        let threads = held.iter().map(|held| Thread {
            operation: 0,
            step: 0,
            registers: [0; 4],
            held: *held,
            buffer: Vec::new(),
        });
        Self {
            memory,
            threads: threads.collect(),
            on_vcpu: None,
        }
    }

    /// What the thread sees: its own stores at once.
    #[must_use]
    pub fn load(&self, thread: usize, word: u8) -> u8 {
        let own = self.threads[thread].buffer.iter().rev();
        own.clone()
            .find(|(to, _)| *to == word)
            .map_or(self.memory[usize::from(word)], |(_, value)| *value)
    }

    /// A plain store.
    pub fn store(&mut self, thread: usize, word: u8, value: u8) {
        self.threads[thread].buffer.push((word, value));
    }

    /// A locked compare-exchange: it is seen by all at once, as all stores before it.
    pub fn compare_exchange(&mut self, thread: usize, word: u8, old: u8, new: u8) -> bool {
        self.drain(thread);
        let is_equal = self.memory[usize::from(word)] == old;
        if is_equal {
            self.memory[usize::from(word)] = new;
        }
        is_equal
    }

    /// membarrier: all stores of all threads are visible, and whoever is in a section starts it again.
    pub fn fence(&mut self, model: &impl Model) {
        for thread in 0..self.threads.len() {
            self.abort(model, thread);
        }
    }

    /// The thread goes on with its next step.
    pub fn next(&mut self, thread: usize) {
        self.threads[thread].step += 1;
    }

    /// The thread goes on with its next operation.
    pub fn end(&mut self, thread: usize) {
        let thread = &mut self.threads[thread];
        (thread.operation, thread.step, thread.registers) = (thread.operation + 1, 0, [0; 4]);
    }

    fn drain(&mut self, thread: usize) {
        for (word, value) in std::mem::take(&mut self.threads[thread].buffer) {
            self.memory[usize::from(word)] = value;
        }
    }

    /// Through the kernel and back, which makes the thread's stores visible.
    fn abort(&mut self, model: &impl Model, thread: usize) {
        self.drain(thread);
        if !self.is_done(model, thread)
            && let Some(start) = model.section(self, thread)
        {
            self.threads[thread].step = start;
        }
    }

    fn is_done(&self, model: &impl Model, thread: usize) -> bool {
        usize::from(self.threads[thread].operation) >= model.operations(thread)
    }

    /// Every state that may come next.
    fn successors(&self, model: &impl Model) -> Vec<Self> {
        let mut successors = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            successors.push(next);
        };
        for thread in 0..self.threads.len() {
            if let Some((word, value)) = self.threads[thread].buffer.first().copied() {
                add(&|next| {
                    next.threads[thread].buffer.remove(0);
                    next.memory[usize::from(word)] = value;
                });
            }
            if self.is_done(model, thread) {
                continue;
            }
            let is_here = self.on_vcpu == Some(thread as u8);
            match model.section(self, thread) {
                // The scheduler: who had the vCPU is aborted, and what it stored is visible.
                Some(_) if !is_here => add(&|next| {
                    for thread in [self.on_vcpu, Some(thread as u8)].into_iter().flatten() {
                        next.abort(model, usize::from(thread));
                    }
                    next.on_vcpu = Some(thread as u8);
                }),
                // A signal.
                Some(start) if self.threads[thread].step != start => {
                    add(&|next| next.abort(model, thread));
                    add(&|next| model.step(next, thread));
                }
                _ => add(&|next| model.step(next, thread)),
            }
        }
        successors
    }

    /// Each of `all` is in one place.
    fn check(&self, model: &impl Model, all: Items) -> Result<(), String> {
        let mut seen = self.clone();
        for thread in 0..seen.threads.len() {
            seen.drain(thread);
        }
        let mut once = model.inside(&seen.memory)?;
        for thread in &seen.threads {
            if once & thread.held != 0 {
                return Err(format!("{:#b} twice", once & thread.held));
            }
            once |= thread.held;
        }
        if once != all {
            return Err(format!("{:#b} lost", all & !once));
        }
        model.check_child(seen.memory)
    }
}

/// Visits every state, and returns how many there are.
///
/// # Errors
/// A state that must not be.
pub fn explore(model: &impl Model, start: Machine) -> Result<usize, String> {
    let inside = model.inside(&start.memory)?;
    let all = start
        .threads
        .iter()
        .fold(inside, |all, thread| all | thread.held);
    let hash = |machine: &Machine| {
        // Two states of one hash, in millions among 2^64, would hide one of them.
        let mut hasher = DefaultHasher::new();
        machine.hash(&mut hasher);
        hasher.finish()
    };
    let mut visited = HashSet::from([hash(&start)]);
    let mut left = vec![start];
    while let Some(machine) = left.pop() {
        machine
            .check(model, all)
            .map_err(|wrong| format!("{wrong} in {machine:?}"))?;
        for next in machine.successors(model) {
            if visited.insert(hash(&next)) {
                left.push(next);
            }
        }
    }
    Ok(visited.len())
}
