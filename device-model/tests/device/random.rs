// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random commands on random memory, with pages moving about between steps,
//! against the oracle.

use farfault_abi::descriptor::*;
use farfault_device_model::{DeviceConfig, Step};
use farfault_reference_driver::{
    Answer, Driver, FakeMachine, Oracle, PAGE, Pages, serve, settle, with_engines,
};
use proptest::prelude::*;

/// Where the process's memory is, with holes.
const BASE: u64 = 0x7000_0000;
const SPAN: u64 = 24;
const RING: u64 = 0x10_0000;
const RECORDS: u64 = 0x20_0000;

#[derive(Clone, Debug)]
struct Plan {
    config: DeviceConfig,
    /// Behind an IOMMU through which each address leads elsewhere.
    iommu: bool,
    faults: u32,
    /// For each page: absent, read only, or not; present for the device from the start or not.
    pages: Vec<(u8, bool)>,
    seed: Vec<u8>,
    descriptors: Vec<Descriptor>,
    /// Pages that move before a step.
    moves: Vec<Option<u64>>,
}

fn address() -> impl Strategy<Value = u64> {
    let inside = 0..SPAN * PAGE;
    prop_oneof![
        4 => inside.clone().prop_map(|at| BASE + at),
        6 => inside.prop_map(|at| BASE + (at & !7)),
        1 => (0..SPAN).prop_map(|page| BASE + page * PAGE - 4),
        1 => any::<u64>(),
    ]
}

fn descriptor() -> impl Strategy<Value = Descriptor> {
    let length = prop_oneof![
        6 => 0..PAGE,
        6 => 0..6 * PAGE,
        2 => Just(SPAN * PAGE),
        1 => any::<u64>(),
    ];
    let operand =
        prop_oneof![Just(0), Just(8), any::<u64>(), any::<f32>().prop_map(|f| f.to_bits().into())];
    (0..12u8, address(), address(), length, operand, 0..3u64, 0..40u8).prop_map(
        |(opcode, source, destination, length, operand, operand2, odd)| Descriptor {
            opcode,
            source,
            destination,
            // A chase through random memory ends soon; a long one would only wander.
            length: if u32::from(opcode) == OP_CHASE { length % 1000 } else { length },
            operand,
            operand2: operand2 * 8,
            flags: odd / 39 * 2,
            ..Descriptor::default()
        },
    )
}

prop_compose! {
    fn plan()(
        engines in 1..3u32,
        lookahead in 1..20u32,
        faults in 1..7u32,
        iommu in any::<bool>(),
        pages in prop::collection::vec((0..8u8, any::<bool>()), SPAN as usize),
        seed in prop::collection::vec(any::<u8>(), 61),
        descriptors in prop::collection::vec(descriptor(), 1..8),
        moves in prop::collection::vec(prop::option::weighted(0.3, 0..SPAN), 0..200),
    ) -> Plan {
        let config = DeviceConfig { engines, lookahead, ..DeviceConfig::default() };
        Plan { config, iommu, faults: 1 << faults, pages, seed, descriptors, moves }
    }
}

fn build(plan: &Plan) -> Driver {
    let iommu = plan.iommu.then(|| Pages::new(1 << 40));
    let machine = FakeMachine::behind(iommu, &[(0, 32 << 20)]);
    let mut driver = Driver::start_with(plan.config.clone(), machine, plan.faults);
    driver.create_space(1);
    driver.allocate(1, RECORDS, PAGE, PAGE);
    for (va, (kind, present)) in (BASE..).step_by(PAGE as usize).zip(&plan.pages) {
        if *kind == 0 {
            continue;
        }
        driver.allocate(1, va, PAGE, PAGE);
        let data: Vec<u8> = plan.seed.iter().cycle().take(PAGE as usize).copied().collect();
        driver.write(1, va, &data);
        // Some links that lead somewhere.
        for slot in (0..PAGE).step_by(264) {
            let next = BASE + (va + slot * 91) % (SPAN * PAGE);
            driver.write(1, va + slot, &(next & !7).to_le_bytes());
        }
        let writable = *kind != 1;
        driver.protect(1, va, writable);
        if *present {
            driver.map(1, va, PAGE, writable);
        }
    }
    driver
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands_do_what_the_oracle_does(plan in plan()) {
        let mut driver = build(&plan);
        let queue = driver.create_queue(5, 1, RING, 16);
        driver.settle();
        let mut oracle = Oracle::new(&driver.machine, driver.space(1));
        let mut records = Vec::new();
        for (i, descriptor) in (0..).zip(&plan.descriptors) {
            let descriptor = Descriptor { completion: RECORDS + 64 * i, fence: i + 1, ..*descriptor };
            records.push((descriptor, oracle.carry_out(&descriptor)));
            driver.submit(&queue, descriptor);
        }
        let device = driver.device.clone();
        with_engines(&device, plan.config.engines as usize, |engines| {
            for (step, page) in plan.moves.iter().enumerate() {
                let last = engines.len();
                engines[step % last].step();
                device.step_commands();
                if step % 2 == 0 {
                    driver.serve(&mut |_, _| Answer::Serve);
                }
                let Some(va) = page.map(|page| BASE + page * PAGE) else { continue };
                if driver.space(1).permits(va, false) {
                    driver.take_away(1, va, PAGE);
                    while device.step_commands() == Step::Worked {}
                    driver.migrate(1, va);
                }
            }
            settle(&mut driver, engines, &mut serve);
        });
        for (i, (descriptor, expected)) in (0..).zip(&records) {
            let record = driver.completion(1, RECORDS + 64 * i);
            prop_assert_eq!(record, *expected, "{:?}", descriptor);
        }
        let mut after = Oracle::new(&driver.machine, driver.space(1));
        after.forget(RING);
        oracle.forget(RING);
        prop_assert!(after == oracle, "memory differs");
        let counters = device.counters();
        prop_assert_eq!(counters.descriptors + counters.descriptors_failed, records.len() as u64);
        prop_assert_eq!(counters.fault_groups, counters.responses_resume + counters.responses_fail);
        prop_assert_eq!((counters.table_faults, counters.responses_stale), (0, 0));
    }
}
