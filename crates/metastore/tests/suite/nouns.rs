//! Nouns to fill tables with.

use model::image::{Architecture, BootMode, RootDeviceType, VirtualizationType};
use model::instance::{
    HttpTokens, InstanceBlockDevice, InstanceNetwork, MachineHealth, MetadataOptions, ShutdownBehavior,
};
use model::volume::{AttachmentState, VolumeAttachment};
use model::{
    AccountId, AttachmentId, BlockDeviceMapping, DeviceSource, EbsBlockDevice, IdGen, Image, ImageId,
    ImageState, Instance, InstanceId, InstanceState, NetworkInterfaceId, Region, ReservationId,
    SecurityGroupId, Snapshot, SnapshotId, SnapshotOrigin, SnapshotState, SubnetId, Volume, VolumeId,
    VolumeState, VolumeType, VpcId,
};

use crate::START;

pub(crate) fn image(ids: &dyn IdGen, owner: AccountId, region: Region, name: &str) -> Image {
    Image {
        image_id: ImageId::generate(ids),
        image_location: format!("{owner}/{name}"),
        owner_id: owner,
        region,
        name: name.to_owned(),
        description: Some("type paper \u{578b}\u{7d19} \"quoted\"\nsecond line".to_owned()),
        state: ImageState::Available,
        state_reason: None,
        creation_date: START,
        architecture: Architecture::X86_64,
        virtualization_type: VirtualizationType::Hvm,
        root_device_name: Some("/dev/xvda".to_owned()),
        root_device_type: RootDeviceType::Ebs,
        block_device_mappings: vec![mapping(SnapshotId::generate(ids))],
        boot_mode: Some(BootMode::UefiPreferred),
        tpm_support: None,
        imds_support: Some("v2.0".to_owned()),
        ena_support: true,
        sriov_net_support: Some("simple".to_owned()),
        platform: None,
        platform_details: "Linux/UNIX".to_owned(),
        usage_operation: "RunInstances".to_owned(),
        kernel_id: None,
        ramdisk_id: None,
        source_instance_id: None,
        source_image_id: None,
        source_image_region: None,
        launch_permissions: vec![],
        last_launched_time: None,
    }
}

pub(crate) fn mapping(snapshot: SnapshotId) -> BlockDeviceMapping {
    BlockDeviceMapping {
        device_name: "/dev/xvda".to_owned(),
        source: DeviceSource::Ebs(EbsBlockDevice {
            snapshot_id: Some(snapshot),
            volume_size_gib: 8,
            volume_type: VolumeType::Gp3,
            iops: Some(3000),
            throughput_mibps: Some(125),
            delete_on_termination: true,
            encrypted: false,
        }),
    }
}

pub(crate) fn snapshot(ids: &dyn IdGen, owner: AccountId, region: Region) -> Snapshot {
    Snapshot {
        snapshot_id: SnapshotId::generate(ids),
        owner_id: owner,
        region,
        volume_id: VolumeId::generate(ids),
        state: SnapshotState::Pending,
        state_message: None,
        start_time: START,
        completion_time: None,
        progress_percent: 0,
        description: String::new(),
        volume_size_gib: 8,
        full_snapshot_size_bytes: None,
        origin: SnapshotOrigin::Volume { checkpoint: None },
        domain: "domain-1".to_owned(),
        root: None,
    }
}

pub(crate) fn volume(ids: &dyn IdGen, owner: AccountId, region: Region) -> Volume {
    Volume {
        volume_id: VolumeId::generate(ids),
        owner_id: owner,
        availability_zone: region.zones().next().unwrap(),
        size_gib: 8,
        snapshot_id: None,
        volume_type: VolumeType::Gp3,
        iops: Some(3000),
        throughput_mibps: Some(125),
        state: VolumeState::Available,
        create_time: START,
        attachment: None,
        base_root: None,
        base_domain: None,
        checkpoint: None,
    }
}

pub(crate) fn attachment(instance: &InstanceId) -> VolumeAttachment {
    VolumeAttachment {
        instance_id: instance.clone(),
        device: "/dev/sdf".to_owned(),
        state: AttachmentState::Attached,
        attach_time: START,
        delete_on_termination: false,
    }
}

/// An instance at 172.31.0.`host` with the public address 127.0.1.`host`.
pub(crate) fn instance(ids: &dyn IdGen, owner: AccountId, subnet: &SubnetId, host: u8) -> Instance {
    let region: Region = crate::tokyo();
    Instance {
        instance_id: InstanceId::generate(ids),
        reservation_id: ReservationId::generate(ids),
        owner_id: owner,
        availability_zone: region.zones().next().unwrap(),
        image_id: ImageId::generate(ids),
        instance_type: "t3.micro".to_owned(),
        state: InstanceState::Running,
        state_reason: None,
        state_transition_reason: String::new(),
        launch_time: START,
        ami_launch_index: u32::from(host),
        client_token: None,
        key_name: Some("me".to_owned()),
        public_key: Some("ssh-ed25519 AAAA me".to_owned()),
        user_data: None,
        network: InstanceNetwork {
            network_interface_id: NetworkInterfaceId::generate(ids),
            attachment_id: AttachmentId::generate(ids),
            vpc_id: VpcId::generate(ids),
            subnet_id: subnet.clone(),
            private_ip: [172, 31, 0, host].into(),
            public_ip: Some([127, 0, 1, host].into()),
            mac: "02:00:00:00:00:01".to_owned(),
            security_group_ids: vec![SecurityGroupId::generate(ids)],
        },
        block_devices: vec![InstanceBlockDevice {
            device_name: "/dev/xvda".to_owned(),
            volume_id: VolumeId::generate(ids),
            attach_time: START,
            delete_on_termination: true,
        }],
        root_device_name: "/dev/xvda".to_owned(),
        root_device_type: RootDeviceType::Ebs,
        architecture: Architecture::X86_64,
        virtualization_type: VirtualizationType::Hvm,
        boot_mode: None,
        current_boot_mode: BootMode::LegacyBios,
        ena_support: true,
        sriov_net_support: None,
        tpm_support: None,
        platform: None,
        platform_details: "Linux/UNIX".to_owned(),
        usage_operation: "RunInstances".to_owned(),
        metadata_options: MetadataOptions {
            http_endpoint_enabled: true,
            http_tokens: HttpTokens::Optional,
            http_put_response_hop_limit: 1,
            instance_metadata_tags_enabled: false,
        },
        instance_initiated_shutdown_behavior: ShutdownBehavior::Stop,
        disable_api_termination: false,
        disable_api_stop: false,
        ebs_optimized: false,
        monitoring_enabled: false,
        generation: 1,
        health: MachineHealth::default(),
        imaging: None,
        shutdown_forced: false,
        terminated_at: None,
    }
}
