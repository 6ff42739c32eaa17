"""Google's client for Python (google-auth) against the local metadata server."""

import os
from urllib.parse import quote

import google.auth
import pytest
import requests
from google.auth import compute_engine, exceptions
from google.oauth2 import id_token

EMULATOR = os.environ["EMULATOR"]
LOGIN = "login@shop-42.iam.gserviceaccount.com"
SEARCH = "search@shop-42.iam.gserviceaccount.com"
IDENTITY = "/computeMetadata/v1/instance/service-accounts/default/identity"
X509 = f"{EMULATOR}/oauth2/v1/certs"
JWKS = f"{EMULATOR}/oauth2/v3/certs"
PROFILES = "https://profiles.example.com"


@pytest.mark.parametrize("certificates", [X509, JWKS])
def test_a_fetched_id_token_is_verified_with_the_published_certificates(request_, certificates):
    token = id_token.fetch_id_token(request_, PROFILES)
    claims = id_token.verify_token(token, request_, audience=PROFILES, certs_url=certificates)
    assert claims["iss"] == "https://accounts.google.com"
    assert claims["email"] == LOGIN
    assert claims["email_verified"] is True
    assert claims["azp"] == claims["sub"]
    assert claims["exp"] - claims["iat"] == 3600


def test_the_issuer_is_one_that_googles_own_check_accepts(request_, monkeypatch):
    monkeypatch.setattr(id_token, "_GOOGLE_OAUTH2_CERTS_URL", X509)
    token = id_token.fetch_id_token(request_, PROFILES)
    assert id_token.verify_oauth2_token(token, request_, audience=PROFILES)["aud"] == PROFILES


@pytest.mark.parametrize(
    "audience",
    [
        "https://profiles.example.com/?a=1&b=2#c",
        "https://profiles.example.com/a+b c%20d%2541",
        "https://profiles.example.com/",
        "my-iap-client-id.apps.googleusercontent.com",
        "grüße",
    ],
)
def test_an_audience_survives_byte_for_byte(request_, audience):
    token = id_token.fetch_id_token(request_, audience)
    claims = id_token.verify_token(token, request_, audience=audience, certs_url=X509)
    assert claims["aud"] == audience


def test_the_default_credentials_are_the_machines(request_):
    credentials, project = google.auth.default()
    assert isinstance(credentials, compute_engine.Credentials)
    assert project == "shop-42"
    credentials.refresh(request_)
    assert credentials.token.startswith("ya29.")
    assert credentials.valid
    assert credentials.service_account_email == LOGIN
    assert credentials.universe_domain == "googleapis.com"


def test_an_access_token_for_chosen_scopes(request_):
    credentials = compute_engine.Credentials(scopes=["https://www.googleapis.com/auth/iam"])
    credentials.refresh(request_)
    calls = requests.get(f"{EMULATOR}/_emulator/requests", timeout=10).json()
    scopes = quote("https://www.googleapis.com/auth/iam", safe="")
    asked = [call["query"] for call in calls if call["path"].endswith("/token")]
    assert credentials.token and f"scopes={scopes}" in asked


def test_another_account_of_the_machine_is_found_by_its_email(request_):
    credentials = compute_engine.Credentials(SEARCH)
    credentials.refresh(request_)
    # Its token is the default account's all the same: this client asks for no other one.
    assert credentials.service_account_email == SEARCH
    with pytest.raises(exceptions.GoogleAuthError, match="404"):
        compute_engine.Credentials("nobody@example.com").refresh(request_)


def test_a_token_for_somebody_else_is_refused(request_):
    token = id_token.fetch_id_token(request_, PROFILES)
    with pytest.raises(exceptions.GoogleAuthError, match="audience"):
        id_token.verify_token(token, request_, audience="https://other.example", certs_url=X509)


def test_a_token_that_was_changed_is_refused(request_):
    header, _, signature = id_token.fetch_id_token(request_, PROFILES).split(".")
    _, claims, _ = id_token.fetch_id_token(request_, "https://other.example").split(".")
    with pytest.raises(exceptions.GoogleAuthError, match="signature"):
        forged = f"{header}.{claims}.{signature}"
        id_token.verify_token(forged, request_, certs_url=X509)


def test_a_token_that_is_over_is_refused(request_, fault):
    fault(path=IDENTITY, token={"lifetime": "-10s"})
    token = id_token.fetch_id_token(request_, PROFILES)
    with pytest.raises(exceptions.GoogleAuthError, match="expired"):
        id_token.verify_token(token, request_, audience=PROFILES, certs_url=X509)


def test_trouble_that_passes_is_ridden_out_by_the_client(request_, fault):
    fault(path=IDENTITY, status=503, times=1)
    token = id_token.fetch_id_token(request_, PROFILES)
    id_token.verify_token(token, request_, audience=PROFILES, certs_url=X509)


def test_a_machine_without_the_account_is_an_error(request_, fault):
    fault(path=IDENTITY, status=404)
    with pytest.raises(exceptions.GoogleAuthError, match="404"):
        id_token.fetch_id_token(request_, PROFILES)
