// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who may come, and what is found at a path.

use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_socket_is_its_owners_and_goes_with_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let socket = Socket::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Socket::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn only_what_a_server_left_behind_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    let socket = Socket::bind(&path).unwrap();
    // Somebody else's by the time that the server ends.
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists());
    drop(other);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "a file").unwrap();
    assert_eq!(Socket::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(fs::read(&path).unwrap(), b"a file");
}
