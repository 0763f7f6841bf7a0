//! File systems made for a test, which takes root. With `OCITAR_MOUNTS=1` a test fails that cannot have one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::run::{Room, arg};

/// A file system, mounted as long as this lives.
pub struct Mounted {
    pub folder: PathBuf,
    /// Goes after it is unmounted.
    _room: Room,
}

impl Mounted {
    /// A file system in a file, by the program that makes it.
    pub fn new(mkfs: &[&str]) -> Option<Mounted> {
        let room = Room::new();
        let image = room.path("image");
        fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        let made = done(Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image));
        Mounted::mount(room, made, &["-o", "loop", arg(&image)], mkfs[0])
    }

    /// One in memory, with these options.
    pub fn tmpfs(options: &str) -> Option<Mounted> {
        Mounted::mount(Room::new(), true, &["-t", "tmpfs", "-o", options, "tmpfs"], "tmpfs")
    }

    fn mount(room: Room, made: bool, args: &[&str], what: &str) -> Option<Mounted> {
        let folder = room.path("mounted");
        fs::create_dir(&folder).unwrap();
        if !made || !done(Command::new("mount").args(args).arg(&folder)) {
            let must = std::env::var_os("OCITAR_MOUNTS").is_some();
            assert!(!must, "{what} or mount do not work, and OCITAR_MOUNTS is set");
            eprintln!("skipped: {what} or mount do not work here");
            return None;
        }
        Some(Mounted { folder, _room: room })
    }

    /// Changes the options of the mount.
    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(done(Command::new("mount").args(["-o", &options]).arg(&self.folder)));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A process that another test starts may hold a file of it for a moment.
        if !done(Command::new("umount").arg(&self.folder)) {
            let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        }
    }
}

fn done(command: &mut Command) -> bool {
    command.output().is_ok_and(|done| done.status.success())
}
