//! `katagami forwards`: where a guest's open ports are on this host.

use clap::Args;
use model::InstanceId;
use serde::Deserialize;

use crate::client::{Call, Service};
use crate::config::Connection;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ui;

/// Show where the open ports of an instance are reached
#[derive(Debug, Args)]
#[command(after_help = "\
A port of the guest is reached at the same port of the instance's PublicIpAddress, unless this host
keeps it to its administrator (ports below 1024 often); then another one leads there.

Example:
  katagami forwards i-0123456789abcdef0
  22      127.20.0.5:40022")]
pub struct Forwards {
    /// The instance
    #[arg(value_name = "INSTANCE_ID")]
    instance_id: InstanceId,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Deserialize)]
struct Machine {
    forwards: Vec<Forward>,
}

#[derive(Debug, Deserialize)]
struct Forward {
    guest_port: u16,
    host: String,
}

impl Forwards {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        let client = super::client(&self.connection, environment)?;
        let call = Call::get(Service::Ec2, format!("/_katagami/instances/{}", self.instance_id));
        let reply = client.rest("find the instance", &call).await?;
        let machine: Machine = serde_json::from_slice(&reply.body)
            .map_err(|e| Error::failed(format!("the server's answer: {e}")))?;
        if machine.forwards.is_empty() {
            ui::note("no port is open: no security group of the instance allows any, or it does not run");
        }
        for Forward { guest_port, host } in machine.forwards {
            ui::print(&format!("{guest_port}\t{host}"))?;
        }
        Ok(())
    }
}
