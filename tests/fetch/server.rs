//! An HTTP server on loopback that misbehaves as told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// The first byte that is asked for, where not all are.
    pub from: Option<usize>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: &'static str,
    pub headers: Vec<String>,
    pub body: Vec<u8>,
    /// How many bytes of the body are sent; the connection is closed then, whatever was promised.
    pub sent: usize,
    /// Keeps the connection open, and sends nothing more.
    pub stalls: bool,
}

impl Reply {
    pub fn new(status: &'static str, body: &[u8]) -> Self {
        Self { status, headers: Vec::new(), body: body.to_vec(), sent: body.len(), stalls: false }
    }

    pub fn with(mut self, header: impl Into<String>) -> Self {
        self.headers.push(header.into());
        self
    }

    /// Of the body, only that much.
    pub fn cut(self, sent: usize) -> Self {
        Self { sent, ..self }
    }
}

/// A server that can send parts of `file`.
pub fn with_ranges(file: &[u8], request: &Request) -> Reply {
    match request.from {
        None => Reply::new("200 OK", file),
        Some(from) if from < file.len() => {
            let (last, length) = (file.len() - 1, file.len());
            Reply::new("206 Partial Content", &file[from..]).with(format!("Content-Range: bytes {from}-{last}/{length}"))
        }
        Some(_) => Reply::new("416 Range Not Satisfiable", b"").with(format!("Content-Range: bytes */{}", file.len())),
    }
}

/// Answers until the test ends, and remembers what it was asked.
pub struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&stream);
                let reply = answer(&request);
                seen.lock().unwrap().push(request);
                // The client may have gone.
                let _ = send(&mut stream, &reply);
            }
        });
        Self { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Request {
    let lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = head[0].split(' ').nth(1).unwrap().to_owned();
    let range = head.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    Request { path, from: range.map(|range| range.strip_suffix('-').unwrap().parse().unwrap()) }
}

fn send(stream: &mut TcpStream, reply: &Reply) -> std::io::Result<()> {
    let headers: String = reply.headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = reply.body.len();
    write!(stream, "HTTP/1.1 {}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n", reply.status)?;
    stream.write_all(&reply.body[..reply.sent])?;
    stream.flush()?;
    if reply.stalls {
        thread::sleep(Duration::from_secs(3600));
    }
    Ok(())
}
