// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serves one client: message for message, in the order in which they come.

use crate::bell::Bell;
use crate::connection::{Connection, Ended, Message};
use crate::reply::{self, IRQS, REGIONS};
use crate::request::{IrqData, RegionWrite, Request, SetIrqs, VERSION};
use crate::served::{IrqInfo, RegionInfo, Served};
use crate::version;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Serves a client until it leaves, or does not keep to the protocol, or the bell rings.
pub fn serve(socket: UnixStream, bell: &Bell, device: &mut dyn Served) -> Ended {
    let mut client = Client { connection: Connection::new(socket, bell), device, greeted: false };
    loop {
        if let Err(ended) = client.turn() {
            return ended;
        }
    }
}

struct Client<'d> {
    connection: Connection<'d>,
    device: &'d mut dyn Served,
    /// VERSION has been answered well.
    greeted: bool,
}

impl Client<'_> {
    /// One message and its reply.
    fn turn(&mut self) -> Result<(), Ended> {
        let Message { header, body, files, too_many_files } = self.connection.receive()?;
        // Nothing is asked of a client here, so it has nothing to reply to.
        if !header.is_command() {
            return Ok(());
        }
        let greets = header.command == VERSION;
        let answer = if too_many_files {
            Err(Errno::TOOBIG)
        } else if greets == self.greeted {
            Err(Errno::INVAL)
        } else {
            Request::parse(header.command, &body).and_then(|request| self.answer(&request, files))
        };
        self.greeted |= greets && answer.is_ok();
        if header.wants_reply() {
            let (body, error) = match answer {
                Ok(body) => (body, None),
                Err(errno) => (Vec::new(), Some(errno.raw_os_error() as u32)),
            };
            self.connection.send(header.reply(body.len(), error), &body)?;
        }
        if self.device.goes_on() { Ok(()) } else { Err(Ended::Device) }
    }

    /// The body of the reply.
    fn answer(&mut self, request: &Request, files: Vec<OwnedFd>) -> Result<Vec<u8>, Errno> {
        match *request {
            Request::Version { major, data } => version::negotiate(major, data),
            Request::Map(ref map) => {
                let mut files = files.into_iter();
                let (file, more) = (files.next(), files.next());
                if more.is_some() {
                    return Err(Errno::INVAL);
                }
                self.device.map(map, file).map(|()| Vec::new())
            }
            Request::Unmap(span, echo) => self.device.unmap(span).map(|()| echo.to_vec()),
            Request::DeviceInfo => self.device.admits().map(|()| reply::device_info()),
            Request::RegionInfo(index) => {
                let region = self.region(index)?;
                Ok(reply::region_info(index, region))
            }
            Request::IrqInfo(index) => Ok(reply::irq_info(index, self.irqs(index)?)),
            Request::SetIrqs(ref set) => self.set_irqs(set, files),
            Request::Read { region, offset, count } => {
                self.reaches(region, offset, count.into())?;
                let mut reply = reply::place(offset, region, count);
                let start = reply.len();
                reply.resize(start + count as usize, 0);
                let data = reply.get_mut(start..).unwrap_or_default();
                self.device.read(region, offset, data);
                Ok(reply)
            }
            Request::Write(ref write) => {
                self.write(write)?;
                Ok(reply::place(write.offset, write.region, write.data.len() as u32))
            }
            Request::WriteMulti(ref writes) => {
                writes.iter().try_for_each(|write| self.write(write))?;
                Ok((writes.len() as u64).to_le_bytes().to_vec())
            }
            Request::Reset => {
                self.device.reset();
                Ok(Vec::new())
            }
        }
    }

    fn region(&self, index: u32) -> Result<RegionInfo, Errno> {
        if index < REGIONS { Ok(self.device.region(index)) } else { Err(Errno::INVAL) }
    }

    fn irqs(&self, index: u32) -> Result<IrqInfo, Errno> {
        if index < IRQS { Ok(self.device.irqs(index)) } else { Err(Errno::INVAL) }
    }

    /// Checks that all of a transfer lies in a region.
    fn reaches(&self, region: u32, offset: u64, count: u64) -> Result<(), Errno> {
        let size = self.region(region)?.size;
        let end = offset.checked_add(count).filter(|end| *end <= size);
        end.map(drop).ok_or(Errno::INVAL)
    }

    fn write(&mut self, write: &RegionWrite<'_>) -> Result<(), Errno> {
        let RegionWrite { region, offset, data } = *write;
        self.reaches(region, offset, data.len() as u64)?;
        self.device.write(region, offset, data);
        Ok(())
    }

    fn set_irqs(&mut self, set: &SetIrqs<'_>, events: Vec<OwnedFd>) -> Result<Vec<u8>, Errno> {
        let there = self.irqs(set.index)?.count;
        let fits = set.start.checked_add(set.count).is_some_and(|end| end <= there);
        let expected = match set.data {
            IrqData::Events => events.is_empty() || events.len() == set.count as usize,
            IrqData::All | IrqData::Chosen(_) => events.is_empty(),
        };
        if !fits || !expected {
            return Err(Errno::INVAL);
        }
        self.device.set_irqs(set, events).map(|()| Vec::new())
    }
}
