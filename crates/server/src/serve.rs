//! The wiring: opens everything, serves, and stops in order.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use blockstore::Store;
use control::{AuthMode, Dispatcher, Env, Runner, RunnerOptions, Scrub};
use metastore::Metastore;
use model::id_gen::random_bytes;
use model::{Clock, IdGen, OsIdGen, SystemClock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::administrator::Administrator;
use crate::bucket::{self, AwsEnvironment};
use crate::data_dir::DataDir;
use crate::domain_keys::DomainKeys;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::http::{self, Routes};
use crate::limits::{DRAIN_TIME_MAX, Limits, OPEN_FILES_WANTED};
use crate::logging;
use crate::low_ports;
use crate::options::{Config, ServeOptions};
use crate::profiles;
use crate::reset::Reset;

const TOKEN_KEY_SETTING: &str = "page_token_key";

/// Everything that runs.
struct Service {
    data: DataDir,
    metastore: Metastore,
    store: Store,
    env: Env,
    endpoint_url: String,
    routes: Arc<Routes>,
    runner: Runner,
    host: Arc<Host>,
}

/// Runs the service until it is asked to stop. `exe` is the program that machines are started with.
pub async fn serve(
    options: ServeOptions,
    default_data: Option<PathBuf>,
    aws: AwsEnvironment,
    exe: PathBuf,
) -> Result<()> {
    let config = options.resolve(default_data, &aws)?;
    logging::start(config.log_format, &config.log)?;
    raise_open_files();
    let data = DataDir::open(&config.data)?;
    let Some(_lock) = data.try_lock()? else {
        return Err(Error::conflict(format!("another server uses {}", data.path().display()))
            .with_hint("stop it, or name another directory with --data"));
    };
    let listener = bind(config.listen).await?;
    let address = listener.local_addr().map_err(|e| Error::caused("find the own address", e))?;
    let service = open(&config, data, address, exe).await?;
    run(config, service, listener).await
}

/// Opens what is in the directory, and makes what is missing.
async fn open(config: &Config, data: DataDir, address: SocketAddr, exe: PathBuf) -> Result<Service> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let ids: Arc<dyn IdGen> = Arc::new(OsIdGen);
    let metastore = Metastore::open(&data.metastore_file(), Arc::clone(&clock)).await?;
    refuse_lost(&data, &metastore).await?;
    let keys = DomainKeys::ensure(&data, &metastore, ids.as_ref()).await?;
    let bucket = config.store.bucket(&data);
    bucket::remember(bucket.as_ref(), &data)?;
    let store = bucket::open(bucket.as_ref(), &data, &clock, Arc::clone(&ids)).await?;
    let endpoint = config.advertise.clone().unwrap_or_else(|| reachable(address).to_string());
    let token_key = token_key(&metastore, ids.as_ref()).await?;
    let endpoint_url = format!("http://{endpoint}");
    let env = Env { clock: Arc::clone(&clock), ids, token_key, domain_master: keys.master(), endpoint };
    control::ensure_first_account(&metastore, &env).await?;
    control::keep_records(&metastore, &env).await?;
    profiles::write(&data, &metastore, Some(&endpoint_url)).await?;
    let host = Arc::new(Host::open(&data, bucket, exe, config.disk_transport.into())?);
    let wake = Arc::new(Notify::new());
    let auth = if config.emulator { AuthMode::Emulated } else { AuthMode::Strict };
    let port: Arc<dyn control::ports::Host> = Arc::<Host>::clone(&host);
    let dispatcher = Dispatcher::new(
        metastore.clone(),
        store.clone(),
        Arc::clone(&port),
        env.clone(),
        auth,
        Arc::clone(&wake),
    );
    let reset =
        config.emulator.then(|| Reset::new(metastore.clone(), env.clone(), Arc::clone(&host)).into_route());
    let routes = Arc::new(Routes::new(dispatcher, Arc::clone(&host), clock, reset, Limits::default()));
    let runner = Runner::new(
        metastore.clone(),
        store.clone(),
        port,
        env.clone(),
        wake,
        RunnerOptions { concurrency: 8 },
    );
    Ok(Service { data, metastore, store, env, endpoint_url, routes, runner, host })
}

/// A new database over a store full of snapshots would hide them all.
pub(crate) async fn refuse_lost(data: &DataDir, metastore: &Metastore) -> Result<()> {
    let has_snapshots = std::fs::read_dir(data.store().join("snap")).is_ok_and(|mut it| it.next().is_some());
    if !has_snapshots || !metastore.read().await?.accounts().await?.is_empty() {
        return Ok(());
    }
    let (file, store) = (data.metastore_file(), data.store());
    Err(Error::conflict(format!("{} knows nothing of what is in {}", file.display(), store.display()))
        .with_hint("was the database lost? katagami rebuild makes it anew from the store"))
}

async fn run(config: Config, service: Service, listener: TcpListener) -> Result<()> {
    let Service { data, metastore, store, env, endpoint_url, routes, runner, host } = service;
    let stop = CancellationToken::new();
    let asked = stop_signal()?;
    let admin_listener = admin::listen(&data)?;
    greet(&config, &data, &endpoint_url);
    let runner_stop = runner.stop_token();
    let jobs = tokio::spawn(runner.run());
    let scrub = Scrub {
        metastore: metastore.clone(),
        store: store.clone(),
        env: env.clone(),
        bytes_per_second: config.scrub_rate,
    };
    let scrub = tokio::spawn(scrub.run(stop.clone()));
    let look = tokio::spawn(async move { host.look_at_qemu().await });
    let administrator = Administrator {
        data: data.clone(),
        metastore,
        store: Some(store),
        env,
        endpoint_url: Some(endpoint_url),
    };
    let admin = tokio::spawn(admin::serve(admin_listener, stop.clone(), administrator));
    let web = tokio::spawn(http::serve(listener, routes, stop.clone()));
    let signal = asked.await;
    tracing::info!(signal, "stopping; instances run on");
    stop.cancel();
    runner_stop.cancel();
    look.abort();
    for (name, task) in [("http", web), ("admin", admin), ("scrub", scrub)] {
        if let Err(error) = task.await {
            tracing::error!(name, %error, "a part of the service ended badly");
        }
    }
    admin::remove(&data);
    match tokio::time::timeout(DRAIN_TIME_MAX, jobs).await {
        Ok(Ok(ended)) => ended?,
        Ok(Err(error)) => return Err(Error::caused("the job runner ended badly", error)),
        Err(_) => tracing::warn!("jobs were cut off; they go on at the next start"),
    }
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        let in_use = e.kind() == io::ErrorKind::AddrInUse;
        let context = format!("listen on {address}");
        let error =
            if in_use { Error::conflict(format!("{context}: {e}")) } else { Error::caused(context, e) };
        if in_use {
            error.with_hint("another program has this port; choose one with --listen")
        } else {
            error
        }
    })
}

/// An address that clients on this host can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port())
}

/// The same for the life of the installation.
async fn token_key(metastore: &Metastore, ids: &dyn IdGen) -> Result<[u8; 32]> {
    let mut tx = metastore.write().await?;
    let mut key = [0; 32];
    if let Some(text) = tx.setting_get(TOKEN_KEY_SETTING).await? {
        hex::decode_to_slice(text, &mut key).map_err(|e| Error::caused("read the page token key", e))?;
    } else {
        key = random_bytes(ids);
        tx.setting_set(TOKEN_KEY_SETTING, &hex::encode(key)).await?;
        tx.commit().await?;
    }
    Ok(key)
}

/// Ends with the name of the signal that asked.
fn stop_signal() -> Result<impl Future<Output = &'static str>> {
    let of = |kind| signal(kind).map_err(|e| Error::caused("wait for signals", e));
    let (mut terminate, mut interrupt) = (of(SignalKind::terminate())?, of(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = OPEN_FILES_WANTED.min(maximum.unwrap_or(u64::MAX));
    if current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
    {
        tracing::warn!(%error, "could not raise the limit of open files");
    }
}

/// Tells on standard output where to go from here.
fn greet(config: &Config, data: &DataDir, endpoint_url: &str) {
    let (credentials, aws_config) = (data.credentials_file(), data.config_file());
    let mut text = format!(
        "katagami serves {endpoint_url}\naccess keys are in {}\n\n  export AWS_SHARED_CREDENTIALS_FILE='{}'\n  \
         export AWS_CONFIG_FILE='{}'\n  aws --endpoint-url {endpoint_url} ec2 describe-images --owners self\n\n",
        credentials.display(),
        credentials.display(),
        aws_config.display(),
    );
    if config.emulator {
        text.push_str(
            "EMULATOR: every signature is accepted, whoever reaches this port may do anything, and\n\
             POST /_katagami/reset deletes everything. For test suites only.\n\n",
        );
    }
    if let Some(advice) = low_ports::advice() {
        text.extend(["note: ", &advice, "\n"]);
    }
    drop(io::stdout().write_all(text.as_bytes()));
}
