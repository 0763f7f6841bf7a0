//! Pipes, outputs that are there, inputs that are outputs, inputs that are there twice.

use std::fs;

use super::seen::Seen;
use super::support::image::{Descriptor, Image, Layer, OCI_INDEX, Packing, blob, index};
use super::support::oci::layout;
use super::support::run::{Room, arg, command, finish, ocitar, ocitar_reading};
use super::{APP, assert_refused as refused, data, exported, merge, merged, run, words};

#[test]
fn pipes_give_the_bytes_of_files() {
    let room = Room::new();
    for name in ["docker20-links", "buildx-oci-three", "ctr17-sparse"] {
        let bytes = fs::read(data(name)).unwrap();
        for (verb, more) in
            [("export", ""), ("convert", "--to oci"), ("export", "--platform amd64 --to docker")]
        {
            let args = words(more);
            let want = exported(&room, verb, &data(name), &args).bytes().to_vec();
            let piped = ocitar_reading(&bytes, [&[verb, "-", "-"][..], &args].concat()).ok();
            assert!(piped.out == want, "{name} {verb} {more}");
            let compressed =
                super::support::image::pack(&bytes, super::support::image::Packing::Gzip);
            let piped = ocitar_reading(
                &compressed,
                [&[verb, "-", "-", "--compress", "none"][..], &args].concat(),
            )
            .ok();
            assert!(piped.out == want, "{name} {verb} {more}: gzip");
        }
        let want = merged(&room, &[data(name)], &[]);
        let piped = ocitar_reading(&bytes, ["merge", "-o", "-", "-"]).ok();
        assert!(piped.out == want, "{name} merge");
        let folder = room.path("parts");
        let _ = fs::remove_dir_all(&folder);
        ocitar_reading(&bytes, ["split", "-", arg(&folder), "--by", "image"]).ok();
        assert!(folder.join("parts.json").exists());
    }
}

#[test]
fn a_layout_folder_is_an_input() {
    let room = Room::new();
    let folder = room.path("layout");
    tar::Archive::new(fs::File::open(data("buildx-oci-three")).unwrap()).unpack(&folder).unwrap();
    let want = exported(&room, "export", &data("buildx-oci-three"), &["--platform", "arm64"])
        .bytes()
        .to_vec();
    assert!(exported(&room, "export", &folder, &["--platform", "arm64"]).bytes() == want);
    let inside = folder.join("out.tar");
    let refused = ocitar(["export", arg(&folder), arg(&inside)]);
    assert!(refused.code == 2 || refused.code == 0, "{}", refused.err);
}

#[test]
fn an_output_that_is_there_stays() {
    let room = Room::new();
    let input = room.write("in.tar", fs::read(data("docker20-links")).unwrap());
    let original = fs::read(&input).unwrap();
    let out = room.write("out.tar", "mine");
    let verbs: [&[&str]; 3] = [
        &["export", "IN", "OUT"],
        &["convert", "IN", "OUT", "--to", "oci"],
        &["merge", "-o", "OUT", "IN"],
    ];
    let expand = |verb: &[&str], out: &str| -> Vec<String> {
        verb.iter()
            .map(|&word| {
                match word {
                    "IN" => arg(&input),
                    "OUT" => out,
                    word => word,
                }
                .to_owned()
            })
            .collect()
    };
    let link = room.path("link.tar");
    fs::hard_link(&input, &link).unwrap();
    let soft = room.path("soft.tar");
    std::os::unix::fs::symlink(&input, &soft).unwrap();
    for verb in verbs {
        refused(&ocitar(expand(verb, arg(&out))), 2, "E_OUT_EXISTS");
        assert_eq!(fs::read(&out).unwrap(), b"mine");
        // The input itself, by any name, even when it may be replaced.
        for same in [&input, &link, &soft] {
            for force in [&[][..], &["--force".to_owned()]] {
                let run = ocitar([&expand(verb, arg(same))[..], force].concat());
                refused(&run, 2, "E_OUT_SAME");
            }
        }
        assert!(fs::read(&input).unwrap() == original);
        refused(&ocitar(expand(verb, arg(&room.path("no/such/out.tar")))), 5, "E_IO");
        refused(&ocitar([&expand(verb, "-")[..], &["--json".to_owned()]].concat()), 2, "E_USAGE");
        ocitar([&expand(verb, arg(&out))[..], &["--force".to_owned()]].concat()).ok();
        assert_ne!(fs::read(&out).unwrap(), b"mine");
        fs::write(&out, "mine").unwrap();
        // The report must not take the place of either.
        for report in [&input, &out] {
            let more = ["--report".to_owned(), arg(report).to_owned(), "--force".to_owned()];
            let run = ocitar([&expand(verb, arg(&out))[..], &more].concat());
            refused(&run, 2, "E_OUT_SAME");
        }
        assert_eq!(fs::read(&out).unwrap(), b"mine");
    }
    assert_eq!(room.list(), ["in.tar", "link.tar", "out.tar", "soft.tar"]);
}

#[test]
fn folders_for_parts() {
    let room = Room::new();
    let input = data("docker20-links");
    let split = |folder: &std::path::Path, more: &[&str]| {
        ocitar([&["split", arg(&input), arg(folder), "--by", "image"], more].concat())
    };
    let full = room.path("full");
    room.write("full/mine", "mine");
    refused(&split(&full, &[]), 2, "E_OUT_EXISTS");
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    // What no split wrote is not for split to remove.
    refused(&split(&full, &["--force"]), 2, "E_OUT_EXISTS");
    assert_eq!(fs::read(full.join("mine")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    // The parts of an earlier split go when there are new ones, all at once.
    let parts = room.path("parts");
    split(&parts, &[]).ok();
    refused(&split(&parts, &[]), 2, "E_OUT_EXISTS");
    ocitar(["split", arg(&input), arg(&parts), "--by", "size=1M", "--force"]).ok();
    assert!(parts.join("001.tar").exists());
    assert_eq!(fs::read_dir(&parts).unwrap().count(), 2);
    room.write("parts/mine", "mine");
    refused(&split(&parts, &["--force"]), 2, "E_OUT_EXISTS");
    assert_eq!(fs::read_dir(&parts).unwrap().count(), 3);
    let empty = room.path("empty");
    fs::create_dir(&empty).unwrap();
    split(&empty, &[]).ok();
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 3);
    let file = room.write("file", "mine");
    refused(&split(&file, &[]), 2, "E_USAGE");
    refused(&split(&room.path("no/such/folder"), &[]), 5, "E_IO");
    // A folder is no stream.
    let here = room.path("here");
    fs::create_dir(&here).unwrap();
    let mut dash = command(["split", arg(&input), "-", "--by", "image"]);
    let run = finish(dash.current_dir(&here), &[]);
    refused(&run, 2, "E_USAGE");
    assert_eq!(fs::read_dir(&here).unwrap().count(), 0);
}

/// The input lies where a part is to be written.
#[test]
fn a_part_does_not_replace_the_input() {
    let room = Room::new();
    let input = room.write("parts/001-base-1.0.tar", fs::read(data("docker20-links")).unwrap());
    let run = ocitar(["split", arg(&input), arg(&room.path("parts")), "--by", "image", "--force"]);
    refused(&run, 2, "E_OUT_SAME");
    assert!(fs::read(&input).unwrap() == fs::read(data("docker20-links")).unwrap());
    assert_eq!(fs::read_dir(room.path("parts")).unwrap().count(), 1, "and nothing was written");
}

#[test]
fn an_input_twice() {
    let room = Room::new();
    let one = merged(&room, &[data("buildx-oci-three")], &[]);
    assert!(merged(&room, &[data("buildx-oci-three"), data("buildx-oci-three")], &[]) == one);
    refused(&merge(&room.path("x.tar"), &["-".into(), "-".into()], &[]), 2, "E_USAGE");
}

#[test]
fn fan_out_and_streams() {
    let room = Room::new();
    let input = data("buildx-oci-three");
    let run = ocitar(["convert", arg(&input), "-", "--to", "docker", "--fan-out"]);
    refused(&run, 2, "E_USAGE");
    // One of the files is there: none is written.
    let taken = room.write("x-linux-arm64.tar", "mine");
    let out = room.path("x.tar");
    let run = ocitar(["convert", arg(&input), arg(&out), "--to", "docker", "--fan-out"]);
    refused(&run, 2, "E_OUT_EXISTS");
    assert_eq!(room.list(), ["x-linux-arm64.tar"]);
    assert_eq!(fs::read(taken).unwrap(), b"mine");
}

/// An index of an image for each of these platforms.
fn index_of(platforms: &[&'static str], name: &str) -> Vec<u8> {
    let images: Vec<Image> = platforms
        .iter()
        .map(|platform| Image::new(platform, vec![Layer::new(platform, Packing::Gzip)]))
        .collect();
    let text = index(&images.iter().map(Image::child).collect::<Vec<_>>());
    let top = Descriptor::new(OCI_INDEX, &text).named(name);
    let mut files: Vec<_> = images.iter().flat_map(Image::blobs).collect();
    files.push(blob(&text));
    layout(files, &[top]).bytes()
}

/// Text of an archive becomes a file name nowhere but here.
#[test]
fn names_of_parts_are_made_of_plain_letters() {
    let long: &'static str = Box::leak(format!("linux/{}", "a".repeat(400)).into_boxed_str());
    let platforms = ["linux/amd64", "linux/..", "linux/a\\\\..\\\\e", "linux/a b", long];
    for name in ["example.com/x:..", "example.com/../../x:1", "/etc/x:1", "e\\u001b[2J\\n:1"] {
        let room = Room::new();
        let input = room.write("a/in.tar", index_of(&platforms, name));
        let out = room.path("a/parts");
        for by in ["image", "platform"] {
            let _ = fs::remove_dir_all(&out);
            ocitar(["split", arg(&input), arg(&out), "--by", by]).ok();
            let files = fs::read_dir(&out).unwrap().map(|file| file.unwrap().file_name());
            let files: Vec<String> = files.map(|file| file.into_string().unwrap()).collect();
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            for file in &files {
                assert!(file.chars().all(plain) && file.len() < 128, "{by} {name}: {file}");
                assert!(!file.starts_with(['.', '-']), "{by} {name}: {file}");
            }
            assert_eq!(files.len(), if by == "image" { 2 } else { 6 }, "{by} {name}: {files:?}");
            assert_eq!(fs::read_dir(room.path("a")).unwrap().count(), 2, "{by} {name}");
            assert_eq!(fs::read_dir(room.path("")).unwrap().count(), 1, "{by} {name}");
        }
    }
}

/// Platforms that would get one file name do not replace each other's file.
#[test]
fn platforms_of_one_file_name() {
    let room = Room::new();
    let input = room.write("in.tar", index_of(&["linux/x/y", "linux/x-y"], APP));
    let out = room.path("out.tar");
    for more in [&["--fan-out"][..], &["--fan-out", "--force"]] {
        let args = ["convert", arg(&input), arg(&out), "--to", "docker"];
        refused(&ocitar([&args, more].concat()), 2, "E_USAGE");
        assert_eq!(room.list(), ["in.tar"]);
    }
}

/// What is not asked for is not looked at: damage in an image that goes is no reason to stop.
#[test]
fn blobs_that_are_left_out_are_not_read() {
    let room = Room::new();
    let (a, b) = (Image::app("good"), Image::app("bad"));
    let other = "example.com/bad:1";
    let tar = layout(
        [a.blobs(), b.blobs()].concat(),
        &[a.descriptor().named(APP), b.descriptor().named(other)],
    );
    let bad = super::support::image::blob_path(&b.layers[0].digest());
    let cut = tar.clone().with(&bad, "cut");
    let input = room.write("in.tar", cut.bytes());
    exported(&room, "export", &input, &[APP]).assert_sound();
    refused(&run(&room, "export", &input, &[]), 1, "E_SIZE_MISMATCH");
    let mut flipped = tar.get(&bad).to_vec();
    flipped[20] ^= 1;
    let input = room.write("in.tar", tar.with(&bad, flipped).bytes());
    let run = run(&room, "export", &input, &["--verify"]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("E_DIGEST_MISMATCH"), "{}", run.err);
    assert!(!room.path("out.tar").exists());
    let _ = Seen::at(&data("docker20-links"));
}

/// A signal that comes when one part is done and the next is not begun counts like any other.
#[test]
fn a_signal_between_parts() {
    let room = Room::new();
    let images: Vec<Image> = (0..400).map(|n| Image::app(&format!("part-{n}"))).collect();
    let name = |n: usize| format!("example.com/team/part-{n}:1");
    let tops: Vec<Descriptor> =
        images.iter().enumerate().map(|(n, image)| image.descriptor().named(&name(n))).collect();
    let files = images.iter().flat_map(Image::blobs).collect();
    let input = room.write("in.tar", layout(files, &tops).bytes());
    let mut stopped = 0;
    for _ in 0..8 {
        let out = room.path("parts");
        let args = ["split", arg(&input), arg(&out), "--by", "image", "-q"];
        let mut child = command(args).stderr(std::process::Stdio::piped()).spawn().unwrap();
        // As soon as there are parts.
        let has_begun = || room.list().iter().any(|name| name.starts_with(".ocitar."));
        while !has_begun() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
        let pid = child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap();
        let done = child.wait_with_output().unwrap();
        if sent.success() && done.status.code() != Some(0) {
            assert_eq!(done.status.code(), Some(143), "{}", String::from_utf8_lossy(&done.stderr));
            assert_eq!(room.list(), ["in.tar"], "no part, and no folder of them");
            stopped += 1;
        } else {
            fs::remove_dir_all(&out).unwrap();
        }
    }
    assert!(stopped > 0, "every signal came too late");
}
