// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every number of the ABI in one list, once as Rust has it and once as a C
//! program that includes the headers prints it.

use farfault_abi::describe::HeaderSection;
use std::fmt::Write;

fn sections() -> impl Iterator<Item = &'static HeaderSection> {
    farfault_abi::UAPI.iter().chain(farfault_abi::HARDWARE)
}

/// `name value` lines: constants, then sizes and offsets of structures.
pub fn values() -> String {
    let mut out = String::new();
    for section in sections() {
        for constant in section.constants {
            let _ = writeln!(out, "FF_{} {}", constant.name, constant.value);
        }
        for structure in section.structures {
            let name = structure.name;
            let _ = writeln!(out, "sizeof({name}) {}", structure.size);
            for field in structure.fields {
                let _ = writeln!(out, "offsetof({name},{}) {}", field.name, field.offset);
                let _ = writeln!(out, "sizeof({name},{}) {}", field.name, field.size);
            }
        }
    }
    out
}

/// A C program whose output is to equal [`values`].
pub fn program() -> String {
    let mut out = String::from(
        "/* Generated. Outside a kernel tree, compile with the macros below. */\n\
         #include <stddef.h>\n\
         #include <stdio.h>\n\
         #ifndef BIT\n\
         #define BIT(n) (1UL << (n))\n\
         #define BIT_ULL(n) (1ULL << (n))\n\
         #define GENMASK_ULL(h, l) ((~0ULL << (l)) & (~0ULL >> (63 - (h))))\n\
         #endif\n\
         #include \"base/abi.h\"\n\
         #define CONSTANT(x) printf(#x \" %llu\\n\", (unsigned long long)(x))\n\
         #define SIZE(s) printf(\"sizeof(\" #s \") %zu\\n\", sizeof(struct s))\n\
         #define FIELD(s, f) printf(\"offsetof(\" #s \",\" #f \") %zu\\nsizeof(\" #s \",\" #f \") %zu\\n\", \\\n\
         \toffsetof(struct s, f), sizeof(((struct s *)0)->f))\n\
         int main(void)\n{\n",
    );
    for section in sections() {
        for constant in section.constants {
            let _ = writeln!(out, "\tCONSTANT(FF_{});", constant.name);
        }
        for structure in section.structures {
            let _ = writeln!(out, "\tSIZE({});", structure.name);
            for field in structure.fields {
                let _ = writeln!(out, "\tFIELD({}, {});", structure.name, field.name);
            }
        }
    }
    out.push_str("\treturn 0;\n}\n");
    out
}
