// SPDX-License-Identifier: MIT OR Apache-2.0
//! The steps of a drain and a resize.

use super::{BEGIN, CAPACITY, CLOSED, CURRENT, Cache, END, LOCK, MARK, Missing, Operation, PLACES};
use crate::machine::{Items, Machine};

// Steps of a drain or a resize.
const UNMARK: u8 = 11;
const SET_BOUNDS: u8 = 12;
const UNLOCK: u8 = 14;
const STAY_CLOSED: u8 = 15;

impl Cache {
    /// A fence of a drain or a resize; where it is refused, `otherwise` is the next step.
    fn change_fence(&self, machine: &mut Machine, thread: usize, fence: Missing, otherwise: u8) {
        machine.next(thread);
        if self.refused == Some(fence) {
            machine.threads[thread].step = otherwise;
        } else if self.missing != fence {
            machine.fence(self);
        }
    }

    /// A drain or a resize.
    pub(super) fn step_change(&self, machine: &mut Machine, thread: usize, operation: Operation) {
        let [before, after, taken, capacity] = machine.threads[thread].registers;
        let step = machine.threads[thread].step;
        match step {
            0 if !self.lock(machine, thread) => machine.end(thread),
            1 if self.missing != Missing::Begin => {
                machine.store(thread, BEGIN, CLOSED);
                machine.next(thread);
            }
            2 if self.missing != Missing::End => {
                machine.store(thread, END, 0);
                machine.next(thread);
            }
            3 => self.change_fence(machine, thread, Missing::ClosingFence, SET_BOUNDS),
            4 if self.missing != Missing::Marks => {
                self.change_items(machine, thread, |item| item | MARK);
            }
            5 => self.change_fence(machine, thread, Missing::MarkingFence, UNMARK),
            6 => {
                let before = machine.load(thread, CURRENT);
                let held = before.saturating_sub(1);
                let after = match operation {
                    Operation::Drain(count) => before - count.min(held),
                    Operation::Resize(capacity) if before > 0 => 1 + held.min(capacity),
                    _ => 1,
                };
                let capacity = machine.load(thread, CAPACITY);
                machine.threads[thread].registers = [before, after, 0, capacity];
                machine.next(thread);
            }
            7 => {
                if let Operation::Resize(capacity) = operation {
                    machine.store(thread, CAPACITY, capacity);
                }
                machine.next(thread);
            }
            8 => {
                let places = after.max(1)..before.max(1);
                let items = places.map(|place| machine.load(thread, PLACES + place) & !MARK);
                machine.threads[thread].registers[2] = items.fold(0, |set, item| set | 1 << item);
                machine.next(thread);
            }
            9 if before != after => {
                machine.store(thread, CURRENT, after);
                machine.threads[thread].held |= Items::from(taken);
                machine.next(thread);
            }
            9 => machine.threads[thread].step = UNMARK,
            10 => self.change_fence(machine, thread, Missing::OpeningFence, STAY_CLOSED),
            UNMARK => self.change_items(machine, thread, |item| item & !MARK),
            SET_BOUNDS => self.open_end(machine, thread),
            13 => self.open_begin(machine, thread),
            UNLOCK => {
                machine.store(thread, LOCK, 0);
                machine.end(thread);
            }
            STAY_CLOSED => {
                machine.store(thread, CURRENT, before);
                machine.threads[thread].held &= !Items::from(taken);
                machine.next(thread);
            }
            16 => {
                machine.store(thread, CAPACITY, capacity);
                machine.threads[thread].step = UNLOCK;
            }
            _ => machine.next(thread),
        }
    }
}
