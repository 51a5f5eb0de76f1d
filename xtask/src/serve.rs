//! A small web server for the page on localhost.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// What the worker may do; the page's own policy stands in `index.html`. A worker may fetch from
/// anywhere, because the user may type the address of a bundle.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; connect-src 'self' https: http:; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Longest head of a request, in bytes.
const LONGEST_HEAD: u64 = 16_384;

/// A server that runs until it is stopped or the program ends.
pub struct Server {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

/// What is served where: the first folder whose prefix fits.
type Folders = Vec<(String, PathBuf)>;

impl Server {
    /// Serves `folders`, each under its prefix (such as `/` or `/bundle/`), on `port` of
    /// localhost; port 0 takes a free one.
    ///
    /// # Errors
    /// When the port is in use.
    pub fn start(folders: &[(&str, &Path)], port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
            format!("port {port} of localhost cannot be used; choose another with --port")
        })?;
        let address = listener.local_addr()?;
        let mut folders: Folders = folders
            .iter()
            .map(|(prefix, folder)| ((*prefix).to_owned(), folder.to_path_buf()))
            .collect();
        folders.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let stopped = Arc::new(AtomicBool::new(false));
        let over = stopped.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (folders, over) = (folders.clone(), over.clone());
                std::thread::spawn(move || {
                    // A browser that hangs up is not worth a word.
                    let _ = answer(stream, &folders, &over);
                });
            }
        });
        Ok(Self { address, stopped })
    }

    /// Answers nobody from here on.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        // The thread that waits for a connection gets one, and ends.
        let _ = TcpStream::connect(self.address);
    }

    /// The address, ending in a slash.
    pub fn address(&self) -> String {
        format!("http://localhost:{}/", self.address.port())
    }
}

/// Serves a built page until the user stops it.
///
/// # Errors
/// When there is no page, or no port to serve on.
pub fn serve(folder: &Path, port: u16) -> Result<()> {
    if !folder.join("index.html").is_file() {
        bail!(
            "{} holds no page; build it with `cargo xtask web`",
            folder.display()
        );
    }
    let server =
        Server::start(&[("/", folder)], port).or_else(|_| Server::start(&[("/", folder)], 0))?;
    println!("\nThe page is at {}\nStop with Ctrl+C.", server.address());
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

struct Request {
    path: String,
    head_only: bool,
    takes_brotli: bool,
    known: Option<String>,
    /// The first byte that is wanted, where the beginning of a file is there already.
    from: Option<u64>,
}

fn answer(mut stream: TcpStream, folders: &Folders, over: &AtomicBool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read(&mut reader)? {
        if over.load(Ordering::Relaxed) {
            return Ok(());
        }
        match locate(&request.path, folders) {
            Some(file) => send(&mut stream, &request, &file)?,
            None => write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nContent-Type: text/plain\r\n\r\nnot found"
            )?,
        }
        stream.flush()?;
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut head = reader.by_ref().take(LONGEST_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if !matches!(method, "GET" | "HEAD") {
        return Ok(None);
    }
    let mut request = Request {
        path: path.split(['?', '#']).next().unwrap_or_default().to_owned(),
        head_only: method == "HEAD",
        takes_brotli: false,
        known: None,
        from: None,
    };
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(Some(request));
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "accept-encoding" => {
                request.takes_brotli = value.split(',').any(|word| word.trim() == "br")
            }
            "if-none-match" => request.known = Some(value.trim().to_owned()),
            "range" => request.from = open_range(value.trim()),
            _ => {}
        }
    }
}

/// `bytes=N-`, the only range that a broken download needs; others are answered with everything.
fn open_range(value: &str) -> Option<u64> {
    value
        .strip_prefix("bytes=")?
        .strip_suffix('-')?
        .parse()
        .ok()
}

/// The file that a path names, if it lies in its folder.
fn locate(path: &str, folders: &Folders) -> Option<PathBuf> {
    let (prefix, folder) = folders
        .iter()
        .find(|(prefix, _)| path.starts_with(prefix.as_str()))?;
    let rest = decoded(&path[prefix.len()..])?;
    let inner = Path::new(&rest);
    if !inner
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return None;
    }
    let file = folder.join(inner);
    let file = if file.is_dir() {
        file.join("index.html")
    } else {
        file
    };
    file.is_file().then_some(file)
}

/// Without percent signs.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn send(stream: &mut TcpStream, request: &Request, file: &Path) -> std::io::Result<()> {
    let mut packed = file.as_os_str().to_owned();
    packed.push(".br");
    let packed = PathBuf::from(packed);
    // A packed file that is older than its original is of an earlier one.
    let changed = |file: &Path| {
        std::fs::metadata(file)
            .and_then(|data| data.modified())
            .ok()
    };
    let brotli = request.takes_brotli && changed(&packed) >= changed(file);
    let body = std::fs::read(if brotli { &packed } else { file })?;
    let tag = tag(file, body.len());
    let mut head = format!(
        "ETag: {tag}\r\nCache-Control: no-cache\r\nVary: Accept-Encoding\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nContent-Security-Policy: {POLICY}\r\nContent-Type: {}\r\n",
        kind(file)
    );
    if request.known.as_deref() == Some(&tag) {
        return write!(stream, "HTTP/1.1 304 Not Modified\r\n{head}\r\n");
    }
    head.push_str("Accept-Ranges: bytes\r\n");
    // Counted in the file itself: of a packed one the browser has unpacked its beginning.
    let from = request.from.filter(|_| !brotli).map(|from| from as usize);
    if let Some(from) = from.filter(|from| *from > 0) {
        let Some(rest) = body.get(from..).filter(|rest| !rest.is_empty()) else {
            return write!(
                stream,
                "HTTP/1.1 416 Range Not Satisfiable\r\n{head}Content-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n",
                body.len()
            );
        };
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\n{head}Content-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\r\n",
            body.len() - 1,
            body.len(),
            rest.len()
        )?;
        return match request.head_only {
            true => Ok(()),
            false => stream.write_all(rest),
        };
    }
    if brotli {
        head.push_str("Content-Encoding: br\r\n");
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    if request.head_only {
        Ok(())
    } else {
        stream.write_all(&body)
    }
}

fn tag(file: &Path, length: usize) -> String {
    let changed = std::fs::metadata(file)
        .and_then(|data| data.modified())
        .ok();
    let changed = changed
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    format!("\"{:x}-{length:x}\"", changed.as_nanos())
}

fn kind(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("jpg") => "image/jpeg",
        Some("png") => "image/png",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(server: &Server, path: &str, more: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.address.port())).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"
        )
        .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn serves_what_is_in_the_folder_and_nothing_else() {
        let root = std::env::temp_dir().join(format!("negprompt-serve-{}", std::process::id()));
        let (page, other) = (root.join("page"), root.join("other"));
        std::fs::create_dir_all(&page).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(page.join("index.html"), "<p>hello").unwrap();
        std::fs::write(page.join("a b.js"), "1").unwrap();
        std::fs::write(page.join("a b.js.br"), "packed").unwrap();
        std::fs::write(other.join("bundle.json"), "{}").unwrap();
        std::fs::write(root.join("secret"), "x").unwrap();
        let server = Server::start(&[("/", &page), ("/bundle/", &other)], 0).unwrap();
        let index = get(&server, "/?x=1", "");
        assert!(
            index.starts_with("HTTP/1.1 200") && index.ends_with("<p>hello"),
            "{index}"
        );
        assert!(get(&server, "/bundle/bundle.json", "").ends_with("{}"));
        assert!(get(&server, "/a%20b.js", "").ends_with("\r\n\r\n1"));
        let packed = get(&server, "/a%20b.js", "Accept-Encoding: gzip, br\r\n");
        assert!(
            packed.contains("Content-Encoding: br") && packed.ends_with("packed"),
            "{packed}"
        );
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/bundle/../../secret",
            "/none",
            "//etc/passwd",
        ] {
            assert!(get(&server, path, "").starts_with("HTTP/1.1 404"), "{path}");
        }
        let rest = get(&server, "/a%20b.js.br", "Range: bytes=2-\r\n");
        assert!(
            rest.starts_with("HTTP/1.1 206") && rest.ends_with("\r\n\r\ncked"),
            "{rest}"
        );
        assert!(rest.contains("Content-Range: bytes 2-5/6"), "{rest}");
        let none = get(&server, "/a%20b.js.br", "Range: bytes=6-\r\n");
        assert!(none.starts_with("HTTP/1.1 416"), "{none}");
        for odd in ["bytes=-2", "bytes=0-", "bytes=1-2", "lines=1-"] {
            let whole = get(&server, "/a%20b.js.br", &format!("Range: {odd}\r\n"));
            assert!(whole.ends_with("\r\n\r\npacked"), "{odd}: {whole}");
        }
        let tag = index
            .lines()
            .find_map(|line| line.strip_prefix("ETag: "))
            .unwrap();
        assert!(
            get(&server, "/", &format!("If-None-Match: {tag}\r\n")).starts_with("HTTP/1.1 304")
        );
        std::fs::remove_dir_all(root).unwrap();
    }
}
