"""What the tests of Google's client for Python share."""

import os

import google.auth.transport.requests
import pytest
import requests

EMULATOR = os.environ.get("EMULATOR")
if EMULATOR is None:
    pytest.exit("no emulator to test against; start the tests with tests/clients/run", returncode=2)


@pytest.fixture
def request_():
    """The transport that google-auth makes its calls with."""
    return google.auth.transport.requests.Request()


@pytest.fixture(autouse=True)
def a_server_that_is_well():
    yield
    for what in ["faults", "clock"]:
        requests.delete(f"{EMULATOR}/_emulator/{what}", timeout=10).raise_for_status()


@pytest.fixture
def fault():
    """Sets a fault for the rest of the test."""

    def set_fault(**fields):
        response = requests.post(f"{EMULATOR}/_emulator/faults", json=fields, timeout=10)
        assert response.status_code == 201, response.text

    return set_fault
