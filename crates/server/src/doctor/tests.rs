//! What the checks make of what they read.

use super::machine::{judge_memory, meminfo, soft_files};
use super::others::judge;
use super::storage::{file_system, judge_backup, judge_disk};
use super::*;
use std::io::{Read, Write};
use std::path::Path;

#[test]
fn what_linux_tells_is_understood() {
    assert_eq!(meminfo("MemTotal:       16303616 kB\nMemFree: 1 kB\n", "MemTotal"), Some(16_303_616 << 10));
    assert_eq!(meminfo("MemFree: 1 kB\n", "MemTotal"), None);
    let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
        Max open files            1024                 1048576              files     \n";
    assert_eq!(soft_files(limits), Some(1_024));
    assert_eq!(
        soft_files("Max open files            unlimited            unlimited            files"),
        Some(u64::MAX)
    );
    let mounts = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
        30 22 0:25 / /srv rw - nfs4 host:/srv rw\n\
        31 22 0:26 / /srv/my\\040disk rw - xfs /dev/sdb rw\n\
        32 22 0:27 / /srv rw shared:1 - btrfs /dev/sdc rw\n";
    assert_eq!(file_system(mounts, Path::new("/home/a")), Some("ext4"));
    assert_eq!(file_system(mounts, Path::new("/srv/my disk/data")), Some("xfs"));
    assert_eq!(
        file_system(mounts, Path::new("/srv/data")),
        Some("btrfs"),
        "the later mount covers the earlier"
    );
    assert_eq!(file_system(mounts, Path::new("/srvdata")), Some("ext4"));
}

#[test]
fn judgements_say_what_to_change() {
    let gib = 1u64 << 30;
    let states = [
        (judge_memory(8 * gib, false, Some(gib)), State::Ok),
        (judge_memory(gib / 2, true, None), State::Warning),
        (judge_memory(2 * gib, true, Some(3 * gib)), State::Warning),
        (judge_disk(90 * gib, 100 * gib, gib), State::Ok),
        (judge_disk(9 * gib, 100 * gib, gib), State::Warning),
        (judge_disk(9 * gib, 100 * gib, 10 * gib), State::Failure),
        (judge_backup("a", Some(3_600), true), State::Ok),
        (judge_backup("a", Some(40 * 3_600), true), State::Warning),
        (judge_backup("a", None, false), State::Warning),
    ];
    for (check, state) in states {
        assert_eq!(check.state, state, "{check:?}");
        assert_eq!(check.advice.is_none(), state == State::Ok, "{check:?}");
    }
}

#[test]
fn a_redis_beyond_this_machine_needs_a_password() {
    let facts = crate::shared_cache::Facts {
        version: Some("7.0.15".to_owned()),
        max_bytes: Some(1 << 28),
        policy: Some("allkeys-lru".to_owned()),
    };
    assert_eq!(judge(&facts, true).state, State::Ok);
    let open = judge(&facts, false);
    assert!(open.state == State::Warning && open.advice.unwrap().contains("password"));
    // One that does not tell answers, which is enough.
    assert_eq!(judge(&crate::shared_cache::Facts::default(), true).state, State::Ok);
}

#[test]
fn a_running_service_is_told_from_a_silent_one() {
    let answering = |answer: &'static str| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of it, for a socket that is closed over unread bytes takes its answer back.
            let mut request = Vec::<u8>::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0_u8];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /livez HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        probe(&url)
    };
    assert_eq!(answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").state, State::Ok);
    assert!(answering("HTTP/1.1 503 Busy\r\n\r\n").found.ends_with("answers 503"));
    assert!(answering("SSH-2.0-OpenSSH_9.2").found.contains("does not speak HTTP"));
    assert_eq!(probe("http://127.0.0.1:1").state, State::Failure);
    assert!(probe("https://127.0.0.1:1").found.contains("http://"));
}
