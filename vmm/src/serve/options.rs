// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is said to QEMU so that it uses the devices.

use serde_json::json;
use std::path::Path;

/// Options for a shell to read, one device a line.
pub fn qemu_options<'p>(sockets: impl IntoIterator<Item = &'p Path>) -> String {
    let mut text = "-m 2G -object memory-backend-memfd,id=ram,size=2G,share=on \
                    -machine q35,memory-backend=ram"
        .to_owned();
    for path in sockets {
        let socket = json!({ "type": "unix", "path": path.to_string_lossy() });
        let device = json!({ "driver": "vfio-user-pci", "socket": socket });
        text.push_str(" \\\n    -device ");
        text.push_str(&quoted(&device.to_string()));
    }
    text.push('\n');
    text
}

/// As one word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_one_word_of_a_shell() {
        let odd = Path::new("/tmp/it's \"a\" socket");
        let text = qemu_options([Path::new("/run/a"), odd]);
        let words = std::process::Command::new("sh")
            .args(["-c", &format!("printf '%s\\n' {text}")])
            .output()
            .expect("a shell");
        let words = String::from_utf8(words.stdout).expect("text");
        let words: Vec<&str> = words.lines().collect();
        let device: serde_json::Value = serde_json::from_str(words[9]).expect("JSON");
        assert_eq!(device["socket"]["path"], odd.to_str().expect("text"));
        assert_eq!((words.len(), words[0], words[6]), (10, "-m", "-device"));
    }
}
