"""Starts the real server in a folder of its own and gives the clients that talk to it."""

import configparser
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

import referee

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("KATAGAMI", ROOT / "target/debug/katagami"))
AWS_CLIS = {"debian": "/usr/bin/aws", "pip": str(ROOT / "target/venv/bin/aws")}
REGION = "us-east-1"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def clean_environment(home, **more):
    """What a child needs of ours, without any AWS setting of the person who runs the tests."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    return {**kept, "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": "", **more}


class Server:
    """`katagami serve` on a free port of the loopback address."""

    # What starts the program, if anything: a tracer.
    wrapper = ()

    def __init__(self, data, *options):
        self.data = pathlib.Path(data)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.options = options
        self.log = self.data.parent / f"{self.data.name}.log"
        self.process = None

    def start(self, deadline_s=30):
        """Returns the seconds until the health check answered."""
        words = ["serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port}", *self.options]
        command = [*self.wrapper, BINARY, *words]
        begin = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_environment(self.data.parent)
            )
        while not self.healthy():
            assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()}"
            assert time.monotonic() - begin < deadline_s, f"the server is not up:\n{self.log.read_text()}"
            time.sleep(0.01)
        return time.monotonic() - begin

    def healthy(self):
        try:
            with urllib.request.urlopen(f"{self.url}/_katagami/health", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def stop(self, deadline_s=30):
        """Asks it to stop, as a service manager does; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(deadline_s)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """Ends the server and, so that a failed test leaves nothing running, its machines."""
        if self.process and self.process.poll() is None:
            self.kill()
        for pid in self.machines():
            os.kill(pid, signal.SIGKILL)

    def machines(self):
        """The processes that have this server's data in their arguments, by id."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(self.data) + b"/" in words:
                found.append(int(entry.name))
        return found

    def katagami(self, *words, profile="default", timeout_s=600):
        """Runs the binary's own client; the finished process, its output as text."""
        return subprocess.run(
            [BINARY, *map(str, words)],
            env=self.environment(profile), capture_output=True, text=True, timeout=timeout_s, check=False,
        )

    def create_account(self, name):
        """A further account, with a profile of that name; its id."""
        done = self.katagami("account", "create", name, "--data", self.data)
        assert done.returncode == 0, done.stderr
        account_id = done.stdout.split()[-1]
        assert len(account_id) == 12 and account_id.isdigit(), done.stdout
        return account_id

    def keys(self, profile="default"):
        credentials = configparser.ConfigParser()
        assert credentials.read(self.data / "credentials"), "no credentials file"
        section = credentials[profile]
        return section["aws_access_key_id"], section["aws_secret_access_key"]

    def session(self, profile="default"):
        key_id, secret = self.keys(profile)
        return boto3.Session(aws_access_key_id=key_id, aws_secret_access_key=secret, region_name=REGION)

    def client(self, service="ec2", profile="default", region=REGION):
        """A boto3 client that retries nothing and whose every answer the referee reads."""
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60)
        client = self.session(profile).client(service, region_name=region, endpoint_url=self.url, config=config)
        referee.watch(client)
        return client

    def environment(self, profile="default", region=REGION):
        return clean_environment(
            self.data.parent,
            AWS_SHARED_CREDENTIALS_FILE=str(self.data / "credentials"),
            AWS_CONFIG_FILE="/dev/null",
            AWS_PROFILE=profile,
            AWS_REGION=region,
            AWS_DEFAULT_REGION=region,
            AWS_ENDPOINT_URL=self.url,
        )

    def aws(self, cli, *words, profile="default", region=REGION, timeout_s=600):
        """Runs an aws cli and returns what it printed, parsed; fails with what it said."""
        done = self.aws_process(cli, *words, profile=profile, region=region, timeout_s=timeout_s)
        assert done.returncode == 0, f"aws {' '.join(map(str, words))}:\n{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def aws_process(self, cli, *words, profile="default", region=REGION, timeout_s=600):
        command = [AWS_CLIS[cli], "--endpoint-url", self.url, "--output", "json", *map(str, words)]
        return subprocess.run(
            command, env=self.environment(profile, region),
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )


def wait_for(condition, deadline_s, what, every_s=0.2):
    """The first truthy value that `condition` gives."""
    begin = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() - begin < deadline_s, f"waited {deadline_s} s for {what}"
        time.sleep(every_s)
