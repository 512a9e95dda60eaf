"""The process itself: its start, its files, its end."""

import os
import resource
import signal
import stat

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import rig


def test_starts_fast_writes_its_credentials_once_and_stops_gracefully(own_server):
    own_server.start()
    credentials = own_server.data / "credentials"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    first = own_server.keys()
    account = own_server.client("sts").get_caller_identity()["Account"]
    assert (own_server.data / "admin.sock").exists()
    assert own_server.stop() == 0
    assert not (own_server.data / "admin.sock").exists()

    seconds = own_server.start()
    assert seconds < 2, f"{seconds:.3f} s for a second start; an unoptimised build takes longer than the release"
    assert own_server.keys() == first
    assert own_server.client("sts").get_caller_identity()["Account"] == account
    assert first[1] not in own_server.log.read_text() or own_server.log.read_text().count(first[1]) == 1


def test_a_killed_server_starts_again_with_what_it_acknowledged(own_server):
    own_server.start()
    own_server.client().create_key_pair(KeyName="kept")
    own_server.kill()
    own_server.start()
    pairs = own_server.client().describe_key_pairs()["KeyPairs"]
    assert [pair["KeyName"] for pair in pairs] == ["kept"]


def test_accounts_are_made_while_the_server_runs_and_are_apart(own_server):
    own_server.start()
    account_id = own_server.create_account("alice")
    alice = own_server.client("sts", profile="alice").get_caller_identity()
    assert alice["Account"] == account_id
    own_server.client().create_key_pair(KeyName="mine")
    assert own_server.client(profile="alice").describe_key_pairs()["KeyPairs"] == []


def test_an_account_of_no_server_is_refused_and_no_directory_made(own_server, tmp_path):
    elsewhere = tmp_path / "no-such-server"
    done = own_server.katagami("account", "create", "alice", "--data", elsewhere)
    assert done.returncode == 2 and str(elsewhere) in done.stderr, done.stderr
    assert not elsewhere.exists()


def test_a_second_server_on_the_same_data_is_refused(own_server, tmp_path):
    own_server.start()
    second = rig.Server(own_server.data)
    second.log = tmp_path / "second.log"
    with pytest.raises(AssertionError, match="the server ended"):
        second.start()
    assert own_server.healthy()


def test_no_secret_is_logged(own_server):
    own_server.start()
    ec2 = own_server.client()
    material = ec2.create_key_pair(KeyName="logged")["KeyMaterial"]
    own_server.stop()
    log = own_server.log.read_text()
    assert material.splitlines()[1] not in log


def test_emulator_takes_any_signature_names_accounts_by_key_and_resets(tmp_path):
    server = rig.Server(tmp_path / "data", "--emulator")
    try:
        server.start()

        def client(key_id, service="ec2"):
            config = Config(retries={"total_max_attempts": 1})
            session = boto3.Session(aws_access_key_id=key_id, aws_secret_access_key="any", region_name=rig.REGION)
            return session.client(service, endpoint_url=server.url, config=config)

        assert client("111122223333", "sts").get_caller_identity()["Account"] == "111122223333"
        first = client("whatever", "sts").get_caller_identity()["Account"]
        assert first == server.client("sts").get_caller_identity()["Account"]
        client("whatever").create_key_pair(KeyName="gone")
        request = rig.urllib.request.Request(f"{server.url}/_katagami/reset", method="POST")
        with rig.urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status in (200, 204)
        assert client("whatever").describe_key_pairs()["KeyPairs"] == []
        assert client("whatever").describe_vpcs()["Vpcs"], "the default VPC is there again"
    finally:
        server.close()


def test_reset_is_for_the_emulator_only(server):
    request = rig.urllib.request.Request(f"{server.url}/_katagami/reset", method="POST")
    with pytest.raises(rig.urllib.error.HTTPError) as refused:
        rig.urllib.request.urlopen(request, timeout=10)
    assert 400 <= refused.value.code < 500


def test_an_emulator_listens_on_loopback_only(tmp_path):
    server = rig.Server(tmp_path / "data", "--emulator", "--listen", f"0.0.0.0:{rig.free_port()}")
    with pytest.raises(AssertionError, match="the server ended"):
        server.start()


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_both_signals_stop_it(own_server, signal_name):
    own_server.start()
    own_server.process.send_signal(getattr(signal, signal_name))
    assert own_server.process.wait(30) == 0


def test_a_wrong_secret_is_refused(server):
    key_id, _ = server.keys()
    config = Config(retries={"total_max_attempts": 1})
    session = boto3.Session(aws_access_key_id=key_id, aws_secret_access_key="wrong", region_name=rig.REGION)
    with pytest.raises(ClientError) as refused:
        session.client("ec2", endpoint_url=server.url, config=config).describe_regions()
    assert refused.value.response["Error"]["Code"] in ("AuthFailure", "SignatureDoesNotMatch")


def test_it_idles_in_little_memory(own_server):
    own_server.start()
    own_server.client().describe_images(Owners=["self"])
    statm = (rig.pathlib.Path("/proc") / str(own_server.process.pid) / "statm").read_text().split()
    resident_mib = int(statm[1]) * resource.getpagesize() / 2**20
    assert resident_mib < 90, f"{resident_mib:.0f} MiB in an unoptimised build; the release promises 60"


def test_the_data_folder_may_have_a_long_path(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    os.makedirs(deep)
    server = rig.Server(deep / "data")
    try:
        server.start()
        assert server.client().describe_regions()["Regions"]
    finally:
        server.close()
