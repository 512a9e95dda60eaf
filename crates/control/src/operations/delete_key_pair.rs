//! `DeleteKeyPair`: succeeds also when there is none; instances keep the key that they were launched with.

use model::{Code, KeyPair, KeyPairId};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    key_name: Option<String>,
    key_pair_id: Option<KeyPairId>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
    /// Of the pair that is gone now; None where there was none.
    key_pair_id: Option<KeyPairId>,
}

pub(super) struct DeleteKeyPair;
impl Operation for DeleteKeyPair {
    const ACTION: &'static str = "DeleteKeyPair";
    const ACCESS: Access = Access::Write("ec2:DeleteKeyPair");
    const ERRORS: &'static [Code] = &[Code::InvalidParameterCombination, Code::MissingParameter];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let pair = find(cx, req).await?;
        let mut write = cx.commit_point()?;
        let key_pair_id = pair.as_ref().map(|pair| pair.key_pair_id.clone());
        if let Some(pair) = pair {
            write.key_pair_delete(pair).await?;
        }
        Ok(Response { ok: true, key_pair_id })
    }
}

async fn find(cx: &mut Cx<'_>, req: &Request) -> Result<Option<Granted<KeyPair>>, Failure> {
    match (&req.key_name, &req.key_pair_id) {
        (Some(name), None) => cx.key_pair_if_any(name).await,
        (None, Some(id)) => cx.key_pair_by_id_if_any(id).await,
        (Some(_), Some(_)) => {
            Err(Failure::combination("The parameters KeyName and KeyPairId cannot be used together"))
        }
        (None, None) => Err(Failure::missing("KeyName")),
    }
}

#[cfg(test)]
mod tests {
    use testkit::World;

    #[tokio::test]
    async fn a_pair_goes_by_name_or_by_id() {
        let world = World::new().await;
        for name in ["a", "b"] {
            world.call("CreateKeyPair", &[("KeyName", name), ("KeyType", "ed25519")]).await.ok();
        }
        let ids = world.call("DescribeKeyPairs", &[]).await.ok().values("keyPairId");
        let reply = world.call("DeleteKeyPair", &[("KeyName", "a")]).await.ok();
        assert_eq!((reply.value("return"), reply.value("keyPairId")), ("true".into(), ids[0].clone()));
        world.call("DeleteKeyPair", &[("KeyPairId", &ids[1])]).await.ok();
        assert!(world.call("DescribeKeyPairs", &[]).await.ok().values("keyName").is_empty());
    }

    #[tokio::test]
    async fn an_absent_pair_is_deleted_already() {
        let world = World::new().await;
        let reply = world.call("DeleteKeyPair", &[("KeyName", "never")]).await.ok();
        assert_eq!(reply.value("return"), "true");
        assert!(!reply.has("keyPairId"));
        assert_eq!(world.call("DeleteKeyPair", &[]).await.error_code(), "MissingParameter");
        let both = [("KeyName", "a"), ("KeyPairId", "key-12345678")];
        assert_eq!(world.call("DeleteKeyPair", &both).await.error_code(), "InvalidParameterCombination");
    }

    #[tokio::test]
    async fn anothers_pair_stays() {
        let world = World::new().await;
        world.call("CreateKeyPair", &[("KeyName", "mine"), ("KeyType", "ed25519")]).await.ok();
        let other = world.account("other").await;
        let params = [("KeyName", "mine")];
        world.call_as(&other, testkit::REGION, "DeleteKeyPair", &params).await.ok();
        let dry = world.call("DeleteKeyPair", &[("KeyName", "mine"), ("DryRun", "true")]).await;
        assert_eq!(dry.error_code(), "DryRunOperation");
        assert_eq!(world.call("DescribeKeyPairs", &[]).await.ok().values("keyName"), ["mine"]);
    }
}
