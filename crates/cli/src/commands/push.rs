//! `katagami push`: a disk in a file becomes an image.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::client::{Client, Repeat};
use crate::config::Connection;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::push::{self, Progress, Show, Source, Upload};
use crate::ui;

/// Upload a raw disk and register it as an image
#[derive(Debug, Args)]
#[command(after_help = "\
Holes and blocks of zeros are not sent. The image id is the only line on standard output.

Examples:
  katagami push disk.raw --name debian-12
  image=$(katagami push disk.raw --name web --tag stage=test --progress none)")]
pub struct Push {
    /// A raw disk: a file or a block device
    file: PathBuf,
    /// The image's name, 3 to 128 characters
    #[arg(long, value_parser = image_name)]
    name: String,
    /// What the image is for
    #[arg(long)]
    description: Option<String>,
    /// A tag of the image and its snapshot, may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    #[arg(long, default_value = "x86_64", value_parser = ["i386", "x86_64", "arm64"], hide_possible_values = true, help = "i386, x86_64 or arm64")]
    architecture: String,
    /// legacy-bios, uefi or uefi-preferred [default: the instance's]
    #[arg(long, value_parser = ["legacy-bios", "uefi", "uefi-preferred"], hide_possible_values = true)]
    boot_mode: Option<String>,
    #[arg(long, value_name = "DEVICE", default_value = "/dev/xvda", help = "The name of the root device")]
    root_device_name: String,
    /// The disk has no driver for the enhanced network adapter
    #[arg(long)]
    no_ena: bool,
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64), help = "Blocks that are sent at the same time")]
    parallel: u16,
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help = "auto, json (a line each second) or none"
    )]
    progress: ProgressKind,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum ProgressKind {
    /// A bar on a terminal, a line each ten seconds elsewhere.
    #[default]
    Auto,
    Json,
    None,
}

impl Push {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        let source = Source::open(&self.file)?;
        let client = super::client(&self.connection, environment)?;
        self.check_name_is_free(&client).await?;
        let progress = Progress::start(self.show(), source.size_bytes(), &client);
        let upload = Upload {
            client: &client,
            description: self
                .description
                .clone()
                .unwrap_or_else(|| format!("Disk of the image {}", self.name)),
            tags: self.tags.clone(),
            parallel: usize::from(self.parallel),
        };
        let uploaded = upload.run(source, &progress).await;
        progress.finish(&self.name, uploaded.is_ok());
        let snapshot_id = uploaded?;
        push::wait_for_snapshot(&client, &snapshot_id).await?;
        let image_id = self.register(&client, &snapshot_id).await?;
        ui::print(&image_id)
    }

    fn show(&self) -> Show {
        match self.progress {
            ProgressKind::None => Show::Nothing,
            ProgressKind::Json => Show::Json,
            ProgressKind::Auto if ui::is_watched() => Show::Bar,
            ProgressKind::Auto => Show::Lines,
        }
    }

    /// Asked before the upload as well as by the registration after it, so that nobody uploads for nothing.
    async fn check_name_is_free(&self, client: &Client) -> Result<()> {
        let named = [("Owner.1", "self"), ("Filter.1.Name", "name"), ("Filter.1.Value.1", &self.name)];
        let named = named.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let document = client.ec2("DescribeImages", &named, Repeat::Harmless).await?;
        match wire::xml::first_text(&document, "imageId") {
            None => Ok(()),
            Some(id) => {
                let taken = format!("the name {} is {id}'s already", self.name);
                Err(Error::of_service("push", "InvalidAMIName.Duplicate", &taken))
            }
        }
    }

    async fn register(&self, client: &Client, snapshot_id: &str) -> Result<String> {
        let document =
            client.ec2("RegisterImage", &self.register_parameters(snapshot_id), Repeat::Unsafe).await;
        let document = document.map_err(|e| {
            let kept = format!(
                "the uploaded snapshot {snapshot_id} is kept; register it with aws ec2 register-image"
            );
            let hint = e.hint().map_or_else(|| kept.clone(), |hint| format!("{hint}; {kept}"));
            e.with_hint(hint)
        })?;
        wire::xml::first_text(&document, "imageId")
            .ok_or_else(|| Error::failed("the server's answer to RegisterImage has no image id"))
    }

    fn register_parameters(&self, snapshot_id: &str) -> Vec<(String, String)> {
        let mut parameters = vec![
            ("Name", self.name.clone()),
            ("Architecture", self.architecture.clone()),
            ("VirtualizationType", "hvm".to_owned()),
            ("EnaSupport", (!self.no_ena).to_string()),
            ("RootDeviceName", self.root_device_name.clone()),
            ("BlockDeviceMapping.1.DeviceName", self.root_device_name.clone()),
            ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot_id.to_owned()),
            ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3".to_owned()),
            ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true".to_owned()),
        ];
        parameters.extend(self.description.clone().map(|text| ("Description", text)));
        parameters.extend(self.boot_mode.clone().map(|mode| ("BootMode", mode)));
        let mut parameters: Vec<(String, String)> =
            parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if !self.tags.is_empty() {
            parameters.push(("TagSpecification.1.ResourceType".into(), "image".into()));
        }
        for ((key, value), n) in self.tags.iter().zip(1..) {
            parameters.push((format!("TagSpecification.1.Tag.{n}.Key"), key.clone()));
            parameters.push((format!("TagSpecification.1.Tag.{n}.Value"), value.clone()));
        }
        parameters
    }
}

/// Held here as well, so that nobody hears of it after an hour of uploading. What else a name may not be, the server says.
fn image_name(text: &str) -> Result<String, String> {
    if (3..=128).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err("an image's name has 3 to 128 characters".into())
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    if key.is_empty() { Err("the key is empty".into()) } else { Ok((key.to_owned(), value.to_owned())) }
}
