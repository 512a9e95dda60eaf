//! `RunInstances`: rows for instances and their volumes now; a job for each starts its machine.

mod checks;
mod devices;
mod placement;
mod request;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use model::id_gen::random_bytes;
use model::instance::{InstanceNetwork, MachineHealth, ShutdownBehavior};
use model::volume::{AttachmentState, VolumeAttachment};
use model::{
    AttachmentId, Code, Image, Instance, InstanceId, InstanceState, InstanceType, KeyPair,
    NetworkInterfaceId, ReservationId, ResourceType, StateReason, Tag, Volume, VolumeId, VolumeState,
};
use wire::ToXml;
use wire::shapes;

use self::devices::Device;
use self::placement::Place;
use self::request::Request;
use crate::failure::Failure;
use crate::jobs::drive_instance::DriveInstance;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::{Creation, Granted};
use crate::spine::operation::Operation;
use crate::spine::resources::tags::tags_for_each;
use crate::spine::write::Write;

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml(flatten)]
    reservation: shapes::Reservation,
}

pub(super) struct RunInstances;
impl Operation for RunInstances {
    const ACTION: &'static str = "RunInstances";
    const ACCESS: Access = Access::Write("ec2:RunInstances");
    const ERRORS: &'static [Code] = &[
        Code::AddressLimitExceeded,
        Code::IncorrectState,
        Code::InstanceLimitExceeded,
        Code::InvalidAmiIdNotFound,
        Code::InvalidAmiIdUnavailable,
        Code::InvalidBlockDeviceMapping,
        Code::InvalidGroupNotFound,
        Code::InvalidKeyPairNotFound,
        Code::InvalidParameterCombination,
        Code::InvalidParameterDependency,
        Code::InvalidParameterValue,
        Code::InvalidSnapshotNotFound,
        Code::InvalidSubnetIdNotFound,
        Code::InvalidUserDataMalformed,
        Code::MissingParameter,
        Code::PrivateIpAddressLimitExceeded,
        Code::UnsupportedOperation,
    ];
    const UNSUPPORTED: &'static [&'static str] = request::UNSUPPORTED;
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let launch = Launch::resolve(cx, req).await?;
        let mut write = cx.commit_point()?;
        let reservation_id = ReservationId::generate(write.ids());
        let mut instances = Vec::new();
        for index in 0..launch.count {
            let instance = launch.instance(&mut write, &reservation_id, index).await?;
            instances.push(shapes::Instance::of(&instance, &launch.place.groups, &launch.instance_tags));
        }
        write.image_launched(launch.image).await?;
        let owner_id = write.cx().account().clone();
        Ok(Response {
            reservation: shapes::Reservation { reservation_id, owner_id, groups: Vec::new(), instances },
        })
    }
}

/// A request whose every part has been looked up and checked.
struct Launch<'r> {
    req: &'r Request,
    count: u32,
    image: Granted<Image>,
    instance_type: &'static InstanceType,
    key_pair: Option<Granted<KeyPair>>,
    user_data: Option<String>,
    place: Place,
    devices: Vec<Device>,
    creation: Creation,
    volume_creation: Creation,
    instance_tags: Vec<Tag>,
}

impl<'r> Launch<'r> {
    async fn resolve(cx: &mut Cx<'_>, req: &'r Request) -> Result<Self, Failure> {
        let count = checks::count(req)?;
        checks::options(req)?;
        let instance_type = checks::instance_type(req)?;
        let image_id = req.image_id.as_ref().ok_or_else(|| Failure::missing("ImageId"))?;
        let image = cx.image(image_id).await?;
        checks::launchable(&image)?;
        checks::fits(&image, instance_type)?;
        let user_data = checks::user_data(req)?;
        let key_pair = match &req.key_name {
            Some(name) => Some(cx.key_pair(name).await?),
            None => None,
        };
        let place = placement::resolve(cx, req, count).await?;
        let devices = devices::resolve(cx, &image, &req.block_device_mappings).await?;
        let mut tags = tags_for_each(
            &req.tag_specifications,
            &[ResourceType::Instance, ResourceType::Volume, ResourceType::NetworkInterface],
        )?;
        let instance_tags = tags.remove(&ResourceType::Instance).unwrap_or_default();
        let volume_tags = tags.remove(&ResourceType::Volume).unwrap_or_default();
        checks::account_limit(cx, count).await?;
        Ok(Self {
            creation: cx.may_create(ResourceType::Instance, &instance_tags)?,
            volume_creation: cx.may_create(ResourceType::Volume, &volume_tags)?,
            req,
            count,
            image,
            instance_type,
            key_pair,
            user_data,
            place,
            devices,
            instance_tags,
        })
    }

    /// Writes one instance with its volumes, and leaves the work of starting it.
    async fn instance(
        &self,
        write: &mut Write<'_, '_>,
        reservation_id: &ReservationId,
        index: u32,
    ) -> Result<Instance, Failure> {
        let instance_id = InstanceId::generate(write.ids());
        let mut block_devices = Vec::new();
        let mut volumes = Vec::new();
        for device in &self.devices {
            let volume = self.volume(write, &instance_id, device);
            block_devices.push(model::instance::InstanceBlockDevice {
                device_name: device.name.clone(),
                volume_id: volume.volume_id.clone(),
                attach_time: volume.create_time,
                delete_on_termination: device.ebs.delete_on_termination,
            });
            volumes.push(volume);
        }
        let network = self.network(write, index)?;
        let instance = self.instance_row(write, instance_id, (reservation_id, index), network, block_devices);
        write.instance_insert(&self.creation, &instance).await?;
        for volume in &volumes {
            write.volume_insert(&self.volume_creation, volume).await?;
        }
        write.enqueue(&DriveInstance::of(&instance.instance_id)).await?;
        Ok(instance)
    }

    fn volume(&self, write: &Write<'_, '_>, instance_id: &InstanceId, device: &Device) -> Volume {
        Volume {
            volume_id: VolumeId::generate(write.ids()),
            owner_id: self.place.subnet.owner_id.clone(),
            availability_zone: self.place.subnet.availability_zone,
            size_gib: device.ebs.volume_size_gib,
            snapshot_id: device.ebs.snapshot_id.clone(),
            volume_type: device.ebs.volume_type,
            iops: device.ebs.iops,
            throughput_mibps: device.ebs.throughput_mibps,
            state: VolumeState::Creating,
            create_time: write.now(),
            attachment: Some(VolumeAttachment {
                instance_id: instance_id.clone(),
                device: device.name.clone(),
                state: AttachmentState::Attaching,
                attach_time: write.now(),
                delete_on_termination: device.ebs.delete_on_termination,
            }),
            base_root: device.base.as_ref().map(|base| base.root.clone()),
            base_domain: device.base.as_ref().map(|base| base.domain.clone()),
            checkpoint: None,
        }
    }

    fn network(&self, write: &Write<'_, '_>, index: u32) -> Result<InstanceNetwork, Failure> {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let private_ip =
            *self.place.private_ips.get(at).ok_or_else(|| Failure::internal("too few addresses"))?;
        let mac: [u8; 6] = mac_of(private_ip, random_bytes(write.ids()));
        Ok(InstanceNetwork {
            network_interface_id: NetworkInterfaceId::generate(write.ids()),
            attachment_id: AttachmentId::generate(write.ids()),
            vpc_id: self.place.subnet.vpc_id.clone(),
            subnet_id: self.place.subnet.subnet_id.clone(),
            private_ip,
            public_ip: self.place.public_ips.get(at).copied(),
            mac: mac.map(|byte| format!("{byte:02x}")).join(":"),
            security_group_ids: self.place.groups.iter().map(|group| group.group_id.clone()).collect(),
        })
    }

    fn instance_row(
        &self,
        write: &Write<'_, '_>,
        instance_id: InstanceId,
        launch: (&ReservationId, u32),
        network: InstanceNetwork,
        block_devices: Vec<model::instance::InstanceBlockDevice>,
    ) -> Instance {
        let (req, image) = (self.req, &self.image);
        let (reservation_id, index) = launch;
        Instance {
            instance_id,
            reservation_id: reservation_id.clone(),
            owner_id: self.place.subnet.owner_id.clone(),
            availability_zone: self.place.subnet.availability_zone,
            image_id: image.image_id.clone(),
            instance_type: self.instance_type.name.to_owned(),
            state: InstanceState::Pending,
            state_reason: Some(StateReason::new("pending", "pending")),
            state_transition_reason: String::new(),
            launch_time: write.now(),
            ami_launch_index: index,
            client_token: req.client_token.clone(),
            key_name: req.key_name.clone(),
            public_key: self.key_pair.as_ref().map(|pair| pair.public_key.clone()),
            user_data: self.user_data.clone(),
            network,
            block_devices,
            root_device_name: image.root_device_name.clone().unwrap_or_default(),
            root_device_type: image.root_device_type,
            architecture: image.architecture,
            virtualization_type: image.virtualization_type,
            boot_mode: image.boot_mode,
            current_boot_mode: self
                .instance_type
                .effective_boot_mode(image.boot_mode)
                .unwrap_or(model::image::BootMode::LegacyBios),
            ena_support: image.ena_support,
            sriov_net_support: image.sriov_net_support.clone(),
            tpm_support: image.tpm_support.clone(),
            platform: image.platform.clone(),
            platform_details: image.platform_details.clone(),
            usage_operation: image.usage_operation.clone(),
            metadata_options: checks::metadata_options(req, image),
            instance_initiated_shutdown_behavior: req
                .instance_initiated_shutdown_behavior
                .unwrap_or(ShutdownBehavior::Stop),
            disable_api_termination: req.disable_api_termination.unwrap_or(false),
            disable_api_stop: req.disable_api_stop.unwrap_or(false),
            ebs_optimized: req.ebs_optimized.unwrap_or(false),
            monitoring_enabled: req.monitoring.as_ref().is_some_and(|monitoring| monitoring.enabled),
            generation: 1,
            health: MachineHealth::default(),
            imaging: None,
            shutdown_forced: false,
            terminated_at: None,
        }
    }
}

/// Locally administered, with the private address in it for whoever reads a packet dump.
fn mac_of(private_ip: Ipv4Addr, random: [u8; 1]) -> [u8; 6] {
    let [a, b, c, d] = private_ip.octets();
    let [random] = random;
    [0x02 | (random & 0xf0), random ^ a, a, b, c, d]
}
