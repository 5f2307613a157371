// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a client may ask for, read from the bytes of a message.
//!
//! Every function here is total. A body that is longer than its command needs is one of a
//! newer protocol, and what is behind is ignored; flags likewise, unless what they ask for
//! would be missed.

use rustix::io::Errno;

/// Most bytes that one message reads or writes of a region (`max_data_xfer_size`).
pub const MAX_TRANSFER: u32 = 1 << 20;
/// What DMA maps are made of (`pgsizes`).
pub const PAGE: u64 = 4096;

/// Commands (section "Commands").
pub const VERSION: u16 = 1;
const DMA_MAP: u16 = 2;
const DMA_UNMAP: u16 = 3;
const DEVICE_GET_INFO: u16 = 4;
const DEVICE_GET_REGION_INFO: u16 = 5;
const DEVICE_GET_IRQ_INFO: u16 = 7;
const DEVICE_SET_IRQS: u16 = 8;
const REGION_READ: u16 = 9;
const REGION_WRITE: u16 = 10;
const DEVICE_RESET: u16 = 13;
const REGION_WRITE_MULTI: u16 = 15;

const DMA_READABLE: u32 = 1;
const DMA_WRITABLE: u32 = 1 << 1;
/// `VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP`: there is no such bitmap.
const UNMAP_BITMAP: u32 = 1;
/// `VFIO_DMA_UNMAP_FLAG_ALL`.
const UNMAP_ALL: u32 = 1 << 1;

const IRQ_DATA: u32 = 0b111;
const IRQ_DATA_NONE: u32 = 1;
const IRQ_DATA_BOOL: u32 = 1 << 1;
const IRQ_DATA_EVENTFD: u32 = 1 << 2;
const IRQ_ACTION: u32 = 0b111 << 3;
const IRQ_ACTION_MASK: u32 = 1 << 3;
const IRQ_ACTION_UNMASK: u32 = 1 << 4;
const IRQ_ACTION_TRIGGER: u32 = 1 << 5;

/// A run of DMA addresses. Its end may be that of all addresses, so `last` is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First address.
    pub first: u64,
    /// Last address.
    pub last: u64,
}

impl Span {
    /// All addresses.
    pub const ALL: Self = Self { first: 0, last: u64::MAX };

    /// The `size` bytes at `address`; none if there are none, or if they wrap around.
    pub fn new(address: u64, size: u64) -> Option<Self> {
        let last = address.checked_add(size.checked_sub(1)?)?;
        Some(Self { first: address, last })
    }

    /// The same in whole pages.
    fn pages(address: u64, size: u64) -> Result<Self, Errno> {
        let whole = address.is_multiple_of(PAGE) && size.is_multiple_of(PAGE);
        Self::new(address, size).filter(|_| whole).ok_or(Errno::INVAL)
    }
}

/// Memory that the device is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaMap {
    /// Where it reaches it.
    pub span: Span,
    /// Where it is in the file that comes along.
    pub offset: u64,
    /// The device may read it.
    pub read: bool,
    /// The device may write it.
    pub write: bool,
}

/// What is done to interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqAction {
    /// They are held back.
    Mask,
    /// They come again, and so do those that were held back.
    Unmask,
    /// They are raised; or, with eventfds, these are what shall be signalled.
    Trigger,
}

/// To which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqData<'m> {
    /// All of the range.
    All,
    /// Those whose byte is not 0.
    Chosen(&'m [u8]),
    /// All, each with an eventfd that comes along; or with none, if none come.
    Events,
}

/// DEVICE_SET_IRQS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetIrqs<'m> {
    /// What kind: a `VFIO_PCI_*_IRQ_INDEX`.
    pub index: u32,
    /// The first of them.
    pub start: u32,
    /// How many; 0 with [`IrqData::All`] and [`IrqAction::Trigger`] disables the kind.
    pub count: u32,
    /// What to do.
    pub action: IrqAction,
    /// To which.
    pub data: IrqData<'m>,
}

/// A write to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionWrite<'m> {
    /// Which.
    pub region: u32,
    /// Where in it.
    pub offset: u64,
    /// The bytes.
    pub data: &'m [u8],
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'m> {
    /// VERSION: what the client speaks, and text about what it can.
    Version {
        /// It must be ours, and the minor version may be any.
        major: u16,
        /// JSON with a NUL at its end, or nothing.
        data: &'m [u8],
    },
    /// DMA_MAP.
    Map(DmaMap),
    /// DMA_UNMAP; the body is also what is answered.
    Unmap(Span, &'m [u8]),
    /// DEVICE_GET_INFO.
    DeviceInfo,
    /// DEVICE_GET_REGION_INFO of a region.
    RegionInfo(u32),
    /// DEVICE_GET_IRQ_INFO of an index.
    IrqInfo(u32),
    /// DEVICE_SET_IRQS.
    SetIrqs(SetIrqs<'m>),
    /// REGION_READ.
    Read {
        /// Which.
        region: u32,
        /// Where in it.
        offset: u64,
        /// How many bytes, at most [`MAX_TRANSFER`].
        count: u32,
    },
    /// REGION_WRITE.
    Write(RegionWrite<'m>),
    /// REGION_WRITE_MULTI, in this order.
    WriteMulti(Vec<RegionWrite<'m>>),
    /// DEVICE_RESET.
    Reset,
}

impl<'m> Request<'m> {
    /// Reads the body of `command`.
    pub fn parse(command: u16, body: &'m [u8]) -> Result<Self, Errno> {
        let mut body = Body(body);
        match command {
            VERSION => {
                let (major, _minor) = (body.u16()?, body.u16()?);
                Ok(Self::Version { major, data: body.0 })
            }
            DMA_MAP => body.map().map(Self::Map),
            DMA_UNMAP => body.unmap(),
            DEVICE_GET_INFO => body.info(16, 0).map(|_| Self::DeviceInfo),
            DEVICE_GET_REGION_INFO => body.info(32, 4).map(Self::RegionInfo),
            DEVICE_GET_IRQ_INFO => body.info(16, 4).map(Self::IrqInfo),
            DEVICE_SET_IRQS => body.set_irqs().map(Self::SetIrqs),
            REGION_READ => {
                let (offset, region, count) = body.place()?;
                Ok(Self::Read { region, offset, count })
            }
            REGION_WRITE => {
                let (offset, region, count) = body.place()?;
                Ok(Self::Write(RegionWrite { region, offset, data: body.take(count as usize)? }))
            }
            DEVICE_RESET => Ok(Self::Reset),
            REGION_WRITE_MULTI => body.write_multi().map(Self::WriteMulti),
            _ => Err(Errno::NOTSUP),
        }
    }
}

/// What is left of a body. Each function takes something from its front.
struct Body<'m>(&'m [u8]);

impl<'m> Body<'m> {
    fn take(&mut self, bytes: usize) -> Result<&'m [u8], Errno> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        self.take(N)?.try_into().map_err(|_| Errno::INVAL)
    }

    fn u16(&mut self) -> Result<u16, Errno> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Errno> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Errno> {
        self.array().map(u64::from_le_bytes)
    }

    /// `argsz`, flags, and the word at `index` bytes behind these, of a command that asks for
    /// a structure of `size` bytes.
    fn info(&mut self, size: u32, index: usize) -> Result<u32, Errno> {
        let (room, _flags) = (self.u32()?, self.u32()?);
        if room < size {
            return Err(Errno::INVAL);
        }
        if index == 0 { Ok(0) } else { self.u32() }
    }

    fn map(&mut self) -> Result<DmaMap, Errno> {
        let (_argsz, flags) = (self.u32()?, self.u32()?);
        let (offset, address, size) = (self.u64()?, self.u64()?, self.u64()?);
        let span = Span::pages(address, size)?;
        if !offset.is_multiple_of(PAGE) || offset.checked_add(size).is_none() {
            return Err(Errno::INVAL);
        }
        let (read, write) = (flags & DMA_READABLE != 0, flags & DMA_WRITABLE != 0);
        Ok(DmaMap { span, offset, read, write })
    }

    fn unmap(&mut self) -> Result<Request<'m>, Errno> {
        let echo = self.0.get(..24).ok_or(Errno::INVAL)?;
        let (_argsz, flags) = (self.u32()?, self.u32()?);
        let (address, size) = (self.u64()?, self.u64()?);
        if flags & UNMAP_BITMAP != 0 {
            return Err(Errno::NOTSUP);
        }
        let all = flags & UNMAP_ALL != 0;
        if all && (address, size) != (0, 0) {
            return Err(Errno::INVAL);
        }
        let span = if all { Span::ALL } else { Span::pages(address, size)? };
        Ok(Request::Unmap(span, echo))
    }

    fn set_irqs(&mut self) -> Result<SetIrqs<'m>, Errno> {
        let (_argsz, flags, index) = (self.u32()?, self.u32()?, self.u32()?);
        let (start, count) = (self.u32()?, self.u32()?);
        start.checked_add(count).ok_or(Errno::INVAL)?;
        let action = match flags & IRQ_ACTION {
            IRQ_ACTION_MASK => IrqAction::Mask,
            IRQ_ACTION_UNMASK => IrqAction::Unmask,
            IRQ_ACTION_TRIGGER => IrqAction::Trigger,
            _ => return Err(Errno::INVAL),
        };
        let data = match flags & IRQ_DATA {
            IRQ_DATA_NONE => IrqData::All,
            IRQ_DATA_BOOL => IrqData::Chosen(self.take(count as usize)?),
            IRQ_DATA_EVENTFD => IrqData::Events,
            _ => return Err(Errno::INVAL),
        };
        Ok(SetIrqs { index, start, count, action, data })
    }

    /// Offset, region and count of a transfer.
    fn place(&mut self) -> Result<(u64, u32, u32), Errno> {
        let place = (self.u64()?, self.u32()?, self.u32()?);
        if place.2 > MAX_TRANSFER { Err(Errno::INVAL) } else { Ok(place) }
    }

    fn write_multi(&mut self) -> Result<Vec<RegionWrite<'m>>, Errno> {
        let count = self.u64()?;
        let single = |_| {
            let (offset, region, count) = self.place()?;
            let data = self.take(8)?.get(..count as usize).ok_or(Errno::INVAL)?;
            Ok(RegionWrite { region, offset, data })
        };
        // Ends at the latest with what was received.
        (0..count).map(single).collect()
    }
}
