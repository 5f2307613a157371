// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Archives are read back with the cpio crate's own reader.

use super::*;
use cpio::NewcReader;
use std::io::Read;
use std::os::unix::fs::symlink;

/// Name, mode and content of every member.
fn members(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let mut rest = archive;
    let mut found = Vec::new();
    loop {
        let mut reader = NewcReader::new(rest).expect("a member");
        if reader.entry().is_trailer() {
            return found;
        }
        let mut data = Vec::new();
        let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
        reader.read_to_end(&mut data).expect("its data");
        found.push((name, mode, data));
        rest = reader.finish().expect("its end");
    }
}

#[test]
fn the_command_is_json_in_its_place() {
    let command = GuestCommand {
        argv: vec!["saxpy".into(), "1000".into()],
        env: BTreeMap::from([("K".into(), "V".into())]),
        cwd: "/".into(),
        tty: false,
        direct: true,
    };
    let preparation = Preparation {
        role: Role::L1,
        driver: true,
        driver_params: "a=1".into(),
        late_device: true,
        mark_ack: true,
    };
    let mut archive = Archive::new(Vec::new());
    archive.command(&command).expect("written");
    archive.preparation(&preparation).expect("written");
    let found = members(&archive.finish().expect("finished"));
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["farfault", "farfault/command", "farfault/preparation"]);
    let json = |index: usize| -> serde_json::Value {
        serde_json::from_slice(&found[index].2).expect("JSON")
    };
    let command = serde_json::json!({
        "argv": ["saxpy", "1000"], "env": {"K": "V"}, "cwd": "/", "tty": false, "direct": true
    });
    assert_eq!(json(1), command);
    let preparation = serde_json::json!({
        "role": "l1", "driver": true, "driver_params": "a=1", "late_device": true, "mark_ack": true
    });
    assert_eq!(json(2), preparation);
}

#[test]
fn files_directories_and_links_come_back_as_they_were() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let dir = scratch.path();
    fs::create_dir(dir.join("sub")).expect("sub");
    fs::write(dir.join("sub/data"), b"12345").expect("data");
    fs::set_permissions(dir.join("sub/data"), fs::Permissions::from_mode(0o750)).expect("mode");
    symlink("data", dir.join("sub/link")).expect("link");
    let mut archive = Archive::new(Vec::new());
    archive.path(&dir.join("sub"), "/opt/there").expect("a tree");
    archive.path(&dir.join("sub/link"), "/followed").expect("a link named by the user");
    let found = members(&archive.finish().expect("finished"));
    let short: Vec<(&str, u32, &[u8])> =
        found.iter().map(|(name, mode, data)| (name.as_str(), *mode, data.as_slice())).collect();
    assert_eq!(short[0].0, "opt");
    assert_eq!((short[1].0, short[1].1 & 0o170000), ("opt/there", 0o040000));
    assert_eq!(short[2], ("opt/there/data", 0o100750, b"12345".as_slice()));
    assert_eq!(short[3], ("opt/there/link", 0o120777, b"data".as_slice()));
    assert_eq!(short[4], ("followed", 0o100750, b"12345".as_slice()));
    assert_eq!(short.len(), 5);
}

#[test]
fn the_users_files_are_left_for_init() {
    let file = tempfile::NamedTempFile::new().expect("a scratch file");
    let mut archive = Archive::new(Vec::new());
    archive.user_file(file.path(), "/usr/bin/x").expect("a file");
    let found = members(&archive.finish().expect("finished"));
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    let folders = ["farfault", "farfault/files", "farfault/files/usr", "farfault/files/usr/bin"];
    assert_eq!(names, [&folders[..], &["farfault/files/usr/bin/x"]].concat());
}

#[test]
fn a_missing_file_is_named() {
    let error = Archive::new(Vec::new()).path(Path::new("/nowhere/at-all"), "/x").unwrap_err();
    assert_eq!(
        crate::exit::chain(&error),
        "cannot read /nowhere/at-all for the guest: No such file or directory (os error 2)"
    );
}

#[test]
fn a_device_node_is_refused() {
    let error = Archive::new(Vec::new()).path(Path::new("/dev/null"), "/x").unwrap_err();
    assert!(matches!(error, ArchiveError::Kind(_)));
}

#[test]
fn the_next_archive_begins_at_a_multiple_of_four() {
    for len in 0..9u64 {
        let mut out = vec![0u8; len as usize];
        align(&mut out, len).expect("padded");
        assert_eq!(out.len() % 4, 0);
        assert!(out.len() as u64 - len < 4);
    }
}
