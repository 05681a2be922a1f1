// SPDX-License-Identifier: MIT OR Apache-2.0
//! All interleavings of a few operations; and that what is left out is missed.

use vcpu_model_protocols::cache::{self, Cache};
use vcpu_model_protocols::machine::{Items, Machine, explore};
use vcpu_model_protocols::stack::{self, Stack};

/// A cache with room for two, in which one item is, or which is fresh; its threads hold one item each,
/// except the last, which works from another vCPU.
fn explore_cache(model: &Cache) -> Result<usize, String> {
    let mut states = 0;
    for memory in [model.with(1), model.fresh()] {
        // Item 0 is inside, or nowhere.
        let mut held: Vec<Items> = (1..=model.programs.len()).map(|item| 1 << item).collect();
        *held.last_mut().expect("there are threads") = 0;
        states += explore(model, Machine::new(memory, &held))?;
    }
    println!("{states} states");
    Ok(states)
}

fn cache(programs: &[&[cache::Operation]]) -> Cache {
    Cache {
        programs: programs.iter().map(|program| program.to_vec()).collect(),
        slots: 2,
        missing: cache::Missing::Nothing,
        refused: None,
    }
}

mod caches {
    use super::*;
    use vcpu_model_protocols::cache::Missing;
    use vcpu_model_protocols::cache::Operation::{Drain, Pop, PopBatch, Push, Resize};

    #[test]
    fn drain() {
        explore_cache(&cache(&[&[Push, Pop, Push], &[Pop, Push], &[Drain(2)]])).unwrap();
        explore_cache(&cache(&[&[Push, Pop], &[Push], &[Drain(1), Drain(2)]])).unwrap();
        explore_cache(&cache(&[&[Push, PopBatch], &[Push, Pop], &[Drain(1)]])).unwrap();
    }

    #[test]
    fn resize() {
        explore_cache(&cache(&[&[Push, Pop, Push], &[Push], &[Resize(1)]])).unwrap();
        explore_cache(&cache(&[&[Push, Push], &[Pop], &[Resize(0), Resize(2)]])).unwrap();
    }

    #[test]
    fn two_at_once() {
        explore_cache(&cache(&[&[Push, Pop], &[Drain(1)], &[Resize(1)]])).unwrap();
        explore_cache(&cache(&[&[Push], &[Drain(2)], &[Drain(2)]])).unwrap();
    }

    #[test]
    fn a_fence_that_is_refused() {
        for fence in [
            Missing::ClosingFence,
            Missing::MarkingFence,
            Missing::OpeningFence,
        ] {
            for change in [Drain(1), Resize(1)] {
                let mut model = cache(&[&[Push, Pop], &[Push, Pop], &[change]]);
                model.refused = Some(fence);
                explore_cache(&model).unwrap();
            }
        }
    }

    #[test]
    fn every_part_is_needed() {
        for missing in [
            Missing::ClosingFence,
            Missing::Marks,
            Missing::MarkingFence,
            Missing::OpeningFence,
            Missing::Begin,
            Missing::End,
            Missing::Lock,
        ] {
            let mut model = cache(&[&[Push, Pop], &[Push, Pop], &[Drain(2)]]);
            if missing == Missing::Lock {
                model = cache(&[&[Push], &[Drain(2)], &[Drain(2)]]);
            } else if missing == Missing::Begin {
                model = cache(&[&[Push, PopBatch], &[Push], &[Drain(2)]]);
            }
            model.missing = missing;
            let wrong = explore_cache(&model).expect_err("it is needed");
            println!("without {missing:?}: {wrong}");
        }
    }
}

mod stacks {
    use super::*;
    use vcpu_model_protocols::stack::Missing;
    use vcpu_model_protocols::stack::Operation::{Drain, Pop, Push};

    /// Two nodes are in the list; the first thread holds the third.
    fn explore_stack(programs: &[&[stack::Operation]], missing: Missing) -> Result<usize, String> {
        let model = Stack {
            programs: programs.iter().map(|program| program.to_vec()).collect(),
            missing,
        };
        let mut held = vec![0; programs.len()];
        held[0] = 1 << 3;
        let states = explore(&model, Machine::new(Stack::memory(3, 2), &held))?;
        println!("{states} states");
        Ok(states)
    }

    #[test]
    fn drain() {
        explore_stack(
            &[&[Push, Pop, Push], &[Pop, Push, Pop], &[Drain]],
            Missing::Nothing,
        )
        .unwrap();
        explore_stack(&[&[Push, Pop], &[Drain], &[Drain]], Missing::Nothing).unwrap();
    }

    #[test]
    fn every_part_is_needed() {
        for missing in [Missing::Fence, Missing::Flag] {
            let programs: [&[_]; 3] = [&[Push, Pop], &[Pop, Push], &[Drain]];
            let wrong = explore_stack(&programs, missing).expect_err("it is needed");
            println!("without {missing:?}: {wrong}");
        }
    }
}
