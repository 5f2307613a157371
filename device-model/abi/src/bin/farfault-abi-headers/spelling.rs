// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a piece of the ABI is spelled in C.

use farfault_abi::describe::{Constant, Field};

/// Which of the two headers is being written; they follow different habits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Inside the kernel: `BIT()`, `GENMASK_ULL()`.
    Kernel,
    /// For programs too: plain C.
    Uapi,
}

/// The right-hand side of the constant's `#define`, as close to its Rust text as C allows.
pub fn value(constant: &Constant, dialect: Dialect) -> String {
    let text = constant.text;
    let wide = constant.width == 8;
    if let Some(arguments) = call(text, "ioctl") {
        return ioctl(constant.name, &arguments);
    }
    if let (Some(arguments), Dialect::Kernel) = (call(text, "genmask"), dialect) {
        return format!("GENMASK_ULL({})", arguments.join(", "));
    }
    if let Some(bit) = text.strip_prefix("1 << ") {
        return match (dialect, wide) {
            (Dialect::Kernel, true) => format!("BIT_ULL({bit})"),
            (Dialect::Kernel, false) => format!("BIT({bit})"),
            (Dialect::Uapi, true) => format!("(1ULL << {bit})"),
            (Dialect::Uapi, false) => format!("(1U << {bit})"),
        };
    }
    if text.starts_with("0x") {
        let suffix = if constant.value > u64::from(u32::MAX) { "ULL" } else { "" };
        return format!("{}{suffix}", text.replace('_', ""));
    }
    constant.value.to_string()
}

/// The arguments, if `text` is a call of `function`.
fn call(text: &str, function: &str) -> Option<Vec<String>> {
    let inner = text.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')')?;
    Some(inner.split(',').map(|argument| argument.trim().to_owned()).collect())
}

/// `IOC_QUEUE_CREATE`, direction, number → `_IOWR(0xfa, 1, struct ff_queue_create)`.
fn ioctl(name: &str, arguments: &[String]) -> String {
    let direction = match arguments.first().map(String::as_str) {
        Some("1") => "_IOW",
        Some("2") => "_IOR",
        _ => "_IOWR",
    };
    let number = arguments.get(1).map_or("", String::as_str);
    let argument = name.trim_start_matches("IOC_").to_lowercase();
    format!("{direction}(0xfa, {number}, struct ff_{argument})")
}

/// `[u64; 3]` named `x` → `__le64 x[3]`.
pub fn declaration(field: &Field, little_endian: bool) -> String {
    let (element, count) = match field.ty.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(array) => array.split_once("; ").unwrap_or((array, "1")),
        None => (field.ty, ""),
    };
    let c_type = match (element, little_endian) {
        ("u8", _) => "__u8",
        ("u16", true) => "__le16",
        ("u32", true) => "__le32",
        ("u64", true) => "__le64",
        ("u16", false) => "__u16",
        ("u32", false) => "__u32",
        _ => "__u64",
    };
    if count.is_empty() {
        format!("{c_type} {}", field.name)
    } else {
        format!("{c_type} {}[{count}]", field.name)
    }
}

/// Documentation with Rust's links as C's names: ``[`RESPONSE_FAIL`]`` → `FF_RESPONSE_FAIL`,
/// ``[`Info::version`]`` → `ff_info.version`, ``[`Info`]`` → `struct ff_info`.
pub fn documentation(lines: &[&str]) -> String {
    let text = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((target, after)) = link.split_once("`]") else { break };
        out.push_str(before);
        out.push_str(&c_name(target));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn c_name(target: &str) -> String {
    if target.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
        return format!("FF_{target}");
    }
    match target.split_once("::") {
        Some((structure, field)) => format!("ff_{}.{field}", snake_case(structure)),
        None => format!("struct ff_{}", snake_case(target)),
    }
}

fn snake_case(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Breaks `text` into lines of at most `width` characters.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(name: &'static str, value: u64, width: usize, text: &'static str) -> Constant {
        Constant { name, value, width, text, doc: &[] }
    }

    #[test]
    fn values_keep_the_form_they_were_written_in() {
        let kernel = |c: &Constant| value(c, Dialect::Kernel);
        assert_eq!(kernel(&constant("A", 8, 8, "1 << 3")), "BIT_ULL(3)");
        assert_eq!(kernel(&constant("A", 8, 4, "1 << 3")), "BIT(3)");
        assert_eq!(kernel(&constant("A", 0, 8, "genmask(51, 12)")), "GENMASK_ULL(51, 12)");
        assert_eq!(kernel(&constant("A", 0x544c_4646, 4, "0x544c_4646")), "0x544c4646");
        assert_eq!(kernel(&constant("A", 64, 4, "64")), "64");
        assert_eq!(value(&constant("A", 8, 4, "1 << 3"), Dialect::Uapi), "(1U << 3)");
    }

    #[test]
    fn an_ioctl_names_its_structure() {
        let create = constant("IOC_QUEUE_CREATE", 0, 4, "ioctl(3, 1, 32)");
        assert_eq!(value(&create, Dialect::Uapi), "_IOWR(0xfa, 1, struct ff_queue_create)");
    }

    #[test]
    fn links_become_c_names() {
        assert_eq!(
            documentation(&[" See [`RESPONSE_FAIL`],", " [`QueueCreate::ring`] and [`Info`]."]),
            "See FF_RESPONSE_FAIL, ff_queue_create.ring and struct ff_info."
        );
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
    }
}
