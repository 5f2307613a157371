// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Decodes addresses of a small module and a small kernel, which a C compiler makes here: the
//! one that every Rust toolchain for Linux links with.

use super::*;
use std::process::Command;
use tempfile::TempDir;

/// Two functions in sections of their own, as a module's `init` is, so that both begin at zero.
const SOURCE: &str = "\
volatile int where;
static inline __attribute__((always_inline)) void deep(void)
{
	where = 3;
}
__attribute__((section(\".text.first\"))) void first(void)
{
	where = 8;
}
__attribute__((section(\".text.second\"))) void second(void)
{
	deep();
}
";

/// A folder with what the compiler makes of it.
fn compiled(how: &[&str], name: &str) -> TempDir {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    fs::write(scratch.path().join("small.c"), SOURCE).expect("written");
    compile(scratch.path(), &[&["-g", "-O1", "-fno-pic", "small.c", "-o", name], how].concat());
    scratch
}

fn compile(folder: &Path, options: &[&str]) {
    let ended = Command::new("cc").args(options).current_dir(folder).status();
    assert!(ended.expect("a C compiler").success());
}

fn module(how: &[&str]) -> (TempDir, Decoder<'static>) {
    let folder = compiled(&[&["-c"], how].concat(), "my-module.ko");
    let decoder = decoder_of(&folder);
    (folder, decoder)
}

fn decoder_of(folder: &TempDir) -> Decoder<'static> {
    let mut sources = Sources::none();
    sources.add_module(&folder.path().join("my-module.ko"));
    Decoder::new(|| sources)
}

#[test]
fn functions_of_a_module_are_found_in_each_section() {
    for how in [&[][..], &["-gz"]] {
        let (_folder, mut decoder) = module(how);
        let mut decode = |line| decoder.decode(line);
        assert_eq!(
            decode("RIP: 0010:first+0x0/0x40 [my_module]"),
            "RIP: 0010:first+0x0/0x40 [my_module] (small.c:8)"
        );
        assert_eq!(
            decode(" first+0x5/0x40 [my_module 0a1b]"),
            " first+0x5/0x40 [my_module 0a1b] (small.c:8)"
        );
        assert_eq!(
            decode(" second+0x5/0x40 [my_module]"),
            " second+0x5/0x40 [my_module] (deep at small.c:4, inlined in second at small.c:12)"
        );
    }
}

#[test]
fn what_is_not_known_stays_as_it_is() {
    let (_folder, mut decoder) = module(&[]);
    for line in [
        "Call Trace:",
        " first+0x5/0x40",
        " first+0x5/0x40 [other]",
        " third+0x5/0x40 [my_module]",
        // Of another build: ours is longer.
        " first+0x1/0x2 [my_module]",
        " first+0x7fffffff/0x7fffffff [my_module]",
    ] {
        assert_eq!(decoder.decode(line), line);
    }
    let unknown = "no file and line for functions of the kernel \
                   (no folder in which it was built is known), of other (its file is not known)";
    assert_eq!(decoder.lacking().as_deref(), Some(unknown));
}

#[test]
fn nothing_is_looked_for_until_a_function_is_named() {
    let mut decoder = Decoder::new(|| panic!("nothing is named"));
    assert_eq!(decoder.decode("CR2: 0000000000000000"), "CR2: 0000000000000000");
    assert_eq!(decoder.lacking(), None);
}

/// What is said of a function of this file.
fn lacking(folder: &TempDir) -> String {
    let mut decoder = decoder_of(folder);
    let line = " first+0x5/0x40 [my_module]";
    assert_eq!(decoder.decode(line), line);
    decoder.lacking().expect("a reason")
}

#[test]
fn a_file_that_is_of_no_use_is_named_with_the_reason() {
    let without = compiled(&["-c", "-g0"], "my-module.ko");
    let said = lacking(&without);
    assert!(said.contains("my-module.ko: it has no debugging information"), "{said}");
    let file = without.path().join("my-module.ko");
    fs::write(&file, "no ELF").expect("written");
    assert!(lacking(&without).contains("my-module.ko: Could not read file magic"));
    fs::remove_file(file).expect("removed");
    assert!(lacking(&without).contains("my-module.ko: No such file"));
}

/// One function, and inlined in it one in another, without end.
const DEEP: &str = "\
.section .text.first, \"ax\"
.type first, @function
first:	.fill 64
.size first, 64
.section .debug_abbrev
	.byte 1, 0x11, 1, 0x11, 1, 0x12, 7, 0, 0
	.byte 2, 0x2e, 1, 0x11, 1, 0x12, 7, 0, 0
	.byte 3, 0x1d, 1, 0, 0
	.byte 0
.section .debug_info
	.long end - start
start:	.short 4
	.long 0
	.byte 8, 1
	.quad first, 64
	.byte 2
	.quad first, 64
	.fill 1000000, 1, 3
end:
";

#[test]
fn what_is_nested_without_end_is_not_read() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    fs::write(folder.path().join("deep.s"), DEEP).expect("written");
    compile(folder.path(), &["-c", "deep.s", "-o", "my-module.ko"]);
    assert!(lacking(&folder).contains("nested too deeply"));
}

#[test]
fn a_damaged_file_ends_nothing() {
    let folder = compiled(&["-c"], "my-module.ko");
    let file = folder.path().join("my-module.ko");
    let whole = fs::read(&file).expect("a module");
    let (mut found, all) = (0, (0..whole.len()).step_by(13));
    for at in all.clone() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8) | 0x81;
        if at % 4 == 0 {
            bytes.truncate(at);
        }
        fs::write(&file, bytes).expect("written");
        let mut decoder = decoder_of(&folder);
        for line in [" first+0x5/0x40 [my_module]", " second+0x5/0x40 [my_module]"] {
            found += usize::from(decoder.decode(line) != line);
        }
    }
    assert!(found > all.len() / 2, "{found} of {}", all.len());
}

#[test]
fn a_tree_serves_the_kernel_that_was_built_there_last() {
    let kernel = ["-nostdlib", "-no-pie", "-Wl,-efirst", "-Wl,--build-id"];
    let tree = compiled(&kernel, "vmlinux");
    fs::write(tree.path().join("modules.order"), "fs/a/my-fs.o\n").expect("written");
    let running = tree.path().join("running");
    fs::copy(tree.path().join("vmlinux"), &running).expect("copied");
    let mut sources = Sources::none();
    sources.add_tree(tree.path(), &running);
    assert_eq!(sources.modules["my_fs"], tree.path().join("fs/a/my-fs.ko"));
    assert_eq!(Decoder::new(|| sources).decode("first+0x5/0x40"), "first+0x5/0x40 (small.c:8)");
    let other = compiled(&[&kernel[..], &["-Dwhere=there"]].concat(), "vmlinux");
    let mut sources = Sources::none();
    sources.add_tree(other.path(), &running);
    assert!(sources.modules.is_empty());
    assert!(sources.kernel.expect_err("another").ends_with("vmlinux is of another build"));
}
