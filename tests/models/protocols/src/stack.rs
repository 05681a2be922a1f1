// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stack: a head, the lock that is its stop flag, and a link in each node.

use crate::machine::{Items, Machine, Model};

const HEAD: u8 = 0;
const LOCK: u8 = 1;
/// The link of node 1 is behind it; there is no node 0.
const LINKS: u8 = 1;

/// What threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Puts in the lowest node that the thread holds.
    Push,
    /// Takes one.
    Pop,
    /// Takes all, from another vCPU.
    Drain,
}

/// What is left out, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing.
    Nothing,
    /// The drain's fence.
    Fence,
    /// The section's test of the lock.
    Flag,
}

/// The threads' programs.
#[derive(Debug)]
pub struct Stack {
    /// Of each thread.
    pub programs: Vec<Vec<Operation>>,
    /// What is left out.
    pub missing: Missing,
}

impl Stack {
    /// The memory of `nodes` nodes, all of them in the list.
    #[must_use]
    pub fn memory(nodes: u8, inside: u8) -> Vec<u8> {
        let mut memory = vec![0; usize::from(LINKS + nodes + 1)];
        for node in 1..=inside {
            memory[usize::from(LINKS + node)] = memory[usize::from(HEAD)];
            memory[usize::from(HEAD)] = node;
        }
        memory
    }

    fn operation(&self, machine: &Machine, thread: usize) -> Operation {
        self.programs[thread][usize::from(machine.threads[thread].operation)]
    }

    /// A push or a pop: what the section does, or under the lock what is done without one.
    fn step_section(&self, machine: &mut Machine, thread: usize, operation: Operation) {
        let [_, head, next, _] = machine.threads[thread].registers;
        let held = machine.threads[thread].held;
        match (machine.threads[thread].step, operation) {
            (0, Operation::Push) if held == 0 => machine.end(thread),
            (0, _) => {
                let is_stopped = machine.load(thread, LOCK) != 0;
                if is_stopped && self.missing != Missing::Flag {
                    // Busy.
                    machine.end(thread);
                } else {
                    machine.next(thread);
                }
            }
            (1, _) => {
                machine.threads[thread].registers[1] = machine.load(thread, HEAD);
                machine.next(thread);
            }
            (2, Operation::Push) => {
                machine.store(thread, LINKS + held.trailing_zeros() as u8, head);
                machine.next(thread);
            }
            (2, _) if head == 0 => machine.end(thread),
            (2, _) => {
                machine.threads[thread].registers[2] = machine.load(thread, LINKS + head);
                machine.next(thread);
            }
            (_, Operation::Push) => {
                let node = held.trailing_zeros() as u8;
                machine.store(thread, HEAD, node);
                machine.threads[thread].held &= !(1 << node);
                machine.end(thread);
            }
            (..) => {
                machine.store(thread, HEAD, next);
                machine.threads[thread].held |= 1 << head;
                machine.end(thread);
            }
        }
    }

    fn step_drain(&self, machine: &mut Machine, thread: usize) {
        let step = machine.threads[thread].step;
        match step {
            0 if !machine.compare_exchange(thread, LOCK, 0, 1) => machine.end(thread),
            1 if self.missing != Missing::Fence => {
                machine.next(thread);
                machine.fence(self);
            }
            2 => {
                machine.threads[thread].registers[1] = machine.load(thread, HEAD);
                machine.next(thread);
            }
            3 => {
                machine.store(thread, HEAD, 0);
                let mut node = machine.threads[thread].registers[1];
                while node != 0 {
                    machine.threads[thread].held |= 1 << node;
                    node = machine.load(thread, LINKS + node);
                }
                machine.next(thread);
            }
            4 => {
                machine.store(thread, LOCK, 0);
                machine.end(thread);
            }
            _ => machine.next(thread),
        }
    }
}

impl Model for Stack {
    fn operations(&self, thread: usize) -> usize {
        self.programs[thread].len()
    }

    fn section(&self, machine: &Machine, thread: usize) -> Option<u8> {
        (self.operation(machine, thread) != Operation::Drain).then_some(0)
    }

    fn step(&self, machine: &mut Machine, thread: usize) {
        match self.operation(machine, thread) {
            Operation::Drain => self.step_drain(machine, thread),
            operation => self.step_section(machine, thread, operation),
        }
    }

    fn inside(&self, memory: &[u8]) -> Result<Items, String> {
        let mut inside = 0;
        let mut node = memory[usize::from(HEAD)];
        while node != 0 {
            if inside & 1 << node != 0 {
                return Err(format!("node {node} twice in the list"));
            }
            inside |= 1 << node;
            node = memory[usize::from(LINKS + node)];
        }
        Ok(inside)
    }

    /// Its first operation takes the lock over, if there is one: then the list is as it is.
    fn check_child(&self, _: Vec<u8>) -> Result<(), String> {
        Ok(())
    }
}
