// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Looks at all of a cell's subject: what device and CPU read, what they may
//! write, and how many far faults that takes.

use crate::cell::Cell;
use crate::cpu::frames;
use crate::model::{Access, Holds, Mapped, STAMP, SUM, Sample, TALLY};
use crate::rig::{Answer, Batch};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use nix::errno::Errno;
use std::ops::RangeInclusive;

impl Cell<'_> {
    /// Everything that can be looked at, and everything that can be done. What is
    /// refused is tried once.
    pub fn verify(&mut self) -> Outcome {
        self.device_reads("first read by the device")?;
        self.device_reads_those("second read by the device", Sample::is_there)?;
        self.cpu_reads("read by the CPU")?;
        self.device_writes("first write by the device")?;
        self.device_writes_those("second write by the device", |s| s.allows(Access::Write))?;
        self.cpu_reads("read by the CPU of what the device wrote")?;
        self.cpu_writes()?;
        self.device_reads_those("read by the device of what the CPU wrote", Sample::is_there)?;
        self.whole_pages()
    }

    /// Device and CPU see the same in all of a page, and nothing but what was put there.
    fn whole_pages(&mut self) -> Outcome {
        const USED: usize = TALLY as usize + 8;
        for sample in self.subject.samples.iter().filter(|sample| sample.is_there()) {
            let (device, cpu) = (self.rig.page(sample.at)?, self.cpu.page(sample.at)?);
            let differs = device.iter().zip(&cpu).position(|(device, cpu)| device != cpu);
            let told = format!("the page at {:#x} differs at byte {differs:?}", sample.at);
            expect(&told, differs.is_none())?;
            let stray = cpu.iter().skip(USED).position(|byte| *byte != 0);
            let told = format!("byte {stray:?} behind the words at {:#x} is not 0", sample.at);
            expect(&told, stray.is_none())?;
        }
        Ok(())
    }

    pub fn device_reads(&mut self, when: &str) -> Outcome {
        self.device_reads_those(when, |_| true)
    }

    pub fn device_writes(&mut self, when: &str) -> Outcome {
        self.device_writes_those(when, |_| true)
    }

    fn device_reads_those(&mut self, when: &str, those: fn(&Sample) -> bool) -> Outcome {
        let expected = self.subject.faults(Access::Read, those);
        let mut samples: Vec<_> = self.subject.samples.iter_mut().filter(|s| those(s)).collect();
        let addresses: Vec<u64> = samples.iter().map(|sample| sample.at + STAMP).collect();
        let batch = self.rig.load(&addresses)?;
        for (sample, answer) in samples.iter_mut().zip(&batch.answers) {
            holds(when, sample.at + STAMP, &mut sample.holds, *answer)?;
        }
        self.subject.accessed(Access::Read);
        self.count(when, &batch, &expected)
    }

    fn device_writes_those(&mut self, when: &str, those: fn(&Sample) -> bool) -> Outcome {
        let expected = self.subject.faults(Access::Write, those);
        let words = self.next_words();
        let samples = self.subject.samples.iter_mut().zip(words);
        let mut samples: Vec<_> = samples.filter(|(sample, _)| those(sample)).collect();
        let stores: Vec<_> = samples.iter().map(|(s, word)| (s.at + STAMP, *word)).collect();
        let batch = self.rig.store(&stores)?;
        for ((sample, word), answer) in samples.iter_mut().zip(&batch.answers) {
            let address = sample.at + STAMP;
            let written = sample.allows(Access::Write);
            let wanted = if written { Ok(0) } else { Err(address) };
            expect_equal(&format!("{when} at {address:#x}"), answer, &wanted)?;
            if written {
                sample.written(*word);
            }
        }
        self.subject.accessed(Access::Write);
        self.count(when, &batch, &expected)
    }

    /// Adds to a word of each sample, twice, and a third time by the CPU.
    pub fn device_adds(&mut self) -> Outcome {
        let addresses = self.subject.addresses(SUM);
        for (when, before) in [("first addition", 0), ("second addition", 3)] {
            let expected = self.subject.faults(Access::Write, |_| true);
            let batch = self.rig.add(&addresses, 3)?;
            self.count(when, &batch, &expected)?;
            self.subject.accessed(Access::Write);
            for (sample, answer) in self.subject.samples.iter().zip(batch.answers) {
                let address = sample.at + SUM;
                let adds = sample.allows(Access::Write);
                let wanted = if adds { Ok(before) } else { Err(address) };
                expect_equal(&format!("{when} at {address:#x}"), &answer, &wanted)?;
            }
        }
        for sample in self.subject.samples.iter().filter(|s| s.allows(Access::Write)) {
            expect_equal("sum as the CPU sees it", &self.cpu.load(sample.at + SUM)?, &6)?;
            self.cpu.store(sample.at + SUM, 10)?;
        }
        let batch = self.rig.add(&addresses, 1)?;
        for (sample, answer) in self.subject.samples.iter().zip(batch.answers) {
            if sample.allows(Access::Write) {
                expect_equal("sum that the device finds", &answer, &Ok(10))?;
            }
        }
        Ok(())
    }

    /// With commands under way it is not known who takes the first fault.
    fn count(&self, when: &str, batch: &Batch, expected: &RangeInclusive<u64>) -> Outcome {
        let told = format!("{when}: {} far faults, expected {expected:?}", batch.faults);
        expect(&told, self.under_way || expected.contains(&batch.faults))
    }

    pub fn cpu_reads(&mut self, when: &str) -> Outcome {
        let alone = self.subject.cpu_alone;
        for sample in self.subject.samples.iter_mut().filter(|s| !alone || s.is_there()) {
            let address = sample.at + STAMP;
            let answer = self.cpu.load(address).map_err(|_| address);
            holds(when, address, &mut sample.holds, answer)?;
        }
        if std::mem::take(&mut self.subject.comes_back) {
            self.subject.mapped(Mapped::Maybe);
        }
        Ok(())
    }

    /// Writes new words by the CPU, or sees that it cannot either. A page that has
    /// to be copied for it is taken out of the device's table.
    pub fn cpu_writes(&mut self) -> Outcome {
        let words = self.next_words();
        let before = frames(&self.subject)?;
        for (sample, word) in self.subject.samples.iter_mut().zip(words) {
            if self.subject.cpu_alone && !sample.is_there() {
                continue;
            }
            let address = sample.at + STAMP;
            let written = sample.allows(Access::Write);
            let wanted = if written { Ok(()) } else { Err(Errno::EFAULT) };
            let stored = self.cpu.store(address, word);
            expect_equal(&format!("write by the CPU at {address:#x}"), &stored, &wanted)?;
            if written {
                sample.written(word);
            }
        }
        let after = frames(&self.subject)?;
        for (sample, (before, after)) in
            self.subject.samples.iter_mut().zip(before.iter().zip(after))
        {
            if *before != after {
                sample.mapped(Mapped::No);
            }
        }
        Ok(())
    }
}

/// Compares what was read with what must be there, and settles what was open.
pub fn holds(when: &str, address: u64, holds: &mut Holds, answer: Answer) -> Outcome {
    let right = match *holds {
        Holds::Word(word) => answer == Ok(word),
        Holds::Nothing => answer == Err(address),
        Holds::Lapsing(word) => {
            if answer == Ok(0) {
                *holds = Holds::Word(0);
            }
            answer == Ok(0) || answer == Ok(word)
        }
    };
    expect(&format!("{when} at {address:#x}: found {answer:x?}, expected {holds:x?}"), right)
}
