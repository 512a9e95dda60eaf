//! `DescribeKeyPairs`: the key pairs of the account, with the public keys for those who ask.

use model::{Code, KeyPair, KeyPairId};
use wire::filter::{Filters, Table, one};
use wire::shapes::{self, Filter};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::{Tagged, tag_pairs};

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("KeyName")]
    key_names: Vec<String>,
    #[query("KeyPairId")]
    key_pair_ids: Vec<KeyPairId>,
    include_public_key: Option<bool>,
    #[query("Filter")]
    filters: Vec<Filter>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("keySet")]
    key_pairs: Vec<shapes::KeyPair>,
}

const FILTERS: Table<Tagged<Granted<KeyPair>>> = Table {
    names: &[
        ("fingerprint", |k| one(&k.item.key_fingerprint)),
        ("key-name", |k| one(&k.item.key_name)),
        ("key-pair-id", |k| one(&k.item.key_pair_id)),
    ],
    tags: Some(|k| tag_pairs(&k.tags)),
};

pub(super) struct DescribeKeyPairs;
impl Operation for DescribeKeyPairs {
    const ACTION: &'static str = "DescribeKeyPairs";
    const ACCESS: Access = Access::Read("ec2:DescribeKeyPairs");
    const ERRORS: &'static [Code] = &[Code::InvalidKeyPairNotFound];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let pairs = named(cx, req).await?;
        let mut tagged = cx.tagged(pairs, |k| k.key_pair_id.as_str()).await?;
        tagged.retain(|k| filters.matches(k));
        let with_public_key = req.include_public_key == Some(true);
        let shape = |k: &Tagged<Granted<KeyPair>>| shapes::KeyPair::of(&k.item, &k.tags, with_public_key);
        Ok(Response { key_pairs: tagged.iter().map(shape).collect() })
    }
}

/// Those that the request names, each once; all where it names none.
async fn named(cx: &mut Cx<'_>, req: &Request) -> Result<Vec<Granted<KeyPair>>, Failure> {
    if req.key_names.is_empty() && req.key_pair_ids.is_empty() {
        return cx.key_pairs().await;
    }
    let mut pairs = Vec::new();
    for name in &req.key_names {
        pairs.push(cx.key_pair(name).await?);
    }
    for id in &req.key_pair_ids {
        pairs.push(cx.key_pair_by_id(id).await?);
    }
    pairs.sort_by(|a, b| a.key_name.cmp(&b.key_name));
    pairs.dedup_by(|a, b| a.key_name == b.key_name);
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use testkit::World;

    async fn world_with(names: &[&str]) -> World {
        let world = World::new().await;
        for name in names {
            world.call("CreateKeyPair", &[("KeyName", name), ("KeyType", "ed25519")]).await.ok();
        }
        world
    }

    #[tokio::test]
    async fn pairs_are_listed_by_name_without_their_keys() {
        let world = world_with(&["b", "a", "c"]).await;
        let reply = world.call("DescribeKeyPairs", &[]).await.ok();
        assert_eq!(reply.values("keyName"), ["a", "b", "c"]);
        assert_eq!(reply.values("createTime").len(), 3);
        assert!(!reply.has("publicKey"));
        let reply = world.call("DescribeKeyPairs", &[("KeyName.1", "c"), ("KeyName.2", "a")]).await.ok();
        assert_eq!(reply.values("keyName"), ["a", "c"]);
    }

    #[tokio::test]
    async fn filters_narrow_the_list() {
        let world = world_with(&["one", "two"]).await;
        let all = world.call("DescribeKeyPairs", &[]).await.ok();
        for (name, values) in [
            ("key-name", vec!["t*".to_owned()]),
            ("key-pair-id", vec![all.values("keyPairId").remove(1)]),
            ("fingerprint", vec![all.values("keyFingerprint").remove(1)]),
        ] {
            let value = values.first().unwrap().as_str();
            let params = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
            let reply = world.call("DescribeKeyPairs", &params).await.ok();
            assert_eq!(reply.values("keyName"), ["two"], "{name}");
        }
        let params = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "x")];
        assert_eq!(world.call("DescribeKeyPairs", &params).await.error_code(), "InvalidParameterValue");
    }

    #[tokio::test]
    async fn a_missing_pair_is_named_and_anothers_is_missing() {
        let world = world_with(&["mine"]).await;
        let reply = world.call("DescribeKeyPairs", &[("KeyName.1", "gone")]).await;
        assert_eq!(reply.error_code(), "InvalidKeyPair.NotFound");
        assert_eq!(reply.error_message(), "The key pair 'gone' does not exist");
        let id = world.call("DescribeKeyPairs", &[]).await.ok().value("keyPairId");
        let other = world.account("other").await;
        let params = [("KeyPairId.1", id.as_str())];
        let reply = world.call_as(&other, testkit::REGION, "DescribeKeyPairs", &params).await;
        assert_eq!(reply.error_code(), "InvalidKeyPair.NotFound");
        assert_eq!(world.call("DescribeKeyPairs", &params).await.ok().values("keyName"), ["mine"]);
    }
}
