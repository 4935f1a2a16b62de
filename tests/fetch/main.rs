//! `rocl fetch`, driven as a process against a server that the test starts.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/formats.rs"]
mod formats;
mod server;

use flate2::Compression;
use flate2::write::GzEncoder;
use formats::{cifar_binary, put};
use rocl::data::cifar::Cifar;
use rocl::data::fetch::{Archive, Fetched, Options, Sha256Sum, fetch};
use server::{Reply, Server, with_ranges};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Port 9 of loopback discards, where anything listens at all.
const NOWHERE: &str = "http://127.0.0.1:9/archive.tar.gz";

/// A gzipped tar of these files.
fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Written as it is, since the library refuses to write what leads out of the folder.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// A small CIFAR-10: four images to train on, two to test on.
fn small() -> Vec<u8> {
    archive(&[
        ("cifar-10-batches-bin/batches.meta.txt", b"airplane\n".to_vec()),
        ("cifar-10-batches-bin/data_batch_1.bin", cifar_binary(&[0, 1], 0, None)),
        ("./cifar-10-batches-bin/data_batch_2.bin", cifar_binary(&[2, 3], 2, None)),
        ("cifar-10-batches-bin/test_batch.bin", cifar_binary(&[9, 8], 4, None)),
    ])
}

fn sum(bytes: &[u8]) -> String {
    let dir = TempDir::new().unwrap();
    put(dir.path().join("file"), bytes);
    Sha256Sum::of(&dir.path().join("file")).unwrap().to_string()
}

/// A folder to download into.
struct Room {
    dir: TempDir,
}

impl Room {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn part(&self) -> PathBuf {
        self.data().join("cifar-10-binary.tar.gz.part")
    }

    /// What is in the folder, sorted.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.data()).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Exit code, standard output, standard error of `rocl fetch cifar10` into the folder.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run_behind(None, arguments)
    }

    /// The same, with an environment that names a proxy.
    fn run_behind(&self, proxy: Option<&str>, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(common::program());
        command.args(["fetch", "cifar10", "--data", self.data().to_str().unwrap()]).args(arguments).stdin(Stdio::null());
        for proxy in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(proxy).env_remove(proxy.to_lowercase());
        }
        command.envs(proxy.map(|proxy| ("HTTPS_PROXY", proxy)));
        let output = command.output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(!stderr.contains("panicked"), "{stderr}");
        (output.status.code().unwrap(), stdout, stderr)
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        // Without a terminal there is no progress to see.
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert_eq!(self.files(), ["cifar-10-batches-bin"], "nothing else is left");
        stdout
    }

    /// One sentence, which contains `expected`.
    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32, expected: &str) {
        let (found, stdout, stderr) = self.run(arguments);
        assert!(stderr.starts_with("error: ") && stderr.contains(expected), "{stderr}");
        assert!(code == 2 || stderr.lines().count() == 1, "{stderr}");
        assert_eq!((found, stdout.as_str()), (code, ""), "{stderr}");
    }
}

#[test]
fn downloads_checks_and_unpacks() {
    let (room, file) = (Room::new(), small());
    let served = file.clone();
    let server = Server::start(move |request| with_ranges(&served, request));
    let (url, sha256) = (server.url("/file"), sum(&file));
    let arguments = ["--url", &url, "--sha256", &sha256];
    let text = room.succeeds(&arguments);
    let folder = room.data().join("cifar-10-batches-bin");
    let shown = folder.display();
    assert!(text.starts_with(&format!("cifar-10 in {shown}: 4 images to train on, 2 to test on\n")), "{text}");
    assert!(text.contains(&format!("Next: rocl pretrain --data {shown} --recipe cifar-small --out run")), "{text}");
    assert!(std::fs::read(folder.join("data_batch_2.bin")).unwrap() == cifar_binary(&[2, 3], 2, None));
    // Once more: nothing is asked for.
    assert!(room.succeeds(&arguments).contains("it was there already"));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn goes_on_where_it_was_cut_off() {
    let (room, file) = (Room::new(), small());
    let half = file.len() / 2;
    let served = file.clone();
    let server = Server::start(move |request| {
        let reply = with_ranges(&served, request);
        if request.from.is_none() { reply.cut(half) } else { reply }
    });
    let (url, sha256) = (server.url("/file"), sum(&file));
    let arguments = ["--url", &url, "--sha256", &sha256];
    room.refused(&arguments, 1, "the download stopped after 0.0 of 0.0 MB, which are kept");
    assert!(std::fs::read(room.part()).unwrap() == file[..half]);
    room.succeeds(&arguments);
    let from: Vec<Option<usize>> = server.requests().iter().map(|request| request.from).collect();
    assert_eq!(from, [None, Some(half)]);
}

#[test]
fn starts_anew_where_the_server_cannot_go_on() {
    let (room, file) = (Room::new(), small());
    let served = file.clone();
    let server = Server::start(move |_| Reply::new("200 OK", &served));
    put(room.part(), [b"of no use: ", &file[..]].concat());
    room.succeeds(&["--url", &server.url("/file"), "--sha256", &sum(&file)]);
}

#[test]
fn takes_what_is_whole_already() {
    let (room, file) = (Room::new(), small());
    put(room.part(), &file);
    let served = file.clone();
    let server = Server::start(move |request| with_ranges(&served, request));
    room.succeeds(&["--url", &server.url("/file"), "--sha256", &sum(&file)]);
    assert_eq!(server.requests()[0].from, Some(file.len()));
}

#[test]
fn a_part_that_was_not_asked_for_is_refused() {
    let (room, file) = (Room::new(), small());
    put(room.part(), &file[..100]);
    let served = file.clone();
    let server = Server::start(move |_| Reply::new("206 Partial Content", &served[50..]).with("Content-Range: bytes 50-99/100"));
    let (url, sha256) = (server.url("/file"), sum(&file));
    room.refused(&["--url", &url, "--sha256", &sha256], 1, "the server sent another part of the file than it was asked for");
    assert_eq!(std::fs::metadata(room.part()).unwrap().len(), 0, "the next attempt starts anew");
}

#[test]
fn follows_redirections_with_the_range() {
    let (room, file) = (Room::new(), small());
    put(room.part(), &file[..1000]);
    let served = file.clone();
    let server = Server::start(move |request| match request.path.as_str() {
        "/old" => Reply::new("302 Found", b"").with("Location: /new"),
        _ => with_ranges(&served, request),
    });
    room.succeeds(&["--url", &server.url("/old"), "--sha256", &sum(&file)]);
    let requests: Vec<(String, Option<usize>)> =
        server.requests().into_iter().map(|request| (request.path, request.from)).collect();
    assert_eq!(requests, [("/old".to_owned(), Some(1000)), ("/new".to_owned(), Some(1000))]);
    // One that leads nowhere else.
    let server = Server::start(|_| Reply::new("302 Found", b"").with("Location: /old"));
    Room::new().refused(&["--url", &server.url("/old")], 1, "it cannot be downloaded (too many redirects)");
}

#[test]
fn another_file_is_not_taken_for_the_archive() {
    let (room, file) = (Room::new(), small());
    let found = sum(&file);
    let served = file.clone();
    let server = Server::start(move |request| with_ranges(&served, request));
    let url = server.url("/file");
    // Another place does not make other bytes right.
    let official = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd";
    let meant = "(--url), or say with --sha256 that these bytes are meant";
    let expected = format!("its SHA-256 is {found}, not {official}; try again, or get the archive from elsewhere {meant}");
    room.refused(&["--url", &url], 1, &expected);
    assert_eq!(room.files(), [""; 0], "it would be in the way of the right one");
    let zeros = "0".repeat(64);
    room.refused(&["--url", &url, "--sha256", &zeros], 1, &format!("its SHA-256 is {found}, not {zeros}"));
}

#[test]
fn an_archive_brought_by_other_means_is_taken() {
    let (room, file) = (Room::new(), small());
    let path = room.data().join("cifar-10-binary.tar.gz");
    put(&path, &file[1..]);
    let sha256 = sum(&file);
    let arguments = ["--url", NOWHERE, "--sha256", &sha256];
    room.refused(&arguments, 1, "cifar-10-binary.tar.gz: is not the archive that is expected");
    assert!(path.exists(), "what the user brought is the user's");
    put(&path, &file);
    room.succeeds(&arguments);
}

#[test]
fn what_the_network_does_is_said_with_the_way_around() {
    let room = Room::new();
    let around =
        format!("; run the command again, or put the archive at {}", room.data().join("cifar-10-binary.tar.gz").display());
    room.refused(&["--url", NOWHERE], 1, &format!("{NOWHERE}: it cannot be downloaded (Connection refused"));
    room.refused(&["--url", NOWHERE], 1, &around);
    for (status, expected) in [
        ("404 Not Found", "the server has no such file (HTTP 404)"),
        ("500 Internal Server Error", "the server does not give the file (HTTP 500)"),
        ("403 Forbidden", "the server does not give the file (HTTP 403)"),
        ("416 Range Not Satisfiable", "the server does not give the file (HTTP 416)"),
    ] {
        let server = Server::start(move |_| Reply::new(status, b"sorry"));
        room.refused(&["--url", &server.url("/file")], 1, expected);
    }
    assert_eq!(room.files(), [""; 0], "where nothing came, nothing is left");
}

/// No host of that name exists (RFC 2606), so only a proxy can know it.
#[test]
fn a_proxy_of_the_environment_is_asked() {
    let room = Room::new();
    let server = Server::start(|_| Reply::new("403 Forbidden", b""));
    let (code, _, stderr) = room.run_behind(Some(&server.url("")), &["--url", "http://host.invalid/file"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(server.requests()[0].path.contains("host.invalid"), "{:?}", server.requests());
    assert!(stderr.contains("http://host.invalid/file: it cannot be downloaded ("), "{stderr}");
}

#[test]
fn what_is_no_tls_is_not_taken_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/file", listener.local_addr().unwrap());
    thread::spawn(move || listener.accept().unwrap().0.write_all(b"plainly not\r\n\r\n"));
    Room::new().refused(&["--url", &url], 1, "it cannot be downloaded (");
}

#[test]
fn a_server_that_stops_talking_is_given_up() {
    let (room, file) = (Room::new(), small());
    let served = file.clone();
    let server = Server::start(move |request| Reply { stalls: true, ..with_ranges(&served, request).cut(10) });
    let archive = Archive { cifar: Cifar::Cifar10, url: server.url("/file"), sha256: sum(&file).parse().unwrap() };
    // Far more than the first bytes take, and far less than the server waits.
    let options = Options { patience: Duration::from_secs(2) };
    let mut seen = Vec::new();
    let message = fetch(&archive, &room.data(), options, |progress| seen.push(progress)).unwrap_err().to_string();
    assert!(message.contains("which are kept (nothing came for 2 s)"), "{message}");
    assert_eq!(std::fs::read(room.part()).unwrap(), file[..10]);
    assert_eq!(seen.last().map(|progress| (progress.done, progress.total)), Some((10, Some(file.len() as u64))));
}

#[test]
fn cifar_100_goes_the_same_way() {
    let dir = TempDir::new().unwrap();
    let file = archive(&[
        ("cifar-100-binary/train.bin", cifar_binary(&[99, 1], 0, Some(3))),
        ("cifar-100-binary/test.bin", cifar_binary(&[50], 2, Some(3))),
    ]);
    let served = file.clone();
    let server = Server::start(move |request| with_ranges(&served, request));
    let archive = Archive { cifar: Cifar::Cifar100, url: server.url("/file"), sha256: sum(&file).parse().unwrap() };
    let fetched = fetch(&archive, dir.path(), Options::default(), |_| {}).unwrap();
    assert_eq!(fetched, Fetched::Now(dir.path().join("cifar-100-binary")));
}

/// Takes `file` as the archive.
#[track_caller]
fn unpacking_is_refused(file: &[u8], expected: &str) {
    let room = Room::new();
    put(room.data().join("cifar-10-binary.tar.gz"), file);
    room.refused(&["--url", NOWHERE, "--sha256", &sum(file)], 1, expected);
    assert_eq!(room.files(), ["cifar-10-binary.tar.gz"], "nothing half done is left");
    assert!(!Path::new("/tmp/rocl-escaped").exists() && std::fs::read_dir(room.dir.path()).unwrap().count() == 1);
}

#[test]
fn archives_with_anything_else_are_refused() {
    for path in [
        "../escaped.bin",
        "/tmp/rocl-escaped",
        "cifar-10-batches-bin/../../escaped.bin",
        "other/data_batch_1.bin",
        "cifar-10-batches-bin",
    ] {
        let expected = format!("holds {path}, which is none of the files of cifar-10-batches-bin");
        unpacking_is_refused(&archive(&[(path, vec![1])]), &expected);
    }
    // A link, which could lead anywhere.
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "cifar-10-batches-bin/train.bin", "/etc/passwd").unwrap();
    unpacking_is_refused(&tar.into_inner().unwrap().finish().unwrap(), "which is none of the files");
    let twice = ("cifar-10-batches-bin/test_batch.bin", vec![1]);
    unpacking_is_refused(&archive(&[twice.clone(), twice]), "File exists");
    unpacking_is_refused(b"no archive at all", "cannot be unpacked");
    let good = small();
    unpacking_is_refused(&good[..good.len() / 2], "cannot be unpacked");
}

#[test]
fn what_was_unpacked_is_looked_at() {
    let room = Room::new();
    let file = archive(&[("cifar-10-batches-bin/data_batch_1.bin", cifar_binary(&[0], 0, None))]);
    put(room.data().join("cifar-10-binary.tar.gz"), &file);
    let sha256 = sum(&file);
    let arguments = ["--url", NOWHERE, "--sha256", &sha256];
    room.refused(&arguments, 1, "holds CIFAR-10, but nothing to test on (test_batch.bin)");
    room.refused(&arguments, 1, "is there, but not as it should be; delete it and run the command again");
}

#[test]
fn misuse_is_explained() {
    let room = Room::new();
    room.refused(&["--sha256", "abc", "--url", NOWHERE], 2, "a SHA-256 has 64 hexadecimal digits");
    room.refused(&["--sha256", &"0".repeat(64)], 2, "--url");
    room.refused(&["more"], 2, "unexpected argument 'more'");
    let output = Command::new(common::program()).args(["fetch", "cifar-10"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cifar10"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_takes_nothing_is_reported() {
    let (room, file) = (Room::new(), small());
    let served = file.clone();
    let server = Server::start(move |request| with_ranges(&served, request));
    std::fs::create_dir_all(room.data()).unwrap();
    // Refuses every byte as a full disk does.
    std::os::unix::fs::symlink("/dev/full", room.part()).unwrap();
    let (url, sha256) = (server.url("/file"), sum(&file));
    room.refused(&["--url", &url, "--sha256", &sha256], 1, "(No space left on device (os error 28)); free some space");
    // A file where the folder should be.
    let other = Room::new();
    put(other.data(), "");
    other.refused(&["--url", &url, "--sha256", &sha256], 1, "choose another folder with --data");
}
