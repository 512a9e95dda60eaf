//! A server of the real binary on a free port, and commands against it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use model::{Clock as _, SystemClock};
use wire::sigv4::{Credentials, RequestParts, Signer};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_katagami");

/// The program with an environment of its own: nothing of the user's AWS configuration.
#[expect(clippy::disallowed_methods, reason = "the test is the shell")]
pub(crate) fn katagami(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").args(arguments);
    command
}

pub(crate) fn run(home: &Path, arguments: &[&str]) -> Output {
    katagami(home, arguments).output().unwrap()
}

/// A running server; killed at the end.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) endpoint: String,
    pub(crate) data: PathBuf,
}

impl Server {
    pub(crate) fn start(data: &Path, extra: &[&str]) -> Self {
        Self::start_with(data, "127.0.0.1:0", extra, |_| {})
    }

    /// As `start`, at an address of choice and with a change to the command.
    pub(crate) fn start_with(
        data: &Path,
        listen: &str,
        extra: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let data_text = data.to_str().unwrap();
        let mut arguments = vec!["serve", "--data", data_text, "--listen", listen, "--log", "warn"];
        arguments.extend(extra);
        let mut command = katagami(data, &arguments);
        change(&mut command);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let endpoint = first.trim().strip_prefix("katagami serves ").expect("the greeting").to_owned();
        Self { child, endpoint, data: data.to_owned() }
    }

    pub(crate) fn address(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap()
    }

    /// One request without a signature; the status and the body.
    pub(crate) fn request(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        write!(stream, "{method} {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// A client command as profile `profile` of this server.
    pub(crate) fn client(&self, profile: &str, arguments: &[&str]) -> Output {
        self.client_command(profile, arguments).output().unwrap()
    }

    pub(crate) fn client_command(&self, profile: &str, arguments: &[&str]) -> Command {
        let mut command = katagami(&self.data, arguments);
        command
            .env("AWS_SHARED_CREDENTIALS_FILE", self.data.join("credentials"))
            .env("AWS_CONFIG_FILE", self.data.join("config"))
            .env("AWS_PROFILE", profile);
        command
    }

    /// As `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As `kill`; whether it ended as it should.
    pub(crate) fn terminate(mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().success()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            end_machines(&self.data);
        }
    }
}

/// A test that failed leaves no guests behind.
fn end_machines(data: &Path) {
    let directories = std::fs::read_dir(data.join("machines")).into_iter().flatten().flatten();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for directory in directories {
        runtime.block_on(async {
            if let Ok(mut machine) = machine::Client::connect(&directory.path()).await {
                drop(machine.stop(None, true).await);
            }
        });
    }
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Query actions, signed with a profile's key.
#[derive(Debug)]
pub(crate) struct Api<'a> {
    server: &'a Server,
    access_key_id: String,
    secret_access_key: String,
    region: &'a str,
}

impl<'a> Api<'a> {
    pub(crate) fn new(server: &'a Server, profile: &str) -> Self {
        let credentials = std::fs::read_to_string(server.data.join("credentials")).unwrap();
        let (_, section) = credentials.split_once(&format!("[{profile}]\n")).expect("the profile");
        let value = |key: &str| {
            let line = section.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix("= "));
            line.expect("the key").to_owned()
        };
        Self {
            server,
            access_key_id: value("aws_access_key_id"),
            secret_access_key: value("aws_secret_access_key"),
            region: "us-east-1",
        }
    }

    /// The status and the document. `parameters` are as in a form, already encoded.
    pub(crate) fn call(&self, action: &str, parameters: &str) -> (u16, String) {
        let body = format!("Action={action}&Version=2016-11-15&{parameters}");
        let credentials = Credentials {
            access_key_id: &self.access_key_id,
            secret_access_key: &self.secret_access_key,
            session_token: None,
        };
        let signer = Signer { credentials, region: self.region, service: "ec2" };
        let host = [("host", self.server.address())];
        let parts = RequestParts { method: "POST", path: "/", query: "", headers: &host };
        let added = signer.headers(&parts, Some(body.as_bytes()), SystemClock::new().now()).unwrap();
        let headers: Vec<String> = added.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let headers = headers.join("\r\n");
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        let (host, len) = (self.server.address(), body.len());
        write!(stream, "POST / HTTP/1.0\r\nhost: {host}\r\ncontent-length: {len}\r\n{headers}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// The document of a call that must succeed.
    pub(crate) fn ok(&self, action: &str, parameters: &str) -> String {
        let (status, document) = self.call(action, parameters);
        assert_eq!(status, 200, "{action} {parameters}: {document}");
        document
    }

    /// Repeats a call until its document contains `wanted`.
    pub(crate) fn wait(&self, action: &str, parameters: &str, wanted: &str) -> String {
        for _ in 0..600 {
            let document = self.ok(action, parameters);
            if document.contains(wanted) {
                return document;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{action} {parameters} never says {wanted}: {}", self.ok(action, parameters));
    }
}

pub(crate) fn text(document: &str, element: &str) -> String {
    wire::xml::first_text(document, element).unwrap_or_else(|| panic!("no {element} in {document}"))
}
