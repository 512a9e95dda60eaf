//! The binary: chooses between the server, a machine and the client commands.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use cli::Environment;
use server::{AccountOptions, ServeOptions};

/// Machine images for everyone who has a computer: an EC2-API-compatible image service in one program
#[derive(Debug, Parser)]
#[command(name = "katagami", version, propagate_version = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(ServeOptions),
    Account(AccountOptions),
    /// Be the process of one instance; started by the server
    #[command(hide = true)]
    Machine {
        #[arg(long)]
        dir: PathBuf,
    },
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> anyhow::Result<ExitCode> {
    let command = Line::parse().command;
    if let Command::Machine { dir } = command {
        // It has a runtime of its own.
        return Ok(server::machine(&dir).map_or_else(|e| server_error(&e), |()| ExitCode::SUCCESS));
    }
    let environment = Environment::of_process();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let code = runtime.block_on(run(command, environment));
    runtime.shutdown_background();
    code
}

async fn run(command: Command, environment: Environment) -> anyhow::Result<ExitCode> {
    match command {
        Command::Machine { .. } => Ok(ExitCode::FAILURE),
        Command::Serve(options) => {
            let exe = std::env::current_exe().context("find the own program")?;
            let served = server::serve(options, environment.data_dir(), exe).await;
            Ok(served.map_or_else(|e| server_error(&e), |()| ExitCode::SUCCESS))
        }
        Command::Account(options) => match options.run(environment.data_dir()).await {
            Ok(line) => {
                cli::print(&line)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Ok(server_error(&error)),
        },
        Command::Client(command) => Ok(match command.run(&environment).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                cli::report(&error.to_string(), error.hint());
                ExitCode::from(error.kind() as u8)
            }
        }),
    }
}

fn server_error(error: &server::Error) -> ExitCode {
    cli::report(&error.chain(), error.hint());
    ExitCode::from(error.exit_code())
}
