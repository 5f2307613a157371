// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two headers: what is in them and in which order.

use crate::spelling::{Dialect, declaration, documentation, value, wrap};
use farfault_abi::describe::{Constant, HeaderSection, Structure};
use std::fmt::Write;

const WIDTH: usize = 76;
/// Column at which a constant's value starts.
const VALUE_COLUMN: usize = 40;

/// How each header begins.
const HARDWARE: &str = "\
/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What driver and device share: registers, tables, commands, faults.
 * Made by farfault-abi-headers from device-model/abi: change it there.
 */
#ifndef FF_ABI_H
#define FF_ABI_H

#include <linux/bits.h>
#include <linux/types.h>

#include \"uapi/farfault.h\"
";
const UAPI: &str = "\
/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What programs share with the farfault driver and, through queues, with
 * the device. Structures only grow at the end; numbers are never reused.
 * Made by farfault-abi-headers from device-model/abi: change it there.
 */
#ifndef _UAPI_FARFAULT_H
#define _UAPI_FARFAULT_H

#include <linux/ioctl.h>
#include <linux/types.h>

#ifdef __cplusplus
#define _Static_assert static_assert
#endif
";

/// File name and text of each header.
pub fn all() -> [(&'static str, String); 2] {
    let text = |beginning: &str, sections: &[HeaderSection], dialect, guard: &str| {
        let mut out = beginning.to_owned();
        sections.iter().for_each(|section| write_section(&mut out, section, dialect));
        out + &format!("\n#endif /* {guard} */\n")
    };
    let hardware = text(HARDWARE, farfault_abi::HARDWARE, Dialect::Kernel, "FF_ABI_H");
    let uapi = text(UAPI, farfault_abi::UAPI, Dialect::Uapi, "_UAPI_FARFAULT_H");
    [("base/abi.h", hardware), ("uapi/farfault.h", uapi)]
}

fn write_section(out: &mut String, section: &HeaderSection, dialect: Dialect) {
    let _ = writeln!(out, "\n/* === {} === */", section.title);
    for constant in section.constants {
        write_constant(out, constant, dialect);
    }
    // ioctl arguments are the kernel's own integers; all else has the device's byte order.
    let little_endian = section.title != "ioctls";
    for structure in section.structures {
        write_structure(out, structure, little_endian);
    }
}

fn write_constant(out: &mut String, constant: &Constant, dialect: Dialect) {
    let doc = wrap(&documentation(constant.doc), WIDTH - 6);
    match &doc[..] {
        [] => {}
        [line] => {
            let _ = writeln!(out, "\n/* {line} */");
        }
        lines => {
            let _ = writeln!(out, "\n/*");
            for line in lines {
                let _ = writeln!(out, " * {line}");
            }
            let _ = writeln!(out, " */");
        }
    }
    let name = format!("#define FF_{}", constant.name);
    let columns = VALUE_COLUMN.saturating_sub(name.len());
    let tabs = columns.div_ceil(8).max(1);
    let _ = writeln!(out, "{name}{}{}", "\t".repeat(tabs), value(constant, dialect));
}

fn write_structure(out: &mut String, structure: &Structure, little_endian: bool) {
    let _ = writeln!(out, "\n/**");
    let title = format!("struct {} - {}", structure.name, documentation(structure.doc));
    for line in wrap(&title, WIDTH - 3) {
        let _ = writeln!(out, " * {line}");
    }
    for field in structure.fields {
        let text = format!("@{}: {}", field.name, documentation(field.doc));
        for (i, line) in wrap(&text, WIDTH - 6).iter().enumerate() {
            let _ = writeln!(out, " * {}{line}", if i == 0 { "" } else { "  " });
        }
    }
    let _ = writeln!(out, " */\nstruct {} {{", structure.name);
    for field in structure.fields {
        let _ = writeln!(out, "\t{};", declaration(field, little_endian));
    }
    let (name, size) = (structure.name, structure.size);
    let _ = writeln!(out, "}};\n\n_Static_assert(sizeof(struct {name}) == {size}, \"size\");");
}
