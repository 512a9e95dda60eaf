//! What `bench/volume.py` and `bench/vhost.py` run: a server of one volume, and clients that drive any NBD
//! server and any vhost-user disk.
//!
//! Each command prints one JSON object a line. The product does not use this program.

#![expect(clippy::print_stdout, reason = "its report is its output")]

mod client;
mod freezes;
mod rings;
mod server;
#[path = "../../src/tests/vhost_client.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the driver of the tests, which needs more and fails as tests do"
)]
mod vhost_client;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: bench <command>
  store RAW STORE                        puts a raw disk into a snapshot store that it makes
  serve DIR SIZE SOCKET [STORE ROOT]     makes a volume and serves it until its input ends: over NBD, or as a
                                         vhost-user disk where the socket's name ends in .vhost
  load SOCKET read|write|rewrite|flush DEPTH SECONDS SPAN
                                         4 KiB requests within the first SPAN bytes
  vload SOCKET read|write|sequential DEPTH SECONDS SPAN BLOCK
                                         requests of BLOCK bytes to a vhost-user disk
  freezes DIR SIZE COUNT                 how long writes stand still while the volume is frozen";

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<serde_json::Value> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["store", raw, store] => runtime()?.block_on(server::store(Path::new(raw), Path::new(store))),
        ["serve", dir, size, socket, base @ ..] => {
            runtime()?.block_on(server::serve(Path::new(dir), size.parse()?, Path::new(socket), base))
        }
        ["load", socket, kind, depth, seconds, span] => {
            let load = client::Load { kind: kind.parse()?, depth: depth.parse()?, span_bytes: span.parse()? };
            client::load(Path::new(socket), &load, seconds.parse()?)
        }
        ["vload", socket, kind, depth, seconds, span, block] => {
            let load = rings::Load {
                is_write: *kind == "write",
                is_sequential: *kind == "sequential",
                depth: depth.parse()?,
                span_bytes: span.parse()?,
                block_bytes: block.parse()?,
            };
            rings::load(Path::new(socket), &load, seconds.parse()?)
        }
        ["freezes", dir, size, count] => {
            runtime()?.block_on(freezes::measure(Path::new(dir), size.parse()?, count.parse()?))
        }
        _ => Err(USAGE.into()),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
