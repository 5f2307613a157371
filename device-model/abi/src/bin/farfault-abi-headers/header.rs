// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two headers: what is in them and in which order.

use crate::spelling::{Dialect, declaration, documentation, value, wrap};
use farfault_abi::describe::{Constant, HeaderSection, Structure};
use std::fmt::Write;

const WIDTH: usize = 76;
/// Column at which a constant's value starts.
const VALUE_COLUMN: usize = 40;

/// File name and text of each header.
pub fn all() -> [(&'static str, String); 2] {
    [("base/abi.h", hardware()), ("uapi/farfault.h", uapi())]
}

fn hardware() -> String {
    let mut out = String::from(
        "/* SPDX-License-Identifier: GPL-2.0-only */\n\
         /*\n \
          * What driver and device share: registers, tables, commands, faults.\n \
          * Made by farfault-abi-headers from device-model/abi: change it there.\n \
          */\n\
         #ifndef FF_ABI_H\n\
         #define FF_ABI_H\n\
         \n\
         #include <linux/bits.h>\n\
         #include <linux/types.h>\n\
         \n\
         #include \"uapi/farfault.h\"\n",
    );
    for section in farfault_abi::HARDWARE {
        write_section(&mut out, section, Dialect::Kernel);
    }
    out.push_str("\n#endif /* FF_ABI_H */\n");
    out
}

fn uapi() -> String {
    let mut out = String::from(
        "/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */\n\
         /*\n \
          * What programs share with the farfault driver and, through queues, with\n \
          * the device. Structures only grow at the end; numbers are never reused.\n \
          * Made by farfault-abi-headers from device-model/abi: change it there.\n \
          */\n\
         #ifndef _UAPI_FARFAULT_H\n\
         #define _UAPI_FARFAULT_H\n\
         \n\
         #include <linux/ioctl.h>\n\
         #include <linux/types.h>\n\
         \n\
         #ifdef __cplusplus\n\
         #define _Static_assert static_assert\n\
         #endif\n",
    );
    for section in farfault_abi::UAPI {
        write_section(&mut out, section, Dialect::Uapi);
    }
    out.push_str("\n#endif /* _UAPI_FARFAULT_H */\n");
    out
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
    let _ = writeln!(out, "}};\n");
    let name = structure.name;
    let size = structure.size;
    let _ = writeln!(out, "_Static_assert(sizeof(struct {name}) == {size}, \"size\");");
    for field in structure.fields {
        let _ = writeln!(
            out,
            "_Static_assert(__builtin_offsetof(struct {name}, {}) == {}, \"{}\");",
            field.name, field.offset, field.name
        );
    }
}
