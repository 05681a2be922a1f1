// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sections of a push and a pop.

use super::missed::LOOK;
use super::{BEGIN, CURRENT, Cache, END, MARK, Operation, PLACES};
use crate::machine::Machine;

impl Cache {
    /// A push or a pop, instruction by instruction.
    pub(super) fn step_section(&self, machine: &mut Machine, thread: usize, operation: Operation) {
        let [current, item, second, _] = machine.threads[thread].registers;
        let held = machine.threads[thread].held;
        let step = machine.threads[thread].step;
        match (step, operation) {
            (0, Operation::Push) if held == 0 => machine.end(thread),
            (0, _) => {
                machine.threads[thread].registers[0] = machine.load(thread, CURRENT);
                machine.next(thread);
            }
            (1, Operation::Push) if current >= machine.load(thread, END) => {
                machine.threads[thread].step = LOOK;
            }
            (1, Operation::Pop) if current == 0 => machine.threads[thread].step = LOOK,
            (1, Operation::PopBatch) => {
                let begin = machine.load(thread, BEGIN);
                machine.threads[thread].step = if current <= begin { LOOK } else { 2 };
                machine.threads[thread].registers[2] = u8::from(current.saturating_sub(begin) > 1);
            }
            (1, _) => machine.next(thread),
            (2, Operation::Push) => {
                machine.store(thread, PLACES + current, held.trailing_zeros() as u8);
                machine.next(thread);
            }
            (2, _) => {
                let item = machine.load(thread, PLACES + current - 1);
                machine.threads[thread].registers[1] = item;
                machine.next(thread);
                if operation == Operation::Pop && item & MARK != 0 {
                    machine.threads[thread].step = LOOK;
                }
            }
            (3, Operation::PopBatch) if second > 0 => {
                let next = machine.load(thread, PLACES + current - 2);
                // Two items in one register.
                machine.threads[thread].registers[1] = item | (next + 1) << 4;
                machine.next(thread);
            }
            (_, Operation::Push) => {
                machine.store(thread, CURRENT, current + 1);
                machine.threads[thread].held = held & (held - 1);
                machine.end(thread);
            }
            (4, Operation::PopBatch) => {
                machine.store(thread, CURRENT, current - 2);
                machine.threads[thread].held |= 1 << (item & 0xf) | 1 << ((item >> 4) - 1);
                machine.end(thread);
            }
            (..) => {
                machine.store(thread, CURRENT, current - 1);
                machine.threads[thread].held |= 1 << item;
                machine.end(thread);
            }
        }
    }
}
