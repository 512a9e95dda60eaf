"""Fixtures: the server under test, further accounts, both aws clis."""

import pathlib

import pytest

import rig


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server that most tests share: they use names of their own and leave it running."""
    with_data = rig.Server(tmp_path_factory.mktemp("katagami") / "data")
    with_data.start()
    yield with_data
    with_data.close()


@pytest.fixture
def own_server(tmp_path):
    """A server that a test may kill; not started yet."""
    server = rig.Server(tmp_path / "data")
    yield server
    server.close()


@pytest.fixture(scope="session")
def second_account(server):
    """(profile, account id)"""
    return "second", server.create_account("second")


@pytest.fixture(scope="session")
def third_account(server):
    return "third", server.create_account("third")


@pytest.fixture
def ec2(server):
    return server.client("ec2")


@pytest.fixture
def ebs(server):
    return server.client("ebs")


@pytest.fixture(params=list(rig.AWS_CLIS))
def cli(request):
    """The name of an aws cli: each test that asks for it runs with each."""
    assert pathlib.Path(rig.AWS_CLIS[request.param]).exists(), "run scripts/setup-system.sh and setup-python.sh"
    return request.param


@pytest.fixture
def name(request):
    """A name that no other test uses."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name).strip("-")[:100]
