"""The server is killed at its durable system calls, and must keep what it acknowledged."""

import pytest

import kills

# A sample over the whole flow; `python tests/clients/kills.py` takes all calls.
SAMPLE = [1, 2, 4, 6, 8, 10, 12, 14, 16]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return kills.template(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize("number", SAMPLE)
def test_a_server_killed_at_a_durable_call_keeps_what_it_acknowledged(template, tmp_path, number):
    kills.at(template, tmp_path, number)
