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
