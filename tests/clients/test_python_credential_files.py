"""Google's client for Python (google-auth) with the credential files that the emulator writes."""

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import google.auth
import pytest
import requests
from google.auth import exceptions, iam, identity_pool, impersonated_credentials
from google.oauth2 import id_token, service_account

EMULATOR = os.environ["EMULATOR"]
FILES = Path(os.environ["EMULATOR_CREDENTIALS"])

LOGIN = "login@shop-42.iam.gserviceaccount.com"
SEARCH = "search@shop-42.iam.gserviceaccount.com"
PROFILES = "https://profiles.example.com"
ACCOUNTS = f"{EMULATOR}/v1/projects/-/serviceAccounts"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


@pytest.fixture(autouse=True)
def googles_addresses_are_the_emulators(monkeypatch):
    """The client has no setting for the address of generateIdToken."""
    monkeypatch.setattr(iam, "_IAM_IDTOKEN_ENDPOINT", f"{ACCOUNTS}/{{}}:generateIdToken")


def verified(request_, token):
    certificates = f"{EMULATOR}/oauth2/v1/certs"
    return id_token.verify_token(token, request_, audience=PROFILES, certs_url=certificates)


def calls(endpoint):
    response = requests.get(f"{EMULATOR}/_emulator/requests", {"endpoint": endpoint}, timeout=10)
    return response.json()


def impersonating(source, account=SEARCH, **options):
    target = impersonated_credentials.Credentials(source, account, SCOPES, **options)
    return impersonated_credentials.IDTokenCredentials(target, PROFILES, include_email=True)


def with_key():
    return service_account.IDTokenCredentials.from_service_account_file(
        FILES / "key.json", target_audience=PROFILES
    )


def federated():
    """The workload itself, without the impersonation that the file asks for."""
    info = json.loads((FILES / "external_account.json").read_text())
    del info["service_account_impersonation_url"]
    return identity_pool.Credentials.from_info(info, scopes=SCOPES)


def test_a_key_becomes_an_id_token(request_):
    credentials = with_key()
    credentials.refresh(request_)
    claims = verified(request_, credentials.token)
    assert claims["email"] == LOGIN
    assert claims["email_verified"] is True


def test_a_key_becomes_an_access_token(request_):
    credentials = service_account.Credentials.from_service_account_file(
        FILES / "key.json", scopes=SCOPES
    )
    credentials.refresh(request_)
    assert credentials.token.startswith("ya29.")


def test_a_key_that_is_revoked_becomes_nothing(request_):
    key = json.loads((FILES / "key.json").read_text())["private_key_id"]
    url = f"{EMULATOR}/_emulator/keys/{key}"
    requests.post(f"{url}/disable", timeout=10).raise_for_status()
    try:
        with pytest.raises(exceptions.RefreshError, match="Invalid JWT Signature"):
            with_key().refresh(request_)
    finally:
        requests.post(f"{url}/enable", timeout=10).raise_for_status()


def test_a_clock_that_is_five_minutes_ahead_of_googles_is_refused(request_):
    requests.post(f"{EMULATOR}/_emulator/clock", json={"offset": "-5m"}, timeout=10)
    with pytest.raises(exceptions.RefreshError, match="Check your iat and exp"):
        with_key().refresh(request_)


def test_a_token_endpoint_that_passes_out_is_asked_again(request_, fault):
    fault(endpoint="token", status=503, times=1)
    credentials = with_key()
    credentials.refresh(request_)
    verified(request_, credentials.token)


def test_the_machine_impersonates_another_account(request_):
    source, _ = google.auth.default()
    credentials = impersonating(source)
    credentials.refresh(request_)
    assert verified(request_, credentials.token)["email"] == SEARCH
    assert calls("generateIdToken")[-1]["body"]["audience"] == PROFILES


def test_impersonation_goes_through_a_delegate(request_):
    source, _ = google.auth.default()
    credentials = impersonating(source, delegates=[f"projects/-/serviceAccounts/{LOGIN}"])
    credentials.refresh(request_)
    assert verified(request_, credentials.token)["email"] == SEARCH


def test_an_account_that_does_not_exist_cannot_be_impersonated(request_):
    source, _ = google.auth.default()
    with pytest.raises(exceptions.RefreshError, match="NOT_FOUND"):
        impersonating(source, "nobody@shop-42.iam.gserviceaccount.com").refresh(request_)


def test_an_access_token_of_another_account(request_):
    source, _ = google.auth.default()
    credentials = impersonated_credentials.Credentials(
        source,
        SEARCH,
        SCOPES,
        iam_endpoint_override=f"{ACCOUNTS}/{SEARCH}:generateAccessToken",
        lifetime=600,
    )
    credentials.refresh(request_)
    assert credentials.token.startswith("ya29.")
    left = credentials.expiry.replace(tzinfo=timezone.utc) - datetime.now(timezone.utc)
    assert 590 <= left.total_seconds() <= 601


def test_a_workload_elsewhere_impersonates_an_account(request_):
    credentials = impersonating(federated())
    credentials.refresh(request_)
    assert verified(request_, credentials.token)["email"] == SEARCH
    assert calls("subject")[-1]["headers"]["metadata"] == "true"


def test_the_file_of_a_workload_elsewhere_gives_an_access_token_of_its_account(request_):
    credentials = identity_pool.Credentials.from_file(
        FILES / "external_account.json", scopes=SCOPES
    )
    credentials.refresh(request_)
    assert credentials.token.startswith("ya29.")
    assert credentials.service_account_email == SEARCH


def test_an_exchange_that_fails_is_an_error_with_googles_words(request_, fault):
    refusal = {"error": "invalid_grant", "error_description": "expired"}
    fault(endpoint="sts", status=400, body=json.dumps(refusal))
    with pytest.raises(exceptions.OAuthError, match="invalid_grant: expired"):
        federated().refresh(request_)


def test_the_file_of_a_user_who_impersonates_gives_an_id_token(request_, monkeypatch):
    file = FILES / "impersonated_service_account.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setattr(
        "google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{EMULATOR}/token"
    )
    token = id_token.fetch_id_token(request_, PROFILES)
    assert verified(request_, token)["email"] == SEARCH
