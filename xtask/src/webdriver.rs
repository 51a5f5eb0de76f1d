//! A small WebDriver client, and Chromium to drive with it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What a test without its browser fails with.
const MISSING: &str = "the page's tests need Chromium and its driver; install them: \
     apt-get install -y --no-install-recommends chromium chromium-driver";

/// The key under which WebDriver hands elements out.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What WebGPU runs on. Headless Chromium offers none of it unless asked.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Adapter {
    #[default]
    None,
    /// SwiftShader: a GPU that the CPU acts out, there on every machine.
    Software,
    /// The machine's own GPU, through Vulkan.
    Hardware,
}

impl Adapter {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Software => &["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
            Self::Hardware => &[
                "--enable-unsafe-webgpu",
                "--enable-features=Vulkan",
                "--use-angle=vulkan",
                "--disable-vulkan-surface",
                "--ignore-gpu-blocklist",
            ],
        }
    }
}

/// How a browser is started.
#[derive(Clone, Default)]
pub struct Options {
    /// What WebGPU runs on.
    pub adapter: Adapter,
    /// Further arguments of Chromium.
    pub arguments: Vec<String>,
    /// Width and height of the window; 1440 × 1000 by default.
    pub window: Option<(u32, u32)>,
    /// Dark colours.
    pub dark: bool,
}

/// A browser with a fresh profile.
pub struct Browser {
    driver: Child,
    base: String,
    agent: ureq::Agent,
    _profile: tempfile::TempDir,
}

/// Times that chromedriver is started before a test gives up.
const STARTS: usize = 5;

impl Browser {
    /// Starts Chromium.
    pub fn start(options: &Options) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = (0..STARTS)
            .find_map(|_| start_driver())
            .expect("chromedriver did not say its port");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(300)))
            .build()
            .into();
        let mut browser = Self {
            driver,
            base: format!("http://127.0.0.1:{port}"),
            agent,
            _profile: profile,
        };
        let chromium = program(
            "CHROMIUM",
            &["chromium", "chromium-browser", "google-chrome"],
        );
        let (width, height) = options.window.unwrap_or((1440, 1000));
        let mut arguments = vec![
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", browser._profile.path().display()),
        ];
        arguments.extend(options.adapter.arguments().iter().map(ToString::to_string));
        if options.dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        arguments.extend(options.arguments.iter().cloned());
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let session = browser.call("POST", "/session", Some(wanted));
        let id = session["sessionId"]
            .as_str()
            .expect("chromedriver gives a session")
            .to_owned();
        browser.base.push_str(&format!("/session/{id}"));
        browser
    }

    /// Opens an address and waits for it to load.
    pub fn open(&self, address: &str) {
        self.call("POST", "/url", Some(json!({ "url": address })));
    }

    /// Runs a script with `arguments`; what it returns.
    pub fn run_with(&self, script: &str, arguments: Value) -> Value {
        self.call(
            "POST",
            "/execute/sync",
            Some(json!({ "script": script, "args": arguments })),
        )
    }

    /// Runs a script; what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.run_with(script, json!([]))
    }

    /// What the promise of a script, the body of an async function, comes to.
    pub fn await_script(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, (error) => done(String(error)));"
        );
        self.call(
            "POST",
            "/execute/async",
            Some(json!({ "script": script, "args": [] })),
        )
    }

    /// Runs a script again and again until what it returns is true-like, and returns that.
    pub fn wait(&self, what: &str, seconds: u64, script: &str) -> Value {
        let began = Instant::now();
        loop {
            let value = self.run(script);
            if !matches!(value, Value::Null | Value::Bool(false))
                && value != json!(0)
                && value != json!("")
            {
                return value;
            }
            if began.elapsed() > Duration::from_secs(seconds) {
                let seen =
                    self.run("return document.body ? document.body.innerText.slice(0, 1500) : ''");
                panic!(
                    "{what} did not come in {seconds} s. The page says:\n{seen}\nConsole: {:#}",
                    self.console()
                );
            }
            std::thread::sleep(Duration::from_millis(40));
        }
    }

    /// Gives files to the file input that `selector` names.
    pub fn upload(&self, selector: &str, files: &[PathBuf]) {
        let element = self.find(selector);
        let text: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        self.call(
            "POST",
            &format!("/element/{element}/value"),
            Some(json!({ "text": text.join("\n") })),
        );
    }

    /// Clicks as a mouse does.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.call(
            "POST",
            &format!("/element/{element}/click"),
            Some(json!({})),
        );
    }

    /// Types into the element that `selector` names.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.call(
            "POST",
            &format!("/element/{element}/value"),
            Some(json!({ "text": text })),
        );
    }

    /// Presses keys wherever the focus is. `\u{e004}` is Tab, `\u{e007}` Enter, `\u{e014}` the
    /// right arrow.
    pub fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
            })
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] });
        self.call("POST", "/actions", Some(actions));
    }

    /// Calls a function of Chromium's own protocol.
    pub fn chromium(&self, function: &str, parameters: Value) -> Value {
        self.call(
            "POST",
            "/goog/cdp/execute",
            Some(json!({ "cmd": function, "params": parameters })),
        )
    }

    /// Opens another tab in front of this one, and returns the tab that was there.
    pub fn new_tab(&self) -> Value {
        let before = self.call("GET", "/window", None);
        let tab = self.call("POST", "/window/new", Some(json!({ "type": "tab" })));
        self.switch(&tab["handle"]);
        before
    }

    /// Goes to a tab.
    pub fn switch(&self, tab: &Value) {
        self.call("POST", "/window", Some(json!({ "handle": tab })));
    }

    /// Writes a picture of the window, for a person to look at, into the folder `page` beside the
    /// test programs.
    pub fn screenshot(&self, name: &str) {
        let text = self.call("GET", "/screenshot", None);
        let bytes = unpacked(text.as_str().unwrap_or_default());
        let folder = shots();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// Bytes that the browser's processes hold, those that several share counted in parts (Linux's
    /// proportional set size): of the renderers, and of all others.
    pub fn memory(&self) -> (u64, u64) {
        let (mut renderers, mut others) = (0, 0);
        for process in descendants(self.driver.id()) {
            let folder = PathBuf::from(format!("/proc/{process}"));
            let text = std::fs::read_to_string(folder.join("smaps_rollup")).unwrap_or_default();
            let kilobytes: u64 = text
                .lines()
                .find_map(|line| {
                    line.strip_prefix("Pss:")?
                        .split_whitespace()
                        .next()?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            let command = std::fs::read(folder.join("cmdline")).unwrap_or_default();
            match String::from_utf8_lossy(&command).contains("--type=renderer") {
                true => renderers += 1024 * kilobytes,
                false => others += 1024 * kilobytes,
            }
        }
        (renderers, others)
    }

    /// What the page wrote to the console since the last call.
    pub fn console(&self) -> Value {
        self.call("POST", "/se/log", Some(json!({ "type": "browser" })))
    }

    fn find(&self, selector: &str) -> String {
        let query = json!({ "using": "css selector", "value": selector });
        let element = self.call("POST", "/element", Some(query));
        element[ELEMENT]
            .as_str()
            .unwrap_or_else(|| panic!("the page has no {selector}"))
            .to_owned()
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let address = format!("{}{path}", self.base);
        let answer = match (method, body) {
            ("GET", _) => self.agent.get(&address).call(),
            ("DELETE", _) => self.agent.delete(&address).call(),
            (_, body) => self
                .agent
                .post(&address)
                .send_json(body.unwrap_or(json!({}))),
        };
        let mut answer =
            answer.unwrap_or_else(|error| panic!("chromedriver does not answer: {error}"));
        let value: Value = answer
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_json()
            .unwrap();
        let value = value["value"].clone();
        if let Some(error) = value.get("error").and_then(Value::as_str) {
            panic!("{path}: {error}: {}", value["message"]);
        }
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.base).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The processes that a process started, and theirs.
fn descendants(ancestor: u32) -> Vec<u32> {
    let mut parents = std::collections::HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // The name stands in brackets and may hold blanks; state and parent follow it.
        let text = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        if let Some(parent) = rest
            .split_whitespace()
            .nth(1)
            .and_then(|parent| parent.parse().ok())
        {
            parents.insert(process, parent);
        }
    }
    let below = |process: &u32| {
        let mut at = *process;
        while let Some(&parent) = parents.get(&at) {
            if parent == ancestor {
                return true;
            }
            at = parent;
        }
        false
    };
    parents.keys().copied().filter(below).collect()
}

/// Where screenshots go.
pub fn shots() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent()
        .and_then(Path::parent)
        .unwrap()
        .join("page-tests")
}

fn program(variable: &str, names: &[&str]) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let mut paths = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    paths
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{MISSING}"))
}

/// Starts chromedriver on a free port; none when it ended before it had one, which happens when
/// several are started at once and two of them pick the same port.
fn start_driver() -> Option<(Child, u16)> {
    let mut driver = Command::new(program("CHROMEDRIVER", &["chromedriver"]))
        .args(["--port=0", "--log-level=SEVERE"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect(MISSING);
    let port = port(&mut driver);
    if port.is_none() {
        // It may have ended already.
        let _ = driver.kill();
        let _ = driver.wait();
    }
    Some((driver, port?))
}

/// `chromedriver --port=0` says which port it took.
fn port(driver: &mut Child) -> Option<u16> {
    let output = BufReader::new(driver.stdout.take().unwrap());
    for line in output.lines().map_while(Result::ok) {
        if let Some((_, port)) = line.split_once("on port ") {
            let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
            if let Some(port) = digits.parse().ok().filter(|port| *port > 0) {
                return Some(port);
            }
        }
    }
    None
}

/// Base64, which WebDriver sends pictures in.
fn unpacked(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
