//! `…/instance/service-accounts/`: who the machine is, and the tokens that say so.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{
    account::ServiceAccount,
    metadata::{error, listing, recursive, text, v1, with_slash},
    real,
    server::{Call, Machine},
    tokens::{IdTokenRequest, TokenError},
};

/// Scopes that a machine has unless its owner narrowed them.
const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
];

pub(super) fn routes() -> Router<Arc<Machine>> {
    let below = |path: &str| v1(&format!("/instance/service-accounts{path}"));
    Router::new()
        .route(&below(""), get(with_slash))
        .route(&below("/"), get(all_accounts))
        .route(&below("/{account}"), get(with_slash))
        .route(&below("/{account}/"), get(one_account))
        .route(&below("/{account}/aliases"), get(aliases))
        .route(&below("/{account}/email"), get(email))
        .route(&below("/{account}/identity"), get(identity))
        .route(&below("/{account}/scopes"), get(scopes))
        .route(&below("/{account}/token"), get(token))
}

/// The account that the path names; 404 if the machine has none of that name.
struct Account(ServiceAccount);

impl FromRequestParts<Arc<Machine>> for Account {
    type Rejection = Response;

    async fn from_request_parts(
        request: &mut Parts,
        machine: &Arc<Machine>,
    ) -> Result<Self, Self::Rejection> {
        let path = Path::<String>::from_request_parts(request, machine).await;
        let Path(name) = path.map_err(IntoResponse::into_response)?;
        let account = machine.accounts.find(&name).cloned();
        account.map(Self).ok_or_else(|| no_account(&name))
    }
}

async fn identity(
    State(machine): State<Arc<Machine>>,
    Account(account): Account,
    call: Call,
) -> Response {
    let Some(audience) = call.query.value("audience") else {
        let message = "non-empty audience parameter required";
        return error(StatusCode::BAD_REQUEST, message);
    };
    if let Some(broker) = &machine.real {
        return real::identity(broker, audience).await;
    }
    let request = IdTokenRequest {
        account: &account,
        audience,
        with_email: call.query.value("format") == Some("full"),
        email_as_azp: false,
    };
    let minted = machine
        .mint
        .id_token(&machine.key, &request, &call.token_change);
    match minted {
        Ok(token) => ([(header::CONTENT_TYPE, "text/html")], token.text).into_response(),
        Err(problem) => failed(&problem),
    }
}

async fn token(
    State(machine): State<Arc<Machine>>,
    Account(account): Account,
    call: Call,
) -> Response {
    let scopes = call.query.value("scopes").unwrap_or_default();
    if let Some(broker) = &machine.real {
        return real::access_token(broker, scopes).await;
    }
    let minted = machine
        .mint
        .machines_access_token(&account, scopes, &call.token_change);
    match minted {
        Ok(token) => Json(json!({
            "access_token": token.text,
            "expires_in": machine.mint.remaining(&token),
            "token_type": "Bearer",
        }))
        .into_response(),
        Err(problem) => failed(&problem),
    }
}

async fn email(Account(account): Account) -> Response {
    text(account.email())
}

async fn scopes(Account(_): Account) -> Response {
    listing(SCOPES)
}

async fn aliases(State(machine): State<Arc<Machine>>, Account(account): Account) -> Response {
    listing(machine.aliases(&account).iter().copied())
}

async fn one_account(
    State(machine): State<Arc<Machine>>,
    Account(account): Account,
    call: Call,
) -> Response {
    if recursive(&call.query) {
        return Json(machine.describe(&account)).into_response();
    }
    listing(["aliases", "email", "identity", "scopes", "token"])
}

async fn all_accounts(State(machine): State<Arc<Machine>>, call: Call) -> Response {
    if recursive(&call.query) {
        return Json(machine.describe_accounts()).into_response();
    }
    let names = machine.names().map(|(name, _)| format!("{name}/"));
    listing(names)
}

impl Machine {
    /// All accounts as JSON, each under the names that lead to it.
    pub(super) fn describe_accounts(&self) -> Value {
        let describe = |(name, account): (&str, _)| (name.to_owned(), self.describe(account));
        self.names().map(describe).collect()
    }

    fn names(&self) -> impl Iterator<Item = (&str, &ServiceAccount)> {
        let by_email = self
            .accounts
            .all()
            .map(|account| (account.email(), account));
        std::iter::once(("default", self.accounts.default())).chain(by_email)
    }

    fn aliases(&self, account: &ServiceAccount) -> &'static [&'static str] {
        if account == self.accounts.default() {
            &["default"]
        } else {
            &[]
        }
    }

    fn describe(&self, account: &ServiceAccount) -> Value {
        json!({ "aliases": self.aliases(account), "email": account.email(), "scopes": SCOPES })
    }
}

fn no_account(name: &str) -> Response {
    let advice = "invoker emulate --service-account adds one";
    let message = format!("this machine has no service account {name}; {advice}");
    error(StatusCode::NOT_FOUND, &message)
}

fn failed(problem: &TokenError) -> Response {
    error(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string())
}
