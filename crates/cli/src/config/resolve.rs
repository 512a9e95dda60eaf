//! The decision itself: pure, from flags, variables and parsed files.

use super::ini::Section;
use super::{AccessKey, Connection, Files, Profiles, Settings};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};

const DEFAULT_PROFILE: &str = "default";
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:4566";
const DEFAULT_REGION: &str = "us-east-1";

pub(super) fn settings(
    connection: &Connection,
    environment: &Environment,
    files: &Files,
) -> Result<Settings> {
    let profile = Profile::choose(connection, environment, files)?;
    let access_key = profile.access_key(connection, environment)?;
    let region = first([
        connection.region.as_deref(),
        environment.get("AWS_REGION"),
        environment.get("AWS_DEFAULT_REGION"),
        profile.get("region"),
    ]);
    let endpoint = |service| profile.endpoint(connection, environment, service);
    Ok(Settings {
        ec2_endpoint: endpoint("ec2"),
        ebs_endpoint: endpoint("ebs"),
        region: region.unwrap_or(DEFAULT_REGION).to_owned(),
        access_key,
    })
}

/// One profile's sections of the two files.
struct Profile<'a> {
    name: &'a str,
    config_file: &'a Profiles,
    config: Option<&'a Section>,
    credentials: Option<&'a Section>,
}

impl<'a> Profile<'a> {
    /// The named profile; for want of the user's own, the one that the local server wrote.
    fn choose(connection: &'a Connection, environment: &'a Environment, files: &'a Files) -> Result<Self> {
        let named = first([
            connection.profile.as_deref(),
            environment.get("AWS_PROFILE"),
            environment.get("AWS_DEFAULT_PROFILE"),
        ]);
        let name = named.unwrap_or(DEFAULT_PROFILE);
        let user = Self::of(name, &files.config, &files.credentials);
        if user.exists() {
            return Ok(user);
        }
        let local = Self::of(name, &files.local_config, &files.local_credentials);
        if local.exists() || named.is_none() {
            return Ok(local);
        }
        Err(Error::new(ErrorKind::Usage, format!("the profile {name} is in no config or credentials file"))
            .with_hint(format!("make an account and its profile with: katagami account create {name}")))
    }

    fn of(name: &'a str, config_file: &'a Profiles, credentials_file: &'a Profiles) -> Self {
        let in_config = if name == DEFAULT_PROFILE { config_file.get(name) } else { None };
        Self {
            name,
            config_file,
            config: config_file.get(&format!("profile {name}")).or(in_config),
            credentials: credentials_file.get(name),
        }
    }

    fn exists(&self) -> bool {
        self.config.is_some() || self.credentials.is_some()
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        let of = |section: Option<&'a Section>| section.and_then(|section| section.get(key));
        of(self.config).or_else(|| of(self.credentials))
    }

    /// A profile that is named by flag goes before the variables, one that is named by variable after them.
    fn access_key(&self, connection: &Connection, environment: &Environment) -> Result<AccessKey> {
        if connection.profile.is_none()
            && let (Some(id), Some(secret)) =
                (environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY"))
        {
            return Ok(access_key(id, secret, environment.get("AWS_SESSION_TOKEN")));
        }
        for section in [self.credentials, self.config].into_iter().flatten() {
            if let (Some(id), Some(secret)) =
                (section.get("aws_access_key_id"), section.get("aws_secret_access_key"))
            {
                return Ok(access_key(id, secret, section.get("aws_session_token")));
            }
        }
        Err(self.no_access_key())
    }

    fn no_access_key(&self) -> Error {
        let error = Error::new(ErrorKind::Denied, format!("no access key for the profile {}", self.name));
        let indirect = ["credential_process", "role_arn", "sso_session", "sso_start_url"];
        match indirect.into_iter().find(|key| self.get(key).is_some()) {
            Some(key) => error.with_hint(format!(
                "{key} is not followed here; give the key itself in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )),
            None => error.with_hint(
                "set AWS_SHARED_CREDENTIALS_FILE to the file DIR/credentials that katagami serve wrote",
            ),
        }
    }

    fn endpoint(&self, connection: &Connection, environment: &Environment, service: &str) -> String {
        let ignored = environment
            .get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
            .is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let variable = format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase());
        let configured = || {
            first([
                environment.get(&variable),
                environment.get("AWS_ENDPOINT_URL"),
                self.service_endpoint(service),
                self.get("endpoint_url"),
            ])
        };
        let chosen = connection.endpoint.as_deref().or_else(|| if ignored { None } else { configured() });
        chosen.unwrap_or(DEFAULT_ENDPOINT).trim_end_matches('/').to_owned()
    }

    fn service_endpoint(&self, service: &str) -> Option<&'a str> {
        let services = self.config_file.get(&format!("services {}", self.get("services")?))?;
        services.nested.get(service)?.get("endpoint_url").map(String::as_str)
    }
}

fn access_key(id: &str, secret: &str, token: Option<&str>) -> AccessKey {
    AccessKey { id: id.to_owned(), secret: secret.to_owned(), session_token: token.map(str::to_owned) }
}

/// The first that is there, empty text counting as none.
fn first<const N: usize>(choices: [Option<&str>; N]) -> Option<&str> {
    choices.into_iter().flatten().find(|choice| !choice.is_empty())
}
