//! `GetConsoleOutput`: the newest 64 KiB of the serial console, also of a stopped instance.

use model::limits::CONSOLE_OUTPUT_BYTES_MAX;
use model::{Code, InstanceId, Timestamp};
use wire::{Blob, FromQuery, ToXml};

use crate::failure::Failure;
use crate::ports::Host;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    instance_id: InstanceId,
    /// The newest output instead of that of the last boot: here it always is the newest.
    #[expect(dead_code, reason = "with and without it the answer is the same")]
    latest: Option<bool>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    instance_id: InstanceId,
    timestamp: Timestamp,
    output: Blob,
}

pub(super) struct GetConsoleOutput;
impl Operation for GetConsoleOutput {
    const ACTION: &'static str = "GetConsoleOutput";
    const ACCESS: Access = Access::Read("ec2:GetConsoleOutput");
    const ERRORS: &'static [Code] = &[Code::InvalidInstanceIdNotFound];
    const ASKS_HOST: bool = true;
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let instance = cx.instance(&req.instance_id).await?;
        let instance_id = instance.instance_id.clone();
        Ok(Response { instance_id, timestamp: instance.launch_time, output: Blob(Vec::new()) })
    }

    async fn complete(host: &dyn Host, mut response: Response) -> Result<Response, Failure> {
        if let Some((timestamp, bytes)) = host.console_output(&response.instance_id).await? {
            let from = bytes.len().saturating_sub(CONSOLE_OUTPUT_BYTES_MAX);
            response.timestamp = timestamp;
            response.output = Blob(bytes.get(from..).unwrap_or_default().to_vec());
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use testkit::{REGION, Reply, World};

    fn output(reply: &Reply) -> String {
        String::from_utf8(STANDARD.decode(reply.value("output")).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_newest_bytes_of_the_console_come_in_base64_with_their_time() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let id = world.seed_instance(&image).await;
        let ask = [("InstanceId", id.as_str())];
        let reply = world.call("GetConsoleOutput", &ask).await.ok();
        assert_eq!((reply.value("instanceId"), output(&reply)), (id.clone(), "fake guest\n".into()));
        world.clock.advance(std::time::Duration::from_secs(90));
        world.host.console_append(&id.parse().unwrap(), &"y".repeat(64 * 1024 - 6));
        world.host.console_append(&id.parse().unwrap(), "login:");
        let reply = world.call("GetConsoleOutput", &[ask[0], ("Latest", "true")]).await.ok();
        let text = output(&reply);
        assert_eq!(text.len(), 64 * 1024);
        assert!(text.starts_with('y') && text.ends_with("login:"));
        assert_eq!(reply.value("timestamp"), world.now().to_string());
    }

    #[tokio::test]
    async fn a_stopped_instance_still_shows_what_it_said_and_a_terminated_one_nothing() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let id = world.seed_instance(&image).await;
        world.call("StopInstances", &[("InstanceId.1", &id)]).await.ok();
        world.settle().await;
        let reply = world.call("GetConsoleOutput", &[("InstanceId", &id)]).await.ok();
        assert_eq!(output(&reply), "fake guest\n");
        world.call("TerminateInstances", &[("InstanceId.1", &id)]).await.ok();
        world.settle().await;
        let reply = world.call("GetConsoleOutput", &[("InstanceId", &id)]).await.ok();
        assert_eq!(output(&reply), "");
    }

    #[tokio::test]
    async fn a_host_that_does_not_answer_is_told_apart_from_an_instance_that_is_not_there() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let id = world.seed_instance(&image).await;
        world.gate.plan(Some((0, testkit::Fault::Fail)));
        let reply = world.call("GetConsoleOutput", &[("InstanceId", &id)]).await;
        assert_eq!((reply.status.as_u16(), reply.error_code().as_str()), (503, "Unavailable"));
        let other = world.account("other").await;
        let reply = world.call_as(&other, REGION, "GetConsoleOutput", &[("InstanceId", &id)]).await;
        assert_eq!(reply.error_code(), "InvalidInstanceID.NotFound");
    }
}
