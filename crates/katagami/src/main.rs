//! The binary: chooses between the server, a machine and the client commands.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use cli::Environment;
use server::{
    AccountOptions, AwsEnvironment, GcOptions, RebuildOptions, ServeOptions, StoreOptions, VerifyOptions,
};

/// Machine images for everyone who has a computer: an EC2-API-compatible image service in one program
#[derive(Debug, Parser)]
#[command(name = "katagami", version)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(ServeOptions),
    Account(AccountOptions),
    Gc(GcOptions),
    Store(StoreOptions),
    Verify(VerifyOptions),
    Rebuild(RebuildOptions),
    /// Be the process of one instance; started by the server
    #[command(hide = true)]
    Machine {
        #[arg(long)]
        dir: PathBuf,
    },
    #[command(flatten)]
    Client(cli::Command),
}

/// Uploads pass through many short-lived buffers, which glibc would keep for ever in an arena a thread.
/// What is kept is enough for a few blocks under way: mapping a buffer anew for each block took a quarter of
/// the time of a put, and keeping them costs a server that stands idle after a push 50 MiB.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "mallopt has no safe form")]
fn give_memory_back() {
    const KEPT_BYTES: libc::c_int = 8 << 20;
    // SAFETY: mallopt only sets numbers of the allocator; no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES);
    }
}

#[cfg(not(target_env = "gnu"))]
const fn give_memory_back() {}

fn main() -> anyhow::Result<ExitCode> {
    give_memory_back();
    let environment = Environment::of_process();
    let data = environment.data_dir();
    let ended = match Line::parse().command {
        // It has a runtime of its own.
        Command::Machine { dir } => server::machine(&dir).map_err(|e| of_server(&e)),
        Command::Serve(options) => {
            let exe = std::env::current_exe().context("find the own program")?;
            let aws = AwsEnvironment::new(|name| environment.get(name).map(str::to_owned));
            in_runtime(server::serve(options, data, aws, exe))?.map_err(|e| of_server(&e))
        }
        Command::Account(options) => printed(in_runtime(options.run(data))?),
        Command::Gc(options) => printed(in_runtime(options.run(data))?),
        Command::Store(options) => printed(in_runtime(options.run(data))?),
        Command::Rebuild(options) => printed(in_runtime(options.run(data))?),
        Command::Verify(options) => match in_runtime(options.run(data))? {
            Ok(verdict) => printed(Ok(verdict.text)).and_then(|()| failed_if(verdict.exit_code)),
            Err(error) => Err(of_server(&error)),
        },
        Command::Client(command) => in_runtime(command.run(&environment))?.map_err(|e| of_client(&e)),
    };
    Ok(ended.map_or_else(ExitCode::from, |()| ExitCode::SUCCESS))
}

fn in_runtime<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let done = runtime.block_on(work);
    // A blocked disk must not keep a program that is done.
    runtime.shutdown_background();
    Ok(done)
}

fn printed(done: server::Result<String>) -> Result<(), u8> {
    let lines = done.map_err(|e| of_server(&e))?;
    cli::print(&lines).map_err(|e| of_client(&e))
}

const fn failed_if(exit_code: u8) -> Result<(), u8> {
    if exit_code == 0 { Ok(()) } else { Err(exit_code) }
}

fn of_server(error: &server::Error) -> u8 {
    cli::report(&error.chain(), error.hint());
    error.exit_code()
}

fn of_client(error: &cli::Error) -> u8 {
    cli::report(&error.to_string(), error.hint());
    error.kind() as u8
}
