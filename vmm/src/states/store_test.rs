// SPDX-License-Identifier: Apache-2.0 OR MIT
//! States that are kept, opened, damaged and removed.

use super::*;
use std::io::Read;
use std::os::unix::fs::FileExt;
use tempfile::TempDir;

fn store() -> (TempDir, Store) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let store = Store::at(scratch.path().join("states"));
    (scratch, store)
}

fn ram() -> File {
    let ram = tempfile::tempfile().expect("memory");
    ram.set_len(1 << 20).expect("sized");
    ram.write_all_at(b"memory", 4096).expect("written");
    ram
}

fn keep(store: &Store, name: &str) -> Result<(), StateError> {
    let draft = store.draft(name)?;
    fs::write(draft.machine(), "machine").expect("written");
    draft.finish(&ram(), "a machine")
}

fn names(store: &Store) -> Vec<String> {
    store.list().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_state_is_there_whole_or_not_at_all() {
    let (_scratch, store) = store();
    assert!(store.open("a").expect("no state").is_none());
    let draft = store.draft("a").expect("a draft");
    assert!(store.open("a").expect("no state").is_none());
    drop(draft);
    assert_eq!(fs::read_dir(&store.folder).expect("a folder").count(), 0);
    keep(&store, "a").expect("kept");
    let mut state = store.open("a").expect("opened").expect("a state");
    let (mut memory, mut machine) = ([0; 6], String::new());
    state.ram.read_exact_at(&mut memory, 4096).expect("memory");
    state.machine.read_to_string(&mut machine).expect("machine");
    assert_eq!((&memory, machine.as_str()), (b"memory", "machine"));
    for file in [state.ram, state.machine] {
        assert_eq!(file.metadata().expect("a file").mode() & 0o777, 0o600);
    }
    assert_eq!(store.list()[0].about, "a machine");
}

#[test]
fn who_comes_second_leaves_the_first() {
    let (_scratch, store) = store();
    keep(&store, "a").expect("kept");
    assert!(matches!(keep(&store, "a"), Err(StateError::Kept(_))));
    assert!(store.open("a").expect("opened").is_some());
    assert_eq!(names(&store), ["a"]);
}

#[test]
fn a_changed_byte_is_found_and_a_moved_state_is_none_the_worse() {
    let (_scratch, store) = store();
    for (file, offset) in [(RAM, 4097), (RAM, 900_000), (MACHINE, 3)] {
        keep(&store, "a").expect("kept");
        let file = File::options().write(true).open(store.folder.join("a").join(file));
        file.expect("opened").write_all_at(b"X", offset).expect("written");
        assert!(matches!(store.open("a"), Err(StateError::Damaged(_))));
        store.remove("a").expect("removed");
    }
    keep(&store, "a").expect("kept");
    // A copy has other inodes and times, and is looked through once.
    let path = store.folder.join("a").join(RAM);
    let copy = store.folder.join("copy");
    fs::copy(&path, &copy).expect("copied");
    fs::rename(&copy, &path).expect("moved");
    let before = Manifest::read(&store.folder.join("a")).expect("a manifest");
    assert!(store.open("a").expect("opened").is_some());
    let after = Manifest::read(&store.folder.join("a")).expect("a manifest");
    assert_ne!(before, after);
    assert!(store.open("a").expect("opened").is_some());
    assert_eq!(after, Manifest::read(&store.folder.join("a")).expect("a manifest"));
}

#[test]
fn what_is_cut_off_or_of_another_version_is_refused() {
    let (_scratch, store) = store();
    let folder = store.folder.join("a");
    let text = |folder: &Path| fs::read_to_string(folder.join("manifest")).expect("a manifest");
    for damage in ["cut", "version", "sum", "gone", "short"] {
        keep(&store, "a").expect("kept");
        let manifest = text(&folder);
        let changed = manifest.replacen("\"version\":1", "\"version\":2", 1);
        let json = changed.lines().next().expect("a line");
        match damage {
            "cut" => fs::write(folder.join("manifest"), &manifest[..40]).expect("written"),
            "version" => {
                let sum = blake3::hash(json.as_bytes()).to_hex();
                fs::write(folder.join("manifest"), format!("{json}\n{sum}\n")).expect("written");
            }
            "sum" => fs::write(folder.join("manifest"), changed).expect("written"),
            "gone" => fs::remove_file(folder.join(RAM)).expect("removed"),
            _ => File::options()
                .write(true)
                .open(folder.join(MACHINE))
                .expect("opened")
                .set_len(3)
                .expect("cut"),
        }
        let refused = store.open("a").expect_err(damage);
        assert_eq!(matches!(refused, StateError::Version(_)), damage == "version", "{refused}");
        store.remove("a").expect("removed");
    }
}

#[test]
fn what_others_may_write_is_not_taken_up() {
    let (_scratch, store) = store();
    keep(&store, "a").expect("kept");
    let ram = store.folder.join("a").join(RAM);
    fs::set_permissions(&ram, fs::Permissions::from_mode(0o666)).expect("mode");
    assert!(matches!(store.open("a"), Err(StateError::Foreign(_))));
}

#[test]
fn what_a_killed_maker_left_goes_and_what_another_fills_stays() {
    let (_scratch, store) = store();
    let filled = store.draft("a").expect("a draft");
    let left = store.folder.join("b.part-1");
    fs::create_dir(&left).expect("made");
    fs::write(left.join(RAM), "half").expect("written");
    let draft = store.draft("c").expect("a draft");
    assert!(!left.exists() && filled.folder.exists() && draft.folder.exists());
    assert_eq!(names(&store), [""; 0]);
}

#[test]
fn the_oldest_goes_when_there_is_no_room() {
    let (_scratch, store) = store();
    for (name, age) in [("old", 100), ("new", 1), ("older", 200)] {
        keep(&store, name).expect("kept");
        let manifest = File::options().append(true).open(store.folder.join(name).join("manifest"));
        let time = SystemTime::now() - std::time::Duration::from_secs(age);
        manifest.expect("opened").set_modified(time).expect("dated");
    }
    let taken: u64 = store.list().iter().map(|entry| entry.size).sum();
    let disk = statvfs(&store.folder).expect("a disk");
    if disk.blocks_available() * disk.fragment_size() < LIMIT + RESERVE {
        eprintln!("too little room on this disk: not tested");
        return;
    }
    store.make_room(LIMIT - taken).expect("room");
    assert_eq!(names(&store), ["new", "old", "older"]);
    store.make_room(LIMIT - taken + 1).expect("room");
    assert_eq!(names(&store), ["new", "old"]);
    assert!(matches!(store.make_room(1 << 60), Err(StateError::NoRoom { .. })));
}
