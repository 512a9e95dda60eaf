//! An account with one of everything, and requests whose values name its parts: `ImageId={image}`.

use std::collections::BTreeMap;

use control::Listed;
use http::Method;
use model::key_pair::KeyType;
use model::limits::{KEY_PAIRS_PER_REGION_MAX, LAUNCH_PERMISSIONS_MAX, SECURITY_GROUPS_PER_VPC_MAX};
use model::{KeyPair, KeyPairId, LaunchPermission, SecurityGroup, SecurityGroupId};
use testkit::{Account, REGION, Reply, World, form};
use wire::member::{Kind, Member};

/// More than a smallest page of everything that is listed.
const MANY: usize = 6;

/// The line of a `.pub` file, as `ImportKeyPair` takes it.
const PUBLIC_KEY_BASE64: &str = "c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUFFQ0F3UUZCZ2NJQ1FvTERBME9EeEFSRWhNVUZSWVhHQmthR3h3ZEhoOGcgc29tZWJvZHlAZXhhbXBsZQ==";

pub(crate) type Params = Vec<(String, String)>;

pub(crate) struct Scene {
    pub(crate) world: World,
    /// Owns nothing, and nothing is shared with it.
    pub(crate) stranger: Account,
    names: BTreeMap<&'static str, String>,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        let stranger = world.account("stranger").await;
        let mut scene = Self { world, stranger, names: BTreeMap::new() };
        scene.own_resources().await;
        scene.resources_of_another().await;
        scene.network().await;
        scene.unfinished_resources().await;
        scene
    }

    async fn own_resources(&mut self) {
        let image = self.world.seed_image("base", &[1; 8192]).await;
        let snapshot = self.world.seed_snapshot(1, &[2; 4096]).await;
        let gone = self.world.seed_image("gone", b"gone").await;
        self.world.call("DeregisterImage", &[("ImageId", &gone)]).await.ok();
        let running = self.launch(&image, &[]).await;
        let stopped = self.launch(&image, &[]).await;
        let protected = [("DisableApiStop", "true"), ("DisableApiTermination", "true")];
        let protected = self.launch(&image, &protected).await;
        let terminated = self.launch(&image, &[]).await;
        let imaging = self.launch(&image, &[]).await;
        self.world.settle().await;
        self.world.call("StopInstances", &[("InstanceId.1", &stopped)]).await.ok();
        self.world.call("TerminateInstances", &[("InstanceId.1", &terminated)]).await.ok();
        self.world.settle().await;
        let described = self.world.call("DescribeInstances", &[("InstanceId.1", &running)]).await.ok();
        let image_reply = self.world.call("DescribeImages", &[("ImageId.1", &image)]).await.ok();
        let key = [("KeyName", "builder"), ("PublicKeyMaterial", PUBLIC_KEY_BASE64)];
        let key = self.world.call("ImportKeyPair", &key).await.ok();
        self.names.extend([
            ("key_pair", "builder".to_owned()),
            ("key_pair_id", key.value("keyPairId")),
            ("image", image),
            ("image_snapshot", image_reply.value("snapshotId")),
            ("snapshot", snapshot.to_string()),
            ("deregistered_image", gone),
            ("instance", running),
            ("stopped_instance", stopped),
            ("protected_instance", protected),
            ("terminated_instance", terminated),
            ("imaging_instance", imaging),
            ("volume", described.value("volumeId")),
        ]);
        for n in 0..MANY {
            let snapshot = self.world.seed_snapshot(1, format!("content {n}").as_bytes()).await;
            let name = format!("listed-{n}");
            self.register(&name, snapshot.as_str()).await;
            let image = self.names["image"].clone();
            let launched = self.launch(&image, &[]).await;
            let tag = [("ResourceId.1", launched.as_str()), ("Tag.1.Key", "listed"), ("Tag.1.Value", "yes")];
            self.world.call("CreateTags", &tag).await.ok();
        }
        let image = self.names["image"].clone();
        let tag = [("ResourceId.1", image.as_str()), ("Tag.1.Key", "stage"), ("Tag.1.Value", "test")];
        self.world.call("CreateTags", &tag).await.ok();
        self.world.settle().await;
    }

    async fn register(&self, name: &str, snapshot: &str) -> String {
        let params = [
            ("Name", name),
            ("Architecture", "x86_64"),
            ("VirtualizationType", "hvm"),
            ("EnaSupport", "true"),
            ("BlockDeviceMapping.1.DeviceName", "/dev/sda1"),
            ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot),
        ];
        self.world.call("RegisterImage", &params).await.ok().value("imageId")
    }

    async fn launch(&self, image: &str, more: &[(&str, &str)]) -> String {
        let mut params =
            vec![("ImageId", image), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        params.extend_from_slice(more);
        self.world.call("RunInstances", &params).await.ok().value("instanceId")
    }

    /// One image that is shared with the first account, and one that is not.
    async fn resources_of_another(&mut self) {
        let other = self.world.account("other").await;
        let shared = self.world.seed_image_of(&other, "shared", b"shared").await;
        let owner = self.world.owner.id.to_string();
        let share = [("ImageId", shared.as_str()), ("LaunchPermission.Add.1.UserId", owner.as_str())];
        self.world.call_as(&other, REGION, "ModifyImageAttribute", &share).await.ok();
        let foreign = self.world.seed_image_of(&other, "foreign", b"foreign").await;
        let snapshot = self.world.seed_snapshot_of(&other, 1, b"foreign").await;
        self.names.extend([
            ("owner", owner),
            ("other", other.id.to_string()),
            ("shared_image", shared),
            ("foreign_image", foreign),
            ("foreign_snapshot", snapshot.to_string()),
        ]);
    }

    async fn network(&mut self) {
        let reply = self.world.call("DescribeInstances", &[]).await.ok();
        for (name, element) in [("vpc", "vpcId"), ("subnet", "subnetId"), ("group", "groupId")] {
            self.names.insert(name, reply.value(element));
        }
        for n in 0..MANY {
            self.security_group(&format!("listed-{n}")).await;
        }
        let (spare, peer) = (self.security_group("spare").await, self.security_group("peer").await);
        let from_anywhere =
            [("IpProtocol", "tcp"), ("FromPort", "22"), ("ToPort", "22"), ("CidrIp", "10.0.0.0/8")];
        let params = [&[("GroupId", spare.as_str())][..], &from_anywhere].concat();
        self.world.call("AuthorizeSecurityGroupIngress", &params).await.ok();
        let from_peer = [
            ("GroupId", spare.as_str()),
            ("IpPermissions.1.IpProtocol", "-1"),
            ("IpPermissions.1.Groups.1.GroupId", peer.as_str()),
        ];
        self.world.call("AuthorizeSecurityGroupIngress", &from_peer).await.ok();
        self.names.extend([("spare_group", spare), ("peer_group", peer)]);
    }

    async fn security_group(&self, name: &str) -> String {
        let params = [("GroupName", name), ("GroupDescription", "of the scene")];
        self.world.call("CreateSecurityGroup", &params).await.ok().value("groupId")
    }

    /// Last, because nothing is settled after it.
    async fn unfinished_resources(&mut self) {
        let imaging = self.names["imaging_instance"].clone();
        let params = [("InstanceId", imaging.as_str()), ("Name", "being-made")];
        let pending = self.world.call("CreateImage", &params).await.ok();
        self.names.insert("pending_image", pending.value("imageId"));
        let volume = self.names["volume"].clone();
        let pending = self.world.call("CreateSnapshot", &[("VolumeId", &volume)]).await.ok();
        self.names.insert("pending_snapshot", pending.value("snapshotId"));
        let starting = self.launch(&self.names["image"], &[]).await;
        let described = self.world.call("DescribeInstances", &[("InstanceId.1", &starting)]).await.ok();
        self.names.insert("starting_instance", starting);
        self.names.insert("creating_volume", described.value("volumeId"));
    }

    /// As many key pairs, security groups in one VPC, and launch permissions of `{image}` as there may be.
    pub(crate) async fn fill(&self) {
        let mut tx = self.world.metastore.write().await.expect("the database in memory works");
        let (owner_id, region) = (self.world.owner.id.clone(), REGION.parse().expect("a region"));
        for n in 0..KEY_PAIRS_PER_REGION_MAX {
            let pair = KeyPair {
                key_pair_id: KeyPairId::generate(self.world.ids()),
                key_name: format!("full-{n}"),
                owner_id: owner_id.clone(),
                region,
                key_type: KeyType::Ed25519,
                key_fingerprint: String::new(),
                public_key: String::new(),
                create_time: self.world.now(),
            };
            tx.key_pair_insert(&pair).await.expect("the name is free");
        }
        for n in 0..SECURITY_GROUPS_PER_VPC_MAX {
            let group = SecurityGroup {
                group_id: SecurityGroupId::generate(self.world.ids()),
                group_name: format!("full-{n}"),
                description: String::new(),
                owner_id: owner_id.clone(),
                region,
                vpc_id: self.names["vpc"].parse().expect("the scene holds ids"),
                ingress: Vec::new(),
                egress: Vec::new(),
            };
            tx.security_group_insert(&group).await.expect("the name is free");
        }
        let id = self.names["image"].parse().expect("the scene holds ids");
        let mut image = tx.image_get(&id).await.expect("the database in memory works").expect("it is there");
        let account = |n: usize| format!("{n:012}").parse().expect("twelve digits");
        image.launch_permissions =
            (0..LAUNCH_PERMISSIONS_MAX).map(|n| LaunchPermission::Account(account(n))).collect();
        tx.image_update(&image).await.expect("the database in memory works");
        tx.commit().await.expect("the database in memory works");
    }

    /// `Name=web&ImageId={image}` with the names of this scene's resources put in.
    pub(crate) fn params(&self, text: &str) -> Params {
        Self::filled(text, |name| {
            let value = self.names.get(name);
            value.unwrap_or_else(|| panic!("the scene has no {{{name}}}")).clone()
        })
    }

    /// The same with names that nothing ever had.
    pub(crate) fn params_of_nothing(&self, text: &str) -> Params {
        Self::filled(text, |name| self.absent(name))
    }

    fn filled(text: &str, value_of: impl Fn(&str) -> String) -> Params {
        let fill = |value: &str| {
            let mut filled = String::new();
            let mut rest = value;
            while let Some((before, after)) = rest.split_once('{') {
                let (name, after) = after.split_once('}').expect("a name in braces ends");
                filled.push_str(before);
                filled.push_str(&value_of(name));
                rest = after;
            }
            filled + rest
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name.to_owned(), fill(value))
            })
            .collect()
    }

    /// The text with this scene's names and their absent twins written as what they stand for.
    pub(crate) fn anonymous(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.names {
            let shown = format!("{{{name}}}");
            text = text.replace(&self.absent(name), &shown).replace(value.as_str(), &shown);
        }
        text
    }

    /// An id of the same kind, or a name, that nothing ever had.
    fn absent(&self, name: &str) -> String {
        let value = &self.names[name];
        let number = self.names.keys().position(|other| *other == name).unwrap_or_default();
        match value.rsplit_once('-') {
            Some((prefix, hex)) if hex.len() == 17 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                format!("{prefix}-0dead{number:012x}")
            }
            _ if value.bytes().all(|b| b.is_ascii_digit()) => value.clone(),
            _ => format!("{value}-that-never-was"),
        }
    }

    /// Whether the text names anything of this scene.
    pub(crate) fn is_named_in(&self, text: &str) -> bool {
        self.names.values().any(|value| text.contains(value.as_str()))
    }

    pub(crate) async fn call(&self, listed: &Listed, params: &[(String, String)]) -> Reply {
        self.call_as(&self.world.owner, REGION, listed, params).await
    }

    pub(crate) async fn call_as(
        &self,
        account: &Account,
        region: &str,
        listed: &Listed,
        params: &[(String, String)],
    ) -> Reply {
        self.world.answer(self.signed(account, region, listed, params)).await
    }

    pub(crate) fn signed(
        &self,
        account: &Account,
        region: &str,
        listed: &Listed,
        params: &[(String, String)],
    ) -> control::Call {
        let version = if listed.service == "sts" { "2011-06-15" } else { "2016-11-15" };
        let mut pairs = vec![("Action", listed.action), ("Version", version)];
        pairs.extend(params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let body = form(&pairs).into_bytes();
        self.world.signed(account, region, listed.service, Method::POST, "/", &[], body)
    }
}

/// Without what differs between any two replies.
pub(crate) fn without_request_id(reply: &Reply) -> String {
    let mut text = reply.text().to_owned();
    for element in ["requestId", "RequestID", "RequestId"] {
        for id in reply.values(element) {
            text = text.replace(&id, "-");
        }
    }
    text
}

/// Every action of the service, with its line of `samples.rs`; one without a line fails there.
pub(crate) fn samples() -> Vec<(Listed, &'static str)> {
    let sample_of = |action| crate::samples::SAMPLES.iter().find(|(sampled, _)| *sampled == action);
    let all = control::registry().into_iter();
    all.filter_map(|listed| sample_of(listed.action).map(|(_, text)| (listed, *text))).collect()
}

/// The members of a request with those of flattened structures among them.
pub(crate) fn plain(members: &'static [Member]) -> Vec<Member> {
    let mut found = Vec::new();
    for member in members {
        match member.kind {
            Kind::Flattened(inner) => found.extend(plain(inner)),
            Kind::Scalar(_) | Kind::Structure(_) | Kind::List { .. } => found.push(*member),
        }
    }
    found
}

pub(crate) fn has_parameter(listed: &Listed, name: &str) -> bool {
    plain(listed.request).iter().any(|member| member.name == name)
}
