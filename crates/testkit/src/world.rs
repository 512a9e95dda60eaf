//! A whole service in memory: the real dispatcher, jobs, metastore and snapshot store over a clock,
//! ids and a host that the test owns.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control::{Answer, AuthMode, Call, Dispatcher, Env, NewAccount, Runner, RunnerOptions};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use metastore::Metastore;
use model::{AccountId, Clock, IdGen, ManualClock, SeededIdGen, Timestamp};
use tokio::sync::Notify;
use wire::sigv4::{Credentials, RequestParts, Signer};

use crate::gate::Gate;
use crate::host::FakeHost;
use crate::reply::Reply;
use crate::store::FaultStore;

/// 2026-11-21T08:00:00Z.
const START: Timestamp = Timestamp::from_millis(1_795_248_000_000);
/// What the secrets of domains are derived from.
pub(crate) const DOMAIN_MASTER: [u8; 32] = [8; 32];
const HOST: &str = "127.0.0.1:4566";
pub const REGION: &str = "us-east-1";

/// Rounds of `settle` before a test is told that its jobs never end.
const TURNS_MAX: u32 = 2000;

/// One account's way of calling.
#[derive(Debug, Clone)]
pub struct Account {
    pub id: AccountId,
    access_key_id: String,
    secret_access_key: String,
}

#[derive(Debug)]
pub struct World {
    pub clock: Arc<ManualClock>,
    pub ids: Arc<SeededIdGen>,
    pub gate: Gate,
    pub metastore: Metastore,
    objects: Arc<FaultStore>,
    pub store: blockstore::Store,
    pub host: Arc<FakeHost>,
    pub env: Env,
    pub dispatcher: Dispatcher,
    pub runner: Runner,
    pub owner: Account,
}

impl World {
    pub async fn new() -> Self {
        Self::seeded(1).await
    }

    pub async fn seeded(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let ids = Arc::new(SeededIdGen::new(seed));
        let gate = Gate::default();
        let metastore = Metastore::in_memory(clock.clone()).await.expect("a database in memory opens");
        let objects = Arc::new(FaultStore::new(blockstore::Store::in_memory(), gate.clone()));
        let options = blockstore::Options { clock: clock.clone(), ..blockstore::Options::default() };
        let store = blockstore::Store::open(objects.clone(), ids.clone(), options)
            .await
            .expect("a store in memory opens");
        let host = Arc::new(FakeHost::new(clock.clone(), gate.clone()));
        let env = Env {
            clock: clock.clone(),
            ids: ids.clone(),
            token_key: [7; 32],
            domain_master: DOMAIN_MASTER,
            endpoint: HOST.to_owned(),
        };
        let wake = Arc::new(Notify::new());
        let dispatcher = Dispatcher::new(
            metastore.clone(),
            store.clone(),
            host.clone(),
            env.clone(),
            AuthMode::Strict,
            wake.clone(),
        );
        let options = RunnerOptions { concurrency: 1 };
        let runner = Runner::new(metastore.clone(), store.clone(), host.clone(), env.clone(), wake, options);
        let first = control::ensure_first_account(&metastore, &env).await.expect("the first account is made");
        let owner = first.expect("a fresh database has no account").into();
        Self { clock, ids, gate, metastore, objects, store, host, env, dispatcher, runner, owner }
    }

    /// A further account.
    pub async fn account(&self, name: &str) -> Account {
        let made = control::create_account(&self.metastore, &self.env, name).await;
        made.expect("the account is made").expect("the test uses each name once").into()
    }

    /// An EC2 call of the first account in the default region.
    pub async fn call(&self, action: &str, params: &[(&str, &str)]) -> Reply {
        self.call_as(&self.owner, REGION, action, params).await
    }

    pub async fn call_as(
        &self,
        account: &Account,
        region: &str,
        action: &str,
        params: &[(&str, &str)],
    ) -> Reply {
        let mut pairs = vec![("Action", action), ("Version", "2016-11-15")];
        pairs.extend_from_slice(params);
        let body = form(&pairs);
        self.send(account, region, "ec2", Method::POST, "/", &[], body.into_bytes()).await
    }

    /// A call to the EBS direct API: path with query, extra headers, body.
    pub async fn ebs(
        &self,
        account: &Account,
        method: Method,
        path_and_query: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        self.send(account, REGION, "ebs", method, path_and_query, headers, body).await
    }

    /// Signs and sends anything. A header that says so leaves the body out of the signature.
    #[expect(clippy::too_many_arguments, reason = "one parameter for each part of an HTTP request")]
    pub async fn send(
        &self,
        account: &Account,
        region: &str,
        service: &str,
        method: Method,
        path_and_query: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        self.answer(self.signed(account, region, service, method, path_and_query, headers, body)).await
    }

    /// The signed request that `send` sends.
    #[expect(clippy::too_many_arguments, reason = "one parameter for each part of an HTTP request")]
    pub fn signed(
        &self,
        account: &Account,
        region: &str,
        service: &str,
        method: Method,
        path_and_query: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Call {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let unsigned = ("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        let signed_body = (!headers.contains(&unsigned)).then_some(body.as_slice());
        let mut all = vec![("host", HOST)];
        all.extend(headers.iter().filter(|header| **header != unsigned));
        let signer = Signer {
            credentials: Credentials {
                access_key_id: &account.access_key_id,
                secret_access_key: &account.secret_access_key,
                session_token: None,
            },
            region,
            service,
        };
        let parts = RequestParts { method: method.as_str(), path, query, headers: &all };
        let signed =
            signer.headers(&parts, signed_body, self.clock.now()).expect("the test's request can be signed");
        let mut map = HeaderMap::new();
        let pairs = all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).chain(signed);
        for (name, value) in pairs {
            let name: HeaderName = name.parse().expect("header names of tests are valid");
            map.insert(name, HeaderValue::from_str(&value).expect("header values of tests are valid"));
        }
        Call { method, path: path.into(), query: query.into(), headers: map, body: Bytes::from(body) }
    }

    /// Sends a request as it is.
    pub async fn answer(&self, call: Call) -> Reply {
        reply(self.dispatcher.answer(call).await)
    }

    /// Runs jobs and sweeps until nothing is left to do, moving time on where jobs wait for it.
    pub async fn settle(&self) {
        self.settle_by(&self.runner).await;
    }

    pub(crate) async fn settle_by(&self, runner: &Runner) {
        for _ in 0..TURNS_MAX {
            if runner.turn().await.expect("claiming a job works") {
                continue;
            }
            runner.sweep_once().await.expect("sweeps work");
            let mut tx = self.metastore.read().await.expect("reading works");
            let due = tx.next_due(self.clock.now()).await.expect("reading works");
            match due {
                None => return,
                Some(due) => self.clock.advance(due.since(self.clock.now()).max(Duration::from_millis(1))),
            }
        }
        panic!("jobs never end: {}", self.metastore.dump().await.expect("the dump works"));
    }

    /// The runner of another process on the same database, objects and host: it shares no cache.
    pub(crate) async fn other_runner(&self) -> Runner {
        let store = self.other_store().await;
        let options = RunnerOptions { concurrency: 1 };
        let (metastore, host, env) = (self.metastore.clone(), self.host.clone(), self.env.clone());
        Runner::new(metastore, store, host, env, Arc::default(), options)
    }

    /// The snapshot store as another process opens it.
    pub(crate) async fn other_store(&self) -> blockstore::Store {
        let options = blockstore::Options { clock: self.clock.clone(), ..blockstore::Options::default() };
        let store = blockstore::Store::open(self.objects.clone(), self.ids.clone(), options).await;
        store.expect("a store in memory opens")
    }

    /// Changes stored objects behind the service's back: for each below `prefix` its new bytes, or None to remove it.
    pub async fn tamper(&self, prefix: &str, change: impl FnMut(&str, Vec<u8>) -> Option<Vec<u8>>) {
        self.objects.tamper(prefix, change).await;
    }

    /// The metastore as text, for comparing before and after.
    pub async fn dump(&self) -> String {
        self.metastore.dump().await.expect("the dump works")
    }

    pub fn ids(&self) -> &dyn IdGen {
        self.ids.as_ref()
    }
}

impl Account {
    /// The account's key with somebody else's secret.
    #[must_use]
    pub fn with_wrong_secret(&self) -> Self {
        Self { secret_access_key: "wrong/wrong/wrong/wrong/wrong/wrong/wron".to_owned(), ..self.clone() }
    }

    /// A key that the service never gave out.
    #[must_use]
    pub fn with_unknown_key(&self) -> Self {
        Self { access_key_id: "AKIAUNKNOWNUNKNOWN77".to_owned(), ..self.clone() }
    }
}

impl From<NewAccount> for Account {
    fn from(made: NewAccount) -> Self {
        Self {
            id: made.account.account_id,
            access_key_id: made.key.access_key_id,
            secret_access_key: made.key.secret_access_key,
        }
    }
}

fn reply(answer: Answer) -> Reply {
    Reply {
        status: answer.status,
        headers: answer.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        body: answer.body.to_vec(),
    }
}

/// `application/x-www-form-urlencoded`, everything but unreserved characters escaped.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String {
        let bytes = text.bytes();
        bytes
            .map(|b| match b {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    char::from(b).to_string()
                }
                _ => format!("%{b:02X}"),
            })
            .collect()
    };
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect::<Vec<_>>()
        .join("&")
}
