use super::*;
use std::io::Write as _;

#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    assert_eq!(read(&pipe, 10).unwrap(), b"");
    assert_eq!(read(Path::new("/dev/zero"), 1 << 20).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(read(folder.path(), 10).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    assert_eq!(read(&folder.path().join("none"), 10).unwrap_err().kind(), io::ErrorKind::NotFound);
    // Somebody who writes late is waited for.
    let mut held = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let writing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        held.write_all(b"late").unwrap();
        // Longer than the other one takes to open it, read, and see the end.
        std::thread::sleep(Duration::from_millis(100));
    });
    assert_eq!(read(&pipe, 4).unwrap(), b"late");
    writing.join().unwrap();
}

#[test]
fn up_to_the_bound_and_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "12345\u{e9}").unwrap();
    assert_eq!(text(&file, 7).unwrap(), "12345\u{e9}");
    assert_eq!(text(&file, 6).unwrap_err().to_string(), "it is larger than the 1 MiB that are read of such a file");
    std::fs::write(&file, b"\xff").unwrap();
    assert_eq!(text(&file, 7).unwrap_err().kind(), io::ErrorKind::InvalidData);
}
