//! `ImportKeyPair`: a public key whose private half never comes here.

use model::{Code, KeyPair, KeyPairId, ResourceType};
use wire::shapes::{Tag, TagSpecification};
use wire::{Blob, FromQuery, ToXml};

use crate::failure::Failure;
use crate::rules::key_material::{PublicKey, imported_fingerprint};
use crate::rules::names::check_key_name;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::tags_for;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    key_name: String,
    /// The line of a `.pub` file.
    public_key_material: Blob,
    #[query("TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    key_fingerprint: String,
    key_name: String,
    key_pair_id: KeyPairId,
    #[xml("tagSet", skip_empty)]
    tags: Vec<Tag>,
}

pub(super) struct ImportKeyPair;
impl Operation for ImportKeyPair {
    const ACTION: &'static str = "ImportKeyPair";
    const ACCESS: Access = Access::Write("ec2:ImportKeyPair");
    const ERRORS: &'static [Code] = &[
        Code::InvalidKeyFormat,
        Code::InvalidKeyPairDuplicate,
        Code::InvalidParameterValue,
        Code::KeyPairLimitExceeded,
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        check_key_name(&req.key_name)?;
        let key = PublicKey::parse(&req.public_key_material.0).map_err(Failure::key_format)?;
        let tags = tags_for(&req.tag_specifications, ResourceType::KeyPair)?;
        cx.may_name_key_pair(&req.key_name).await?;
        let creation = cx.may_create(ResourceType::KeyPair, &tags)?;
        let (owner_id, region) = (cx.account().clone(), cx.region());
        let mut write = cx.commit_point()?;
        let pair = KeyPair {
            key_pair_id: KeyPairId::generate(write.ids()),
            key_name: req.key_name.clone(),
            owner_id,
            region,
            key_type: key.key_type(),
            key_fingerprint: imported_fingerprint(&key),
            // The name takes the place of the comment, as guests of EC2 see it.
            public_key: key.line(&req.key_name),
            create_time: write.now(),
        };
        write.key_pair_insert(&creation, &pair).await?;
        Ok(Response {
            key_fingerprint: pair.key_fingerprint,
            key_name: pair.key_name,
            key_pair_id: pair.key_pair_id,
            tags: tags.iter().map(Tag::from).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use testkit::World;

    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINV27X8nTRGhbxMNyEWKwxtxtgRJR3uCPgHFqwt1XI+q me@x";

    fn material(line: &str) -> String {
        STANDARD.encode(line)
    }

    #[tokio::test]
    async fn an_imported_key_keeps_its_bytes_under_the_pairs_name() {
        let world = World::new().await;
        let material = material(&format!("{LINE}\n"));
        let params = [("KeyName", "mine"), ("PublicKeyMaterial", material.as_str())];
        let made = world.call("ImportKeyPair", &params).await.ok();
        assert_eq!(made.value("keyFingerprint"), "tP9FbgQwMz8dHjWYz/w3CuAXdo5FZEjMowBPr4fYyTc=");
        let params = [("KeyPairId.1", made.value("keyPairId")), ("IncludePublicKey", "true".to_owned())];
        let params: Vec<(&str, &str)> = params.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let listed = world.call("DescribeKeyPairs", &params).await.ok();
        let blob = LINE.split(' ').nth(1).unwrap();
        assert_eq!(listed.value("publicKey"), format!("ssh-ed25519 {blob} mine"));
        assert_eq!(listed.value("keyType"), "ed25519");
    }

    #[tokio::test]
    async fn what_is_no_openssh_public_key_is_refused() {
        let world = World::new().await;
        let before = world.dump().await;
        for text in ["hello", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", "ssh-rsa AAAA x"]
        {
            let material = material(text);
            let params = [("KeyName", "k"), ("PublicKeyMaterial", material.as_str())];
            assert_eq!(
                world.call("ImportKeyPair", &params).await.error_code(),
                "InvalidKey.Format",
                "{text}"
            );
        }
        let params = [("KeyName", "k"), ("PublicKeyMaterial", "not base64!")];
        assert_eq!(world.call("ImportKeyPair", &params).await.error_code(), "InvalidParameterValue");
        assert_eq!(world.call("ImportKeyPair", &[("KeyName", "k")]).await.error_code(), "MissingParameter");
        assert_eq!(world.dump().await, before);
    }

    #[tokio::test]
    async fn an_imported_name_is_taken_once() {
        let world = World::new().await;
        let material = material(LINE);
        let params = [("KeyName", "k"), ("PublicKeyMaterial", material.as_str())];
        world.call("ImportKeyPair", &params).await.ok();
        assert_eq!(world.call("ImportKeyPair", &params).await.error_code(), "InvalidKeyPair.Duplicate");
        let bad_name = [("KeyName", " k"), ("PublicKeyMaterial", material.as_str())];
        assert_eq!(world.call("ImportKeyPair", &bad_name).await.error_code(), "InvalidParameterValue");
    }

    #[tokio::test]
    async fn an_account_has_a_limited_number_of_pairs() {
        let world = World::new().await;
        let material = material(LINE);
        let params = [("KeyName", "k"), ("PublicKeyMaterial", material.as_str())];
        let id = world.call("ImportKeyPair", &params).await.ok().value("keyPairId");
        let mut tx = world.metastore.write().await.unwrap();
        let mut pair = tx.key_pair_get(&id.parse().unwrap()).await.unwrap().unwrap();
        for n in 1..model::limits::KEY_PAIRS_PER_REGION_MAX {
            pair.key_pair_id = model::KeyPairId::generate(world.ids());
            pair.key_name = format!("k{n}");
            tx.key_pair_insert(&pair).await.unwrap();
        }
        tx.commit().await.unwrap();
        let params = [("KeyName", "more"), ("PublicKeyMaterial", material.as_str())];
        assert_eq!(world.call("ImportKeyPair", &params).await.error_code(), "KeyPairLimitExceeded");
        let params = [("KeyName", "more"), ("KeyType", "ed25519")];
        assert_eq!(world.call("CreateKeyPair", &params).await.error_code(), "KeyPairLimitExceeded");
    }
}
