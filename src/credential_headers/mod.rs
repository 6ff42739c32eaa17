//! The headers that carry the token, and what becomes of a credential that is there already.
//!
//! Two things to know before changing it. A look at a header costs more than everything else on
//! the hit path, so `replace` never looks: one header is one [`Headers::set`]. And a client must not
//! be able to put its own value where a receiver expects ours or the caller's: every branch either
//! overwrites or removes the headers through which that would work.

use std::fmt;

mod name;

pub use name::{HeaderName, HeaderNameError};

/// What Envoy adds to a request that it runs again for an internal redirect.
pub const ORIGINAL_URL: &str = "x-envoy-original-url";

/// What Cloud Run checks before `authorization`.
pub const SERVERLESS_AUTHORIZATION: &str = "x-serverless-authorization";

/// Where an application puts its own credential, and the default place of ours.
pub const AUTHORIZATION: &str = "authorization";

/// The request headers, as the host lends them.
pub trait Headers {
    /// The value of a header, if it is there.
    fn value(&self, name: &str) -> Option<String>;
    /// Writes one value, over all that are there.
    fn set(&mut self, name: &str, value: &str);
    /// Removes all values of a header, if there are any.
    fn remove(&mut self, name: &str);
}

/// What becomes of the caller's own credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExistingCredential {
    /// Ours is written over it, without a look.
    #[default]
    Replace,
    /// The request goes on as it is.
    Keep,
    /// It moves to `x-forwarded-` and the header's name.
    Forward,
    /// It stays in `authorization`, and ours goes into `x-serverless-authorization`.
    Alongside,
}

impl fmt::Display for ExistingCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Forward => "forward",
            Self::Alongside => "alongside",
        })
    }
}

/// The headers that one rule writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderPolicy {
    headers: Vec<Slot>,
    existing: ExistingCredential,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    name: HeaderName,
    /// Where `forward` moves the caller's value, and what `alongside` keeps clients from setting.
    forwarded: Box<str>,
}

/// Why headers and what becomes of a caller's credential do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderPolicyError {
    /// No header at all.
    #[error("names no header; write at least one, such as \"{AUTHORIZATION}\"")]
    Empty,
    /// One header twice.
    #[error("names \"{0}\" twice; once is enough")]
    Twice(HeaderName),
    /// `alongside` with other headers than `authorization`.
    #[error(
        "\"existing_credential: alongside\" works only with \"header: {AUTHORIZATION}\": \
         it chooses between that header and \"{SERVERLESS_AUTHORIZATION}\" itself"
    )]
    Alongside,
    /// `forward` would move one header's value into another one that is written too.
    #[error(
        "names \"{0}\", into which \"existing_credential: forward\" moves the caller's own; \
         leave it out"
    )]
    Forwarded(HeaderName),
}

impl HeaderPolicy {
    /// Checks that the headers and what becomes of a caller's credential go together.
    pub fn new(
        names: Vec<HeaderName>,
        existing: ExistingCredential,
    ) -> Result<Self, HeaderPolicyError> {
        if names.is_empty() {
            return Err(HeaderPolicyError::Empty);
        }
        if let Some((_, name)) = names
            .iter()
            .enumerate()
            .find(|(index, name)| names.iter().take(*index).any(|n| n == *name))
        {
            return Err(HeaderPolicyError::Twice(name.clone()));
        }
        let only_authorization =
            matches!(names.as_slice(), [name] if name.as_str() == AUTHORIZATION);
        if existing == ExistingCredential::Alongside && !only_authorization {
            return Err(HeaderPolicyError::Alongside);
        }
        let headers: Vec<Slot> = names
            .into_iter()
            .map(|name| Slot {
                forwarded: format!("x-forwarded-{name}").into(),
                name,
            })
            .collect();
        if existing == ExistingCredential::Forward {
            let target =
                |name: &HeaderName| headers.iter().any(|slot| *slot.forwarded == *name.as_str());
            if let Some(slot) = headers.iter().find(|slot| target(&slot.name)) {
                return Err(HeaderPolicyError::Forwarded(slot.name.clone()));
            }
        }
        Ok(Self { headers, existing })
    }

    /// The default header, with which everything goes together.
    pub fn authorization(existing: ExistingCredential) -> Self {
        let forwarded = format!("x-forwarded-{AUTHORIZATION}").into();
        let headers = vec![Slot {
            name: HeaderName::default(),
            forwarded,
        }];
        Self { headers, existing }
    }

    /// The headers in the order of the configuration.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|slot| &slot.name)
    }

    /// What becomes of a caller's own credential.
    pub fn existing(&self) -> ExistingCredential {
        self.existing
    }

    /// At the request's head: whether it goes on as it is, since the caller brings its own
    /// credential and that is to be kept. Only `keep` looks.
    pub fn keeps(&self, headers: &impl Headers) -> bool {
        self.existing == ExistingCredential::Keep
            && self
                .headers
                .iter()
                .any(|slot| credential(headers, slot.name.as_str()).is_some())
    }

    /// Writes the token. `value` is the whole header value, `Bearer ` included, so that the hit
    /// path need not put it together; `replaced` is the one that the last refresh replaced.
    pub fn authorize(&self, headers: &mut impl Headers, value: &str, replaced: Option<&str>) {
        let is_ours = |found: &str| found == value || Some(found) == replaced;
        match self.existing {
            ExistingCredential::Replace | ExistingCredential::Keep => {}
            ExistingCredential::Forward => self.forward(headers, is_ours),
            ExistingCredential::Alongside => {
                self.drop_forged(headers);
                if credential(headers, AUTHORIZATION).is_some_and(|callers| !is_ours(&callers)) {
                    headers.set(SERVERLESS_AUTHORIZATION, value);
                    return;
                }
                headers.remove(SERVERLESS_AUTHORIZATION);
            }
        }
        for slot in &self.headers {
            headers.set(slot.name.as_str(), value);
        }
    }

    /// What happens to the request that `failure_mode: allow` sends on without a token: nobody's
    /// credential may pass for ours.
    pub fn allow_without_token(&self, headers: &mut impl Headers) {
        match self.existing {
            ExistingCredential::Keep => {}
            ExistingCredential::Alongside => {
                self.drop_forged(headers);
                headers.remove(SERVERLESS_AUTHORIZATION);
            }
            ExistingCredential::Replace => self.remove_written(headers),
            ExistingCredential::Forward => {
                self.forward(headers, |_| false);
                self.remove_written(headers);
            }
        }
    }

    /// Moves the caller's values, or removes what a client put where they would go. A value that is
    /// ours already was written when this request was tried before (an upstream filter runs on every
    /// attempt, over the same headers), perhaps before a refresh, and what was moved then is where it
    /// belongs.
    fn forward(&self, headers: &mut impl Headers, is_ours: impl Fn(&str) -> bool) {
        for slot in &self.headers {
            match credential(headers, slot.name.as_str()) {
                Some(value) if is_ours(&value) => {}
                Some(value) => headers.set(&slot.forwarded, &value),
                None => headers.remove(&slot.forwarded),
            }
        }
        if !self.writes(SERVERLESS_AUTHORIZATION) {
            headers.remove(SERVERLESS_AUTHORIZATION);
        }
    }

    fn drop_forged(&self, headers: &mut impl Headers) {
        for slot in &self.headers {
            headers.remove(&slot.forwarded);
        }
    }

    fn remove_written(&self, headers: &mut impl Headers) {
        for slot in &self.headers {
            headers.remove(slot.name.as_str());
        }
    }

    fn writes(&self, name: &str) -> bool {
        self.headers.iter().any(|slot| slot.name.as_str() == name)
    }
}

/// A header's value if it can be a credential: an empty one is none.
fn credential(headers: &impl Headers, name: &str) -> Option<String> {
    headers.value(name).filter(|value| !value.trim().is_empty())
}

/// All headers that a configuration can write. When Envoy runs a request again for an internal
/// redirect, what stands in them is our own from the first run, and must not reach the new target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrittenHeaders(Vec<HeaderName>);

impl WrittenHeaders {
    /// Collects what the policies write.
    pub fn of<'a>(policies: impl IntoIterator<Item = &'a HeaderPolicy>) -> Self {
        let mut names: Vec<HeaderName> = Vec::new();
        for policy in policies {
            names.extend(policy.names().cloned());
            if policy.existing == ExistingCredential::Alongside {
                names.push(HeaderName::serverless_authorization());
            }
        }
        names.sort();
        names.dedup();
        Self(names)
    }

    /// The names, sorted.
    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }

    /// Before anything else is done to the request's headers, also when no rule matched (`None`):
    /// removes our own values from a request that was redirected internally. It does not look where
    /// the policy is going to overwrite every header in question anyway.
    pub fn remove_after_redirect(&self, policy: Option<&HeaderPolicy>, headers: &mut impl Headers) {
        if policy.is_some_and(|policy| self.all_replaced_by(policy)) {
            return;
        }
        if headers.value(ORIGINAL_URL).is_some() {
            for name in &self.0 {
                headers.remove(name.as_str());
            }
        }
    }

    fn all_replaced_by(&self, policy: &HeaderPolicy) -> bool {
        policy.existing == ExistingCredential::Replace
            && self.0.iter().all(|name| policy.writes(name.as_str()))
    }
}

#[cfg(test)]
mod tests;
