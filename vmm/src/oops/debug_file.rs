// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A file of the kernel or of a module with its debugging information (DWARF). A module is an
//! object file: its sections have no addresses yet, so they get some here.

use super::frame::Frame;
use addr2line::Context;
use gimli::{Dwarf, EndianRcSlice, LittleEndian, Reader};
use object::read::{ReadCache, RelocationTarget};
use object::{
    File, Object, ObjectKind, ObjectSection, ObjectSymbol, RelocationKind, SectionIndex,
    SectionKind, SymbolKind,
};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;

type Bytes = EndianRcSlice<LittleEndian>;
type Elf<'a> = File<'a, &'a ReadCache<fs::File>>;

/// The distance between sections that are given addresses.
const PAGE: u64 = 4096;
/// Deeper than what compilers nest; addr2line recurses.
const MAX_DEPTH: isize = 500;

#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error(transparent)]
    Elf(#[from] object::Error),
    #[error(transparent)]
    Dwarf(#[from] gimli::Error),
    #[error("it has no debugging information (CONFIG_DEBUG_INFO)")]
    None,
    #[error("its debugging information is nested too deeply")]
    Deep,
}

/// Where a function is.
struct Function {
    address: u64,
    size: u64,
}

/// Functions, and the lines that they were made of.
pub struct DebugFile {
    functions: HashMap<String, Vec<Function>>,
    context: Context<Bytes>,
}

impl DebugFile {
    pub fn open(path: &Path) -> Result<DebugFile, DebugError> {
        let cache = ReadCache::new(fs::File::open(path)?);
        let elf: Elf = File::parse(&cache)?;
        if elf.section_by_name(".debug_info").is_none() {
            return Err(DebugError::None);
        }
        let places = Places::of(&elf);
        let dwarf = Dwarf::load(|id| load(&elf, &places, id.name()))?;
        check_depth(&dwarf)?;
        let context = Context::from_dwarf(dwarf)?;
        Ok(DebugFile { functions: functions(&elf, &places), context })
    }

    /// File and line of an address; of what was inlined there, too, the innermost first.
    pub fn place(&self, frame: &Frame) -> Option<String> {
        let address = self.function(frame)?.address.checked_add(frame.instruction())?;
        let unit = self.context.find_dwarf_and_unit(address).skip_all_loads();
        let folder = unit.and_then(|unit| unit.comp_dir.as_ref().map(text)).unwrap_or_default();
        let mut frames = self.context.find_frames(address).skip_all_loads().ok()?;
        let mut found = Vec::new();
        while let Some(frame) = frames.next().ok()? {
            let location = frame.location?;
            let file = location.file?.to_owned();
            let inside = file.strip_prefix(&folder).map(|file| file.trim_start_matches('/'));
            let file = inside.unwrap_or(&file).trim_start_matches("./");
            let place = format!("{file}:{}", location.line.unwrap_or(0));
            let function = frame.function.map(|function| text(&function.name));
            found.push((function.unwrap_or_else(|| "?".to_owned()), place));
        }
        match &found[..] {
            [] => None,
            [(_, place)] => Some(place.clone()),
            all => {
                let all: Vec<_> =
                    all.iter().map(|(name, place)| format!("{name} at {place}")).collect();
                Some(all.join(", inlined in "))
            }
        }
    }

    /// Of functions with the same name the one whose size fits. The kernel counts what lies
    /// between it and the next one.
    fn function(&self, frame: &Frame) -> Option<&Function> {
        let fitting = self.functions.get(frame.function)?.iter();
        let mut fitting: Vec<_> = fitting.filter(|it| it.size <= frame.size).collect();
        fitting.sort_by_key(|it| frame.size - it.size);
        match fitting[..] {
            [best, second, ..] if best.size == second.size => None,
            [best, ..] => Some(best),
            [] => None,
        }
    }
}

/// The build ID of a file, if it has one.
pub fn build_id(path: &Path) -> Option<Vec<u8>> {
    let cache = ReadCache::new(fs::File::open(path).ok()?);
    let elf: Elf = File::parse(&cache).ok()?;
    elf.build_id().ok()?.map(<[u8]>::to_vec)
}

/// Addresses of the sections with code of an object file. In a linked file, and for all other
/// sections, what is in the file is right as it is.
struct Places {
    relocatable: bool,
    sections: HashMap<SectionIndex, u64>,
}

impl Places {
    fn of(elf: &Elf) -> Places {
        let relocatable = elf.kind() == ObjectKind::Relocatable;
        let mut sections = HashMap::new();
        let mut next = PAGE;
        for section in elf.sections().filter(|it| relocatable && it.kind() == SectionKind::Text) {
            sections.insert(section.index(), next);
            let end =
                next.checked_add(section.size()).and_then(|end| end.checked_next_multiple_of(PAGE));
            let Some(end) = end else { break };
            next = end;
        }
        Places { relocatable, sections }
    }

    fn section(&self, section: Option<SectionIndex>) -> u64 {
        section.and_then(|index| self.sections.get(&index)).copied().unwrap_or(0)
    }

    /// The address of something in a section.
    fn symbol<'a>(&self, symbol: &impl ObjectSymbol<'a>) -> u64 {
        self.section(symbol.section_index()).wrapping_add(symbol.address())
    }

    /// Puts these addresses where the section of debugging information leaves room for them.
    fn relocate<'a>(&self, elf: &Elf, section: &impl ObjectSection<'a>, data: &mut [u8]) {
        for (offset, relocation) in section.relocations() {
            let target = match relocation.target() {
                RelocationTarget::Symbol(index) => {
                    elf.symbol_by_index(index).map_or(0, |symbol| self.symbol(&symbol))
                }
                RelocationTarget::Section(index) => self.section(Some(index)),
                _ => 0,
            };
            let value = target.wrapping_add_signed(relocation.addend()).to_le_bytes();
            let width = usize::from(relocation.size() / 8);
            let room = usize::try_from(offset)
                .ok()
                .and_then(|at| data.get_mut(at..at.checked_add(width)?));
            if let (Some(room), Some(value)) = (room, value.get(..width))
                && relocation.kind() == RelocationKind::Absolute
            {
                room.copy_from_slice(value);
            }
        }
    }
}

fn functions(elf: &Elf, places: &Places) -> HashMap<String, Vec<Function>> {
    let mut functions: HashMap<String, Vec<Function>> = HashMap::new();
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        if let Ok(name) = symbol.name() {
            let function = Function { address: places.symbol(&symbol), size: symbol.size() };
            functions.entry(name.to_owned()).or_default().push(function);
        }
    }
    functions
}

/// A section of debugging information; empty if there is none.
fn load(elf: &Elf, places: &Places, name: &str) -> Result<Bytes, DebugError> {
    let data = match elf.section_by_name(name) {
        None => Rc::from([]),
        Some(section) if places.relocatable => {
            let mut data = section.uncompressed_data()?.into_owned();
            places.relocate(elf, &section, &mut data);
            Rc::from(data)
        }
        Some(section) => Rc::from(section.uncompressed_data()?.as_ref()),
    };
    Ok(Bytes::new(data, LittleEndian))
}

fn check_depth(dwarf: &Dwarf<Bytes>) -> Result<(), DebugError> {
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        let abbreviations = dwarf.abbreviations(&header)?;
        let mut entries = header.entries_raw(&abbreviations, None)?;
        while !entries.is_empty() {
            if entries.next_depth() > MAX_DEPTH {
                return Err(DebugError::Deep);
            }
            if let Some(entry) = entries.read_abbreviation()? {
                entries.skip_attributes(entry.attributes())?;
            }
        }
    }
    Ok(())
}

fn text(bytes: &Bytes) -> String {
    bytes.to_string_lossy().map(|text| text.into_owned()).unwrap_or_default()
}
