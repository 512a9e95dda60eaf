//! `GetCallerIdentity` of STS: who the signature says the caller is. Nobody needs a permission for it.

use model::{AccountId, Code};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::{Access, Service};
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("UserId")]
    user_id: AccountId,
    #[xml("Account")]
    account: AccountId,
    #[xml("Arn")]
    arn: String,
}

pub(super) struct GetCallerIdentity;
impl Operation for GetCallerIdentity {
    const ACTION: &'static str = "GetCallerIdentity";
    const SERVICE: Service = Service::Sts;
    const ACCESS: Access = Access::Everyone;
    const ERRORS: &'static [Code] = &[];
    type Request = Request;
    type Response = Response;

    /// Every key is its account's root key, whose user id is the account's number.
    async fn run(cx: &mut Cx<'_>, _req: &Request) -> Result<Response, Failure> {
        let account = cx.account().clone();
        Ok(Response { user_id: account.clone(), arn: format!("arn:aws:iam::{account}:root"), account })
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use testkit::{Reply, World, form};

    async fn call(world: &World, account: &testkit::Account, more: &[(&str, &str)]) -> Reply {
        let mut pairs = vec![("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];
        pairs.extend_from_slice(more);
        let body = form(&pairs).into_bytes();
        world.send(account, "us-west-2", "sts", Method::POST, "/", &[], body).await
    }

    #[tokio::test]
    async fn callers_are_told_their_account() {
        let world = World::new().await;
        let other = world.account("other").await;
        for account in [&world.owner, &other] {
            let reply = call(&world, account, &[]).await.ok();
            assert_eq!(reply.value("Account"), account.id.as_str());
            assert_eq!(reply.value("UserId"), account.id.as_str());
            assert_eq!(reply.value("Arn"), format!("arn:aws:iam::{}:root", account.id));
            assert!(reply.text().contains("<GetCallerIdentityResult>"), "{}", reply.text());
            assert!(reply.text().contains("xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\""));
        }
    }

    #[tokio::test]
    async fn errors_have_the_form_of_the_service() {
        let world = World::new().await;
        let reply = call(&world, &world.owner, &[("Colour", "red")]).await;
        assert_eq!(reply.error_code(), "UnknownParameter");
        assert!(reply.text().contains("<Type>Sender</Type>"), "{}", reply.text());
        let as_ec2 = world.call("GetCallerIdentity", &[]).await;
        assert_eq!(as_ec2.error_code(), "InvalidAction");
    }
}
