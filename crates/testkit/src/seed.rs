//! Resources that a test starts from, made the short way: rows and stored bytes without a client's calls.

use blockstore::DomainSecret;
use control::ports::{Host, VolumeBase, VolumeSpec};
use model::{
    AccountId, Region, Snapshot, SnapshotId, SnapshotOrigin, SnapshotState, Timestamp, Volume, VolumeId,
    VolumeState, VolumeType,
};

use crate::world::{Account, DOMAIN_MASTER, REGION, World};

impl World {
    /// A completed snapshot of the first account: `content` from the start of a volume of `size_gib`.
    pub async fn seed_snapshot(&self, size_gib: u32, content: &[u8]) -> SnapshotId {
        self.seed_snapshot_of(&self.owner.clone(), size_gib, content).await
    }

    pub async fn seed_snapshot_of(&self, account: &Account, size_gib: u32, content: &[u8]) -> SnapshotId {
        let region: Region = REGION.parse().expect("the default region exists");
        let name = format!("{}.{region}", account.id);
        let secret = self.seed_domain(&account.id, region, &name).await;
        let domain = self.store.domain(&name, &secret);
        let mut writer =
            domain.writer(None, u64::from(size_gib) << 30).await.expect("the store in memory takes writes");
        let mut padded = content.to_vec();
        padded.resize(content.len().next_multiple_of(4096), 0);
        writer.write(0, &padded).await.expect("the store in memory takes writes");
        let (root, _) = writer.commit().await.expect("the store in memory takes writes");
        let snapshot = Snapshot {
            snapshot_id: SnapshotId::generate(self.ids()),
            owner_id: account.id.clone(),
            region,
            volume_id: "vol-ffffffff".parse().expect("the placeholder is an id"),
            state: SnapshotState::Completed,
            state_message: None,
            start_time: self.now(),
            completion_time: Some(self.now()),
            progress_percent: 100,
            description: String::new(),
            volume_size_gib: size_gib,
            full_snapshot_size_bytes: Some(padded.len() as u64),
            origin: SnapshotOrigin::Volume { checkpoint: None },
            domain: name,
            root: Some(root.to_string()),
        };
        domain.publish(snapshot.snapshot_id.as_str(), &root, None).await.expect("a fresh key is free");
        let mut tx = self.metastore.write().await.expect("the database in memory works");
        tx.snapshot_insert(&snapshot).await.expect("a fresh id is free");
        tx.commit().await.expect("the database in memory works");
        snapshot.snapshot_id
    }

    /// An available x86_64 image of the first account, 1 GiB, with `content` at the start of its root volume.
    pub async fn seed_image(&self, name: &str, content: &[u8]) -> String {
        self.seed_image_of(&self.owner.clone(), name, content).await
    }

    pub async fn seed_image_of(&self, account: &Account, name: &str, content: &[u8]) -> String {
        let snapshot = self.seed_snapshot_of(account, 1, content).await;
        let params = [
            ("Name", name),
            ("Architecture", "x86_64"),
            ("VirtualizationType", "hvm"),
            ("EnaSupport", "true"),
            ("RootDeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot.as_str()),
        ];
        self.call_as(account, REGION, "RegisterImage", &params).await.ok().value("imageId")
    }

    /// A running instance of the image.
    pub async fn seed_instance(&self, image: &str) -> String {
        let params = [("ImageId", image), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        let id = self.call("RunInstances", &params).await.ok().value("instanceId");
        self.settle().await;
        id
    }

    /// An available volume of the first account, empty or of a snapshot, whoever owns that.
    pub async fn seed_volume(&self, size_gib: u32, of: Option<&SnapshotId>) -> VolumeId {
        let mut tx = self.metastore.write().await.expect("the database in memory works");
        let snapshot = match of {
            Some(id) => tx.snapshot_get(id).await.expect("the database in memory works"),
            None => None,
        };
        let base_root = snapshot.as_ref().and_then(|snapshot| snapshot.root.clone());
        let base_domain = snapshot.as_ref().map(|snapshot| snapshot.domain.clone());
        let volume = Volume {
            volume_id: VolumeId::generate(self.ids()),
            owner_id: self.owner.id.clone(),
            availability_zone: format!("{REGION}a").parse().expect("the default region has a zone a"),
            size_gib,
            snapshot_id: of.cloned(),
            volume_type: VolumeType::Gp3,
            iops: Some(3000),
            throughput_mibps: Some(125),
            state: VolumeState::Available,
            create_time: self.now(),
            attachment: None,
            base_root: base_root.clone(),
            base_domain: base_domain.clone(),
            checkpoint: None,
        };
        tx.volume_insert(&volume).await.expect("a fresh id is free");
        tx.commit().await.expect("the database in memory works");
        let base =
            base_root.zip(base_domain).map(|(root, domain)| VolumeBase { root, domain, secret: [0; 32] });
        let key = volume.volume_id.to_string();
        let spec = VolumeSpec { key, size_bytes: u64::from(size_gib) << 30, base };
        self.host.volume_create(spec).await.expect("the host in memory makes volumes");
        volume.volume_id
    }

    async fn seed_domain(&self, account: &AccountId, region: Region, name: &str) -> DomainSecret {
        let mut tx = self.metastore.write().await.expect("the database in memory works");
        if let Some(row) = tx.domain_get(name).await.expect("the database in memory works") {
            return DomainSecret::new(row.secret);
        }
        let secret = *DomainSecret::derive(&DOMAIN_MASTER, name).expose();
        let row = metastore::Domain { domain: name.to_owned(), account_id: account.clone(), region, secret };
        tx.domain_insert(&row).await.expect("the name is free");
        tx.commit().await.expect("the database in memory works");
        DomainSecret::new(secret)
    }

    /// The first bytes of a completed snapshot, read back from the store.
    pub async fn snapshot_content(&self, id: &SnapshotId, len: usize) -> Vec<u8> {
        self.snapshot_part(id, 0, len).await
    }

    pub async fn snapshot_part(&self, id: &SnapshotId, offset_bytes: u64, len: usize) -> Vec<u8> {
        let mut tx = self.metastore.read().await.expect("the database in memory works");
        let snapshot =
            tx.snapshot_get(id).await.expect("the database in memory works").expect("the snapshot exists");
        let row = tx.domain_get(&snapshot.domain).await.expect("the database in memory works");
        let secret = DomainSecret::new(row.expect("the snapshot's domain exists").secret);
        let root = snapshot.root.expect("the snapshot is completed").parse().expect("the row holds a root");
        let reader =
            self.store.domain(&snapshot.domain, &secret).reader(&root).await.expect("the root is whole");
        let mut bytes = vec![0; len];
        reader.read_at(offset_bytes, &mut bytes).await.expect("the content is whole");
        bytes
    }

    /// Whether the store has an object under the snapshot's name, in the first account's own domain.
    pub async fn is_published(&self, id: &SnapshotId) -> bool {
        let name = format!("{}.{REGION}", self.owner.id);
        let mut tx = self.metastore.read().await.expect("the database in memory works");
        let Some(row) = tx.domain_get(&name).await.expect("the database in memory works") else {
            return false;
        };
        self.store.domain(&name, &DomainSecret::new(row.secret)).load(id.as_str()).await.is_ok()
    }

    pub fn now(&self) -> Timestamp {
        use model::Clock;
        self.clock.now()
    }
}
