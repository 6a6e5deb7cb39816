//! Small file systems that can be made full: a tmpfs, an image on a loop device.
//!
//! Mounting needs the right to do so: as root, or by `sudo` without a password.
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: usize = 1 << 20;

/// A file system of its own; unmounted when dropped.
pub struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // What fails here leaves a mount behind, which harms nothing.
        let _ = as_root(&["umount", &self.0.to_string_lossy()]);
    }
}

impl Mounted {
    /// Mounts `source` over a folder, which everybody may write to.
    pub fn new(folder: &Path, options: &[&str], source: &str) -> Mounted {
        let target = folder.to_string_lossy();
        let command = [&["mount"][..], options, &[source, &target]].concat();
        as_root(&command).unwrap_or_else(|why| {
            panic!(
                "this test mounts a small file system and needs root, or sudo without a password, for that: {why}"
            )
        });
        let mounted = Mounted(folder.to_owned());
        as_root(&["chmod", "777", &target]).unwrap();
        mounted
    }

    /// One in memory, of so many MiB.
    pub fn tmpfs(folder: &Path, mib: usize) -> Mounted {
        Mounted::new(folder, &["-t", "tmpfs", "-o", &format!("size={mib}m")], "none")
    }
}

/// Runs a command as root; why not, if that fails.
fn as_root(command: &[&str]) -> Result<(), String> {
    let mut why = String::new();
    for sudo in [&[][..], &["sudo", "-n"][..]] {
        let line = [sudo, command].concat();
        match Command::new(line[0]).args(&line[1..]).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => why += &format!("{line:?}: {}; ", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => why += &format!("{line:?}: {error}; "),
        }
    }
    Err(why)
}

/// Lets a file take all that is left.
pub fn fill(path: &Path) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let noise: Vec<u8> = (0..MIB).map(|at| ((at * at) >> 3) as u8).collect();
    // Twice, since what others have freed may come back only with a sync.
    for _ in 0..2 {
        for bytes in [MIB, 64 << 10, 4096] {
            while file.write_all(&noise[..bytes]).is_ok() {}
        }
        file.sync_all().unwrap();
    }
}
