// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finds the guest image that guest-image/build left in the cache.

use farfault_abi::regs::VERSION;
use serde::Deserialize;
use std::collections::HashMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Of what init and the host say to each other, which a change of the other side needs, too.
const INIT_VERSION: u32 = 3;
/// Written last by the recipe, so it tells that an image is complete.
const MANIFEST: &str = "manifest.json";

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("no guest image in {}; run guest-image/build", .0.display())]
    Missing(PathBuf),
    #[error("{} is no guest image (it has no {MANIFEST}); run guest-image/build", .0.display())]
    NotAnImage(PathBuf),
    #[error("the init of the guest image in {} is of another version; run guest-image/build",
            .0.display())]
    OtherInit(PathBuf),
    #[error("cannot read {}", .0.display())]
    Manifest(PathBuf, #[source] io::Error),
    #[error("the guest image in {} is for another version of the device; run guest-image/build",
            .0.display())]
    OtherDevice(PathBuf),
    #[error("the guest image lacks a whole {}; run guest-image/build", .0.display())]
    Incomplete(PathBuf),
}

/// What the recipe says about an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// `uname -r` of the kernel.
    pub kernel_release: String,
    /// Major version of the device that its driver is for.
    pub device_version: u32,
    /// What its init understands.
    pub init_version: u32,
    /// The tools tree that the image was made with.
    pub tools: Option<PathBuf>,
    /// The folder of the user's in which the kernel was built, if there is one.
    pub kernel_tree: Option<PathBuf>,
    /// How many bytes its parts have, by name.
    pub sizes: HashMap<String, u64>,
}

#[derive(Clone, Debug)]
pub struct Image {
    pub directory: PathBuf,
    pub manifest: Manifest,
}

/// Where the recipe has put this program, if it has.
fn beside_this_program() -> Option<PathBuf> {
    let directory = env::current_exe().ok()?.parent()?.to_owned();
    directory.join(MANIFEST).is_file().then_some(directory)
}

impl Image {
    /// The image in `chosen`, else in `$FARFAULT_IMAGE`, else the one that this program
    /// lies beside, else the newest of the cache.
    pub fn find(chosen: Option<&Path>) -> Result<Image, ImageError> {
        let found = chosen.map(Path::to_owned).or_else(|| set("FARFAULT_IMAGE"));
        match found.or_else(beside_this_program) {
            Some(directory) => Image::open(&directory),
            None => Image::newest(&cache()),
        }
    }

    fn open(directory: &Path) -> Result<Image, ImageError> {
        let path = directory.join(MANIFEST);
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                ImageError::NotAnImage(directory.to_owned())
            }
            _ => ImageError::Manifest(path.clone(), error),
        })?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| ImageError::Manifest(path, error.into()))?;
        if manifest.device_version != VERSION >> 16 {
            return Err(ImageError::OtherDevice(directory.to_owned()));
        }
        if manifest.init_version != INIT_VERSION {
            return Err(ImageError::OtherInit(directory.to_owned()));
        }
        Ok(Image { directory: directory.to_owned(), manifest })
    }

    /// The image in `cache` whose manifest was written last.
    fn newest(cache: &Path) -> Result<Image, ImageError> {
        let newest = fs::read_dir(cache)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("image-"))
            .filter_map(|entry| Some((written(&entry.path())?, entry.path())))
            .max();
        match newest {
            Some((_, directory)) => Image::open(&directory),
            None => Err(ImageError::Missing(cache.to_owned())),
        }
    }

    /// The kernel as ELF: loaded as it is, where a bzImage unpacks itself
    /// on the guest's time.
    pub fn kernel(&self) -> Result<PathBuf, ImageError> {
        self.part("vmlinux")
    }

    /// The kernel for QEMU: as ELF if it can be entered so (PVH), and else it unpacks itself.
    pub fn kernel_for_qemu(&self) -> Result<PathBuf, ImageError> {
        let config = fs::read_to_string(self.directory.join("config")).unwrap_or_default();
        let has_entry = config.lines().any(|line| line == "CONFIG_PVH=y");
        self.part(if has_entry { "vmlinux" } else { "vmlinuz" })
    }

    pub fn initrd(&self) -> Result<PathBuf, ImageError> {
        self.part("initrd")
    }

    /// The kernel of the first guest in nested mode: a stock one, whatever is under test.
    pub fn first_kernel(&self) -> Result<PathBuf, ImageError> {
        self.part("l1-vmlinux")
    }

    /// The initrd of the first guest in nested mode.
    pub fn first_initrd(&self) -> Result<PathBuf, ImageError> {
        self.part("l1-initrd")
    }

    /// Files with debugging information that are kept beside what is loaded.
    pub fn debug_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.join("debug")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    fn part(&self, name: &str) -> Result<PathBuf, ImageError> {
        let path = self.directory.join(name);
        let whole = fs::metadata(&path).is_ok_and(|status| {
            let size = status.len();
            status.is_file() && *self.manifest.sizes.get(name).unwrap_or(&size) == size
        });
        if whole { Ok(path) } else { Err(ImageError::Incomplete(path)) }
    }
}

fn written(directory: &Path) -> Option<SystemTime> {
    fs::metadata(directory.join(MANIFEST)).and_then(|status| status.modified()).ok()
}

/// The path in a variable of the environment.
fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where images and states are.
pub fn cache() -> PathBuf {
    set("XDG_CACHE_HOME")
        .unwrap_or_else(|| set("HOME").unwrap_or_else(|| "/".into()).join(".cache"))
        .join("farfault")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::chain;
    use std::fs::File;
    use std::time::Duration;
    use tempfile::tempdir;

    fn make(cache: &Path, name: &str, age: u64) -> PathBuf {
        let image = cache.join(name);
        fs::create_dir(&image).expect("an image");
        let manifest = serde_json::json!({
            "kernel_release": "7.2", "device_version": VERSION >> 16, "extra": [],
            "init_version": INIT_VERSION,
            "sizes": {"vmlinux": 5},
        });
        fs::write(image.join(MANIFEST), manifest.to_string()).expect("written");
        let manifest = File::options().append(true).open(image.join(MANIFEST)).expect("opened");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        manifest.set_modified(time).expect("dated");
        image
    }

    #[test]
    fn a_missing_image_gets_one_line_that_says_what_to_do() {
        let scratch = tempdir().expect("a scratch directory");
        let cache = scratch.path();
        fs::create_dir(cache.join("image-unfinished")).expect("a directory");
        let error = Image::newest(cache).expect_err("no image");
        let line = format!("no guest image in {}; run guest-image/build", cache.display());
        assert_eq!(chain(&error), line);
        assert!(matches!(Image::newest(Path::new("/nowhere")), Err(ImageError::Missing(_))));
        let named = Image::find(Some(cache)).expect_err("no image");
        assert!(chain(&named).contains("is no guest image"), "{named}");
    }

    #[test]
    fn the_newest_complete_image_is_taken() {
        let scratch = tempdir().expect("a scratch directory");
        let cache = scratch.path();
        make(cache, "image-old", 20);
        let newest = make(cache, "image-aaa", 10);
        make(cache, "tools-bbb", 0);
        fs::create_dir(cache.join("image-unfinished")).expect("a directory");
        let image = Image::newest(cache).expect("an image");
        assert_eq!(image.directory, newest);
        assert_eq!(image.manifest.kernel_release, "7.2");
    }

    #[test]
    fn a_lost_or_damaged_part_is_named() {
        let scratch = tempdir().expect("a scratch directory");
        let cache = scratch.path();
        let image = Image::find(Some(&make(cache, "image-x", 0))).expect("an image");
        for part in [None, Some("cut")] {
            if let Some(text) = part {
                fs::write(image.directory.join("vmlinux"), text).expect("written");
            }
            let error = image.kernel().expect_err("no kernel");
            assert!(chain(&error).contains("image-x/vmlinux; run guest-image/build"), "{error}");
        }
        fs::write(image.directory.join("vmlinux"), "whole").expect("written");
        assert!(image.kernel().is_ok());
    }

    #[test]
    fn qemu_gets_a_kernel_that_it_can_enter() {
        let scratch = tempdir().expect("a scratch directory");
        let image = Image::find(Some(&make(scratch.path(), "image-x", 0))).expect("an image");
        for kernel in ["vmlinux", "vmlinuz"] {
            fs::write(image.directory.join(kernel), "whole").expect("written");
        }
        for (config, kernel) in
            [("# CONFIG_PVH is not set", "vmlinuz"), ("CONFIG_PVH=y", "vmlinux")]
        {
            fs::write(image.directory.join("config"), config).expect("written");
            assert!(image.kernel_for_qemu().expect("a kernel").ends_with(kernel));
        }
    }

    #[test]
    fn an_image_of_before_is_refused_with_one_line() {
        let scratch = tempdir().expect("a scratch directory");
        let cache = scratch.path();
        let device = VERSION >> 16;
        let cases = [
            (r#"{"kernel_release":"7.2"}"#.to_owned(), "is for another version of the device"),
            (format!(r#"{{"device_version":{device}}}"#), "is of another version"),
        ];
        for (manifest, words) in cases {
            fs::write(cache.join(MANIFEST), manifest).expect("written");
            let error = Image::find(Some(cache)).expect_err("another version");
            assert!(chain(&error).ends_with(&format!("{words}; run guest-image/build")), "{error}");
        }
    }

    #[test]
    fn a_broken_manifest_is_an_error() {
        let scratch = tempdir().expect("a scratch directory");
        let cache = scratch.path();
        fs::write(cache.join(MANIFEST), b"{").expect("written");
        assert!(matches!(Image::find(Some(cache)), Err(ImageError::Manifest(..))));
    }
}
