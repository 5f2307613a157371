// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Says where in the sources the functions of a kernel's oops are, from debugging information
//! of the kernel and of its modules. What has none stays as it is.

mod debug_file;
mod frame;

use debug_file::{DebugFile, build_id};
use frame::Frame;
use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files with debugging information.
#[derive(Debug)]
pub struct Sources {
    /// The kernel's, or why there is none.
    pub kernel: Result<PathBuf, String>,
    /// Those of modules, by the names that the kernel has for them.
    pub modules: BTreeMap<String, PathBuf>,
}

impl Sources {
    /// None yet.
    pub fn none() -> Sources {
        let kernel = Err("no folder in which it was built is known".to_owned());
        Sources { kernel, modules: BTreeMap::new() }
    }

    /// Adds what there is in the tree in which a kernel was built. Nothing if something else was
    /// built there since: `kernel` is the one that runs.
    pub fn add_tree(&mut self, tree: &Path, kernel: &Path) {
        let built = tree.join("vmlinux");
        let id = build_id(&built);
        if id.is_none() || id != build_id(kernel) {
            self.kernel = Err(format!("{} is of another build", built.display()));
            return;
        }
        self.kernel = Ok(built);
        let order = fs::read_to_string(tree.join("modules.order")).unwrap_or_default();
        for object in order.lines() {
            let path = tree.join(object).with_extension("ko");
            self.modules.entry(module_name(&path)).or_insert(path);
        }
    }

    /// Adds a module's file.
    pub fn add_module(&mut self, path: &Path) {
        self.modules.insert(module_name(path), path.to_owned());
    }

    fn open(&self, module: Option<&str>) -> Result<DebugFile, String> {
        let path = match module {
            None => self.kernel.as_ref().map_err(String::clone)?,
            Some(name) => self.modules.get(name).ok_or("its file is not known")?,
        };
        DebugFile::open(path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// The kernel's name for the module in a file.
fn module_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")
}

/// Looks for files when the first function is named, and reads each when it is needed.
pub struct Decoder<'a> {
    sources: LazyCell<Sources, Box<dyn FnOnce() -> Sources + 'a>>,
    /// By module. The kernel's has no name.
    open: BTreeMap<Option<String>, Result<DebugFile, String>>,
}

impl<'a> Decoder<'a> {
    pub fn new(sources: impl FnOnce() -> Sources + 'a) -> Decoder<'a> {
        Decoder { sources: LazyCell::new(Box::new(sources)), open: BTreeMap::new() }
    }

    /// The line, with file and line number behind it if it names a function that has some.
    pub fn decode(&mut self, line: &str) -> String {
        match self.place(line) {
            Some(place) => format!("{line} ({place})"),
            None => line.to_owned(),
        }
    }

    /// Whose functions stayed as they are, and why: a line.
    pub fn lacking(&self) -> Option<String> {
        let why = |(module, file): (&Option<String>, &Result<_, String>)| {
            let whose = module.as_deref().unwrap_or("the kernel");
            file.as_ref().err().map(|why| format!("{whose} ({why})"))
        };
        let all: Vec<String> = self.open.iter().filter_map(why).collect();
        let all = (!all.is_empty()).then(|| all.join(", of "))?;
        Some(format!("no file and line for functions of {all}"))
    }

    fn place(&mut self, line: &str) -> Option<String> {
        let frame = Frame::find(line)?;
        let open = || self.sources.open(frame.module);
        let file = self.open.entry(frame.module.map(str::to_owned)).or_insert_with(open);
        file.as_ref().ok()?.place(&frame)
    }
}

#[cfg(test)]
#[path = "oops_test.rs"]
mod tests;
