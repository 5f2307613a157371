// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `chase`: the device follows a linked list through memory that was allocated
//! node by node and is linked in random order.

use farfault_client::{Device, Node};
use farfault_workloads::Failure;
use farfault_workloads::options::within;
use farfault_workloads::program::{Program, Summary};
use farfault_workloads::random::Random;
use std::process::ExitCode;

const PROGRAM: Program = Program {
    name: "chase",
    usage: "[--seed S] [NODES]",
    about: "Has the device follow a shuffled linked list and add up its values (default 100000).",
};

fn main() -> ExitCode {
    PROGRAM.run(
        |options| {
            let seed = options.option("--seed", 1)?;
            let nodes = options.operand("NODES")?.unwrap_or(100_000);
            Ok((seed, within("NODES", nodes, 1..=1 << 30)?))
        },
        |(seed, nodes)| work(seed, nodes),
    )
}

fn work(seed: u64, count: usize) -> Result<Summary, Failure> {
    let mut random = Random::new(seed, &[]);
    let nodes: Vec<Box<Node<'_>>> =
        (0..count).map(|_| Box::new(Node::new(random.bits()))).collect();
    let mut order: Vec<&Node<'_>> = nodes.iter().map(Box::as_ref).collect();
    random.shuffle(&mut order);
    for pair in order.windows(2) {
        pair[0].link(pair[1]);
    }

    // One more than there are, so that a list without an end would be noticed.
    let chased = Device::open()?.queue(16)?.chase(order[0], count as u64 + 1)?;

    let walk = std::iter::successors(Some(order[0]), |node| node.next());
    let (sum, seen) =
        walk.fold((0_u64, 0_u64), |(sum, seen), node| (sum.wrapping_add(node.value()), seen + 1));
    let verified = (chased.sum, chased.nodes) == (sum, seen) && seen == count as u64;
    Ok(Summary::new(verified).with("nodes", chased.nodes).with("sum", chased.sum))
}
