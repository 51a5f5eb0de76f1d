//! A hub on this machine: the answers of the Hugging Face hub to what `trainer import` asks, and
//! the ways in which a network lets a download down.
//!
//! `GET /api/models/ID/revision/REVISION` lists the files; `GET /ID/resolve/REVISION/FILE` sends a
//! small file, or points large ones to another host (`localhost` for `127.0.0.1`) as the hub does,
//! with `X-Repo-Commit`, `ETag` (Git's SHA-1) or `X-Linked-ETag` (SHA-256). Ranges are honoured.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The version of every repository here.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What an endless answer has of its body.
const MOST_CHUNKS: usize = 10_000;

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The next large file breaks off after so many bytes.
    pub cut_after: Option<usize>,
    /// And after that nothing is answered but 503, as when the network is gone.
    pub then_gone: bool,
    /// Every answer has this status.
    pub status: Option<u16>,
    /// Large files arrive in chunks that do not end after what was told.
    pub endless: bool,
    /// Large files arrive with one bit changed.
    pub corrupt: bool,
    /// Only who shows this token is answered.
    pub token: Option<String>,
    /// What is given as the name of every content.
    pub etag: Option<String>,
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// The host that was addressed, without the port.
    pub host: String,
    pub authorization: Option<String>,
    /// The first byte that was asked for.
    pub from: usize,
    /// Whether only the headers were asked for.
    pub head: bool,
}

/// The first and the last byte that are asked for; none for all of them.
type Range = Option<[usize; 2]>;

#[derive(Default)]
struct State {
    faults: Faults,
    requests: Vec<Request>,
}

/// A hub with one repository, until it is dropped.
pub struct Hub {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    /// Serves `files` as the repository `id`.
    pub fn start(id: &str, files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let repository = Arc::new(Repository {
            id: id.to_owned(),
            files,
            port,
        });
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (repository, state) = (Arc::clone(&repository), Arc::clone(&shared));
                std::thread::spawn(move || {
                    // Who hangs up wants no answer.
                    let _ = repository.answer(stream, &state);
                });
            }
        });
        Self {
            address: format!("http://127.0.0.1:{port}"),
            state,
        }
    }

    /// For `HF_ENDPOINT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets things go wrong from now on, and forgets what was asked so far.
    pub fn set(&self, faults: Faults) {
        *lock(&self.state) = State {
            faults,
            requests: Vec::new(),
        };
    }

    /// What was asked since.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Repository {
    id: String,
    files: BTreeMap<String, Vec<u8>>,
    port: u16,
}

/// An answer's status, its headers and its body.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes after which the connection breaks.
    cut: Option<usize>,
    /// The body is sent again and again.
    endless: bool,
}

impl Answer {
    fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut: None,
            endless: false,
        }
    }
}

impl Repository {
    fn answer(&self, stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let Some((request, range)) = read_request(&mut reader)? else {
            return Ok(());
        };
        let head = request.head;
        let mut state = lock(state);
        let answer = self.choose(&request, range, &mut state.faults);
        state.requests.push(request);
        drop(state);
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 {} X\r\nConnection: close\r\n",
            answer.status
        )?;
        for (name, value) in &answer.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        if answer.endless && !head {
            write!(stream, "Transfer-Encoding: chunked\r\n\r\n")?;
            // Not quite: a test that fails must not fill the disk.
            for _ in 0..MOST_CHUNKS {
                write!(stream, "{:x}\r\n", answer.body.len())?;
                stream.write_all(&answer.body)?;
                write!(stream, "\r\n")?;
            }
            return Ok(());
        }
        write!(stream, "Content-Length: {}\r\n\r\n", answer.body.len())?;
        if head {
            return Ok(());
        }
        let end = answer.cut.unwrap_or(answer.body.len());
        stream.write_all(&answer.body[..end.min(answer.body.len())])
    }

    fn choose(&self, request: &Request, range: Range, faults: &mut Faults) -> Answer {
        if let Some(status) = faults.status {
            return Answer::status(status);
        }
        if let Some(name) = request.path.strip_prefix("/cdn/") {
            return match self.files.get(name) {
                Some(content) => large(content, range, faults),
                None => Answer::status(404),
            };
        }
        let shown = request.authorization.as_deref();
        if let Some(token) = &faults.token
            && shown != Some(&format!("Bearer {token}"))
        {
            return Answer::status(401);
        }
        let api = format!("/api/models/{}/revision/", self.id);
        if request.path.starts_with(&api) {
            let siblings: Vec<_> = (self.files.keys())
                .map(|name| json!({"rfilename": name}))
                .collect();
            let body = json!({"id": self.id, "sha": COMMIT, "siblings": siblings});
            return Answer {
                body: body.to_string().into_bytes(),
                ..Answer::status(200)
            };
        }
        let file = request
            .path
            .strip_prefix(&format!("/{}/resolve/", self.id))
            .and_then(|rest| rest.split_once('/'))
            .and_then(|(_, name)| Some((name, self.files.get(name)?)));
        let Some((name, content)) = file else {
            return Answer::status(404);
        };
        let commit = ("X-Repo-Commit", COMMIT.to_owned());
        let named = |hash: String| format!("\"{}\"", faults.etag.clone().unwrap_or(hash));
        if name.ends_with(".json") {
            let hash = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
            let hash = hexadecimal(&hash.chain_update(content).finalize());
            let mut answer = part(content, range);
            answer.headers.extend([commit, ("ETag", named(hash))]);
            return answer;
        }
        Answer {
            headers: vec![
                commit,
                (
                    "X-Linked-ETag",
                    named(hexadecimal(&Sha256::digest(content))),
                ),
                ("X-Linked-Size", content.len().to_string()),
                (
                    "Location",
                    format!("http://localhost:{}/cdn/{name}", self.port),
                ),
            ],
            ..Answer::status(302)
        }
    }
}

/// A large file, with whatever goes wrong on its way.
fn large(content: &[u8], range: Range, faults: &mut Faults) -> Answer {
    let mut answer = part(content, range);
    if faults.corrupt {
        let middle = answer.body.len() / 2;
        answer.body[middle] ^= 1;
    }
    answer.endless = faults.endless;
    answer.cut = faults.cut_after.take();
    if answer.cut.is_some() && faults.then_gone {
        faults.status = Some(503);
    }
    answer
}

/// The bytes of `range`, last one included.
fn part(content: &[u8], range: Range) -> Answer {
    let Some([from, to]) = range else {
        return Answer {
            body: content.to_vec(),
            ..Answer::status(200)
        };
    };
    let end = to.saturating_add(1).min(content.len());
    if from >= end {
        return Answer::status(416);
    }
    let whole = content.len();
    Answer {
        headers: vec![("Content-Range", format!("bytes {from}-{}/{whole}", end - 1))],
        body: content[from..end].to_vec(),
        ..Answer::status(206)
    }
}

/// The request and its range; none at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<(Request, Range)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let range = headers.get("range").and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some([from.parse().ok()?, to.parse().unwrap_or(usize::MAX)])
    });
    let host = headers.get("host").cloned().unwrap_or_default();
    let request = Request {
        path,
        host: host.split(':').next().unwrap_or_default().to_owned(),
        authorization: headers.get("authorization").cloned(),
        from: range.map_or(0, |[from, _]| from),
        head: line.starts_with("HEAD "),
    };
    Ok(Some((request, range)))
}

/// Lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
