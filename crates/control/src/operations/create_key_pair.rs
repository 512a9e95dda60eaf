//! `CreateKeyPair`: a new key pair whose private half is shown this once and never kept.

use model::key_pair::KeyType;
use model::{Code, KeyPair, KeyPairId, ResourceType, string_enum};
use wire::shapes::{Tag, TagSpecification};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::rules::key_material;
use crate::rules::names::check_key_name;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::tags_for;

string_enum! {
    enum KeyFormat {
        Pem = "pem",
        /// PuTTY's own format.
        Ppk = "ppk",
    }
}

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    key_name: String,
    key_type: Option<KeyType>,
    key_format: Option<KeyFormat>,
    #[query("TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    key_pair_id: KeyPairId,
    #[xml("tagSet", skip_empty)]
    tags: Vec<Tag>,
    key_name: String,
    key_fingerprint: String,
    key_material: String,
}

pub(super) struct CreateKeyPair;
impl Operation for CreateKeyPair {
    const ACTION: &'static str = "CreateKeyPair";
    const ACCESS: Access = Access::Write("ec2:CreateKeyPair");
    const ERRORS: &'static [Code] = &[
        Code::InvalidKeyPairDuplicate,
        Code::InvalidParameterValue,
        Code::KeyPairLimitExceeded,
        Code::UnsupportedOperation,
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        check_key_name(&req.key_name)?;
        if req.key_format == Some(KeyFormat::Ppk) {
            return Err(Failure::unsupported("KeyFormat ppk"));
        }
        let tags = tags_for(&req.tag_specifications, ResourceType::KeyPair)?;
        cx.may_name_key_pair(&req.key_name).await?;
        let creation = cx.may_create(ResourceType::KeyPair, &tags)?;
        let (owner_id, region) = (cx.account().clone(), cx.region());
        let mut write = cx.commit_point()?;
        let key_type = req.key_type.unwrap_or(KeyType::Rsa);
        let key = key_material::generate(key_type, write.ids());
        let pair = KeyPair {
            key_pair_id: KeyPairId::generate(write.ids()),
            key_name: req.key_name.clone(),
            owner_id,
            region,
            key_type,
            key_fingerprint: key.fingerprint,
            public_key: key.public_key.line(&req.key_name),
            create_time: write.now(),
        };
        write.key_pair_insert(&creation, &pair).await?;
        Ok(Response {
            key_pair_id: pair.key_pair_id,
            tags: tags.iter().map(Tag::from).collect(),
            key_name: pair.key_name,
            key_fingerprint: pair.key_fingerprint,
            key_material: key.private_key_pem,
        })
    }
}

#[cfg(test)]
mod tests {
    use testkit::World;

    #[tokio::test]
    async fn the_private_key_is_shown_once_and_not_kept() {
        let world = World::new().await;
        let made = world.call("CreateKeyPair", &[("KeyName", "builder")]).await.ok();
        assert_eq!(made.value("keyName"), "builder");
        assert!(made.value("keyPairId").starts_with("key-0"));
        let material = made.value("keyMaterial");
        assert!(material.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
        let secret_line = material.lines().nth(8).unwrap().to_owned();
        assert!(!world.dump().await.contains(&secret_line));
        let params = [("KeyName.1", "builder"), ("IncludePublicKey", "true")];
        let listed = world.call("DescribeKeyPairs", &params).await.ok();
        assert_eq!(listed.value("keyFingerprint"), made.value("keyFingerprint"));
        assert!(listed.value("publicKey").starts_with("ssh-rsa AAAA"));
        assert_eq!(listed.value("keyType"), "rsa");
    }

    #[tokio::test]
    async fn an_ed25519_pair_comes_in_opensshs_form_with_its_tags() {
        let world = World::new().await;
        let params = [
            ("KeyName", "k"),
            ("KeyType", "ed25519"),
            ("KeyFormat", "pem"),
            ("TagSpecification.1.ResourceType", "key-pair"),
            ("TagSpecification.1.Tag.1.Key", "team"),
            ("TagSpecification.1.Tag.1.Value", "image"),
        ];
        let made = world.call("CreateKeyPair", &params).await.ok();
        assert!(made.value("keyMaterial").starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert_eq!((made.value("key"), made.value("value")), ("team".into(), "image".into()));
        let listed =
            world.call("DescribeKeyPairs", &[("Filter.1.Name", "tag:team"), ("Filter.1.Value.1", "image")]);
        assert_eq!(listed.await.ok().values("keyName"), ["k"]);
    }

    #[tokio::test]
    async fn a_name_is_taken_once_in_an_account_and_region() {
        let world = World::new().await;
        let params = [("KeyName", "k"), ("KeyType", "ed25519")];
        world.call("CreateKeyPair", &params).await.ok();
        let again = world.call("CreateKeyPair", &params).await;
        assert_eq!(again.error_code(), "InvalidKeyPair.Duplicate");
        assert_eq!(again.error_message(), "The keypair 'k' already exists.");
        world.call_as(&world.owner, "eu-west-1", "CreateKeyPair", &params).await.ok();
        let other = world.account("other").await;
        world.call_as(&other, testkit::REGION, "CreateKeyPair", &params).await.ok();
    }

    #[tokio::test]
    async fn what_cannot_be_made_is_refused_and_a_dry_run_makes_nothing() {
        let world = World::new().await;
        let before = world.dump().await;
        for (params, code) in [
            (vec![("KeyName", "k"), ("KeyFormat", "ppk")], "UnsupportedOperation"),
            (vec![("KeyName", "k"), ("KeyFormat", "der")], "InvalidParameterValue"),
            (vec![("KeyName", "k"), ("KeyType", "dsa")], "InvalidParameterValue"),
            (vec![("KeyName", "k\nssh-rsa AAAA")], "InvalidParameterValue"),
            (vec![("KeyName", "")], "MissingParameter"),
            (vec![("KeyName", "k"), ("DryRun", "true")], "DryRunOperation"),
        ] {
            assert_eq!(world.call("CreateKeyPair", &params).await.error_code(), code, "{params:?}");
        }
        assert_eq!(world.dump().await, before);
    }
}
