//! A wire between the browser and the server, which can be cut in the middle of a file.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes requests on to a server.
pub struct Wire {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Paths that were asked for, with the first byte that was asked for.
    asked: Vec<(String, u64)>,
    /// The path whose answers break off half-way, and how many more of them.
    cut: Option<(String, usize)>,
}

impl Wire {
    /// A wire to the server at `address`, `http://localhost:PORT/`.
    pub fn to(address: &str) -> Self {
        let server = address
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .replace("localhost", "127.0.0.1");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, state) = (server.clone(), shared.clone());
                std::thread::spawn(move || {
                    // A browser that hangs up is not worth a word.
                    let _ = pass(stream, &server, &state);
                });
            }
        });
        Self { port, state }
    }

    /// Where the browser finds it.
    pub fn address(&self) -> String {
        format!("http://localhost:{}/", self.port)
    }

    /// From here on the next `times` answers to requests for `path` break off half-way.
    pub fn cut(&self, path: &str, times: usize) {
        self.state.lock().unwrap().cut = Some((path.to_owned(), times));
    }

    /// Cuts that are still to come.
    pub fn cuts_left(&self) -> usize {
        self.state
            .lock()
            .unwrap()
            .cut
            .as_ref()
            .map_or(0, |cut| cut.1)
    }

    /// What was asked for since the last call, in this order: paths, and the first byte wanted.
    pub fn asked(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

fn pass(browser: TcpStream, server: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(browser.try_clone()?);
    let mut browser = browser;
    while let Some(head) = head(&mut reader)? {
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        let path = path.split(['?', '#']).next().unwrap_or_default().to_owned();
        let from = field(&head, "range")
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        let cut = {
            let mut state = state.lock().unwrap();
            state.asked.push((path.clone(), from));
            match &mut state.cut {
                Some((wanted, left)) if *wanted == path && *left > 0 => {
                    *left -= 1;
                    true
                }
                _ => false,
            }
        };
        let mut upstream = TcpStream::connect(server)?;
        upstream.write_all(head.as_bytes())?;
        let mut answers = BufReader::new(upstream);
        let Some(answer) = self::head(&mut answers)? else {
            return browser.shutdown(Shutdown::Both);
        };
        browser.write_all(answer.as_bytes())?;
        let length: u64 = field(&answer, "content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let length = if head.starts_with("HEAD") { 0 } else { length };
        if cut {
            // Who asks for the rest gets nothing: what came before is half of the whole file.
            let length = if from > 0 { 0 } else { length };
            std::io::copy(&mut answers.take(length / 2), &mut browser)?;
            return browser.shutdown(Shutdown::Both);
        }
        std::io::copy(&mut answers.take(length), &mut browser)?;
    }
    Ok(())
}

/// Everything up to the empty line, that line included.
fn head(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head[before..].trim().is_empty() {
            return Ok(Some(head));
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
