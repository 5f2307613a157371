// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where debugging information of what a guest runs is, and `farfault decode`.

use super::options::DecodeArgs;
use super::values::UserFile;
use crate::exit::Failure;
use crate::image::Image;
use crate::oops::{Decoder, Sources};
use crate::output::{print, tell};
use std::io::{self, BufRead};
use std::path::Path;

/// For a guest with this kernel, if not the image's, and with these files.
pub fn sources(image: Option<&Image>, kernel: Option<&Path>, files: &[UserFile]) -> Sources {
    let mut sources = Sources::none();
    match (kernel, image) {
        (Some(kernel), _) => sources.kernel = Ok(kernel.to_owned()),
        (None, Some(image)) => {
            if let (Some(tree), Ok(kernel)) = (&image.manifest.kernel_tree, image.kernel()) {
                sources.add_tree(tree, &kernel);
            }
        }
        (None, None) => {}
    }
    for file in image.map(Image::debug_files).unwrap_or_default() {
        sources.add_module(&file);
    }
    for file in files.iter().filter(|file| file.guest.ends_with(".ko")) {
        sources.add_module(&file.host);
    }
    sources
}

/// Copies standard input to standard output, decoded.
pub fn decode(args: &DecodeArgs) -> Result<(), Failure> {
    let image = Image::find(args.image.as_deref()).map_err(Failure::host_lacks)?;
    let mut decoder = Decoder::new(|| sources(Some(&image), args.kernel.as_deref(), &args.files));
    for line in io::stdin().lock().split(b'\n') {
        let line = line.map_err(Failure::host_lacks)?;
        print(&format!("{}\n", decoder.decode(&String::from_utf8_lossy(&line))))?;
    }
    decoder.lacking().iter().for_each(|why| tell(&format!("farfault: {why}")));
    Ok(())
}
