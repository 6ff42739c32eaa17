//! Who may have tokens of which account: the emulated IAM policy.

use std::{fmt, str::FromStr};

use super::account::ServiceAccount;

/// Somebody who can hold an access token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Principal {
    Account(ServiceAccount),
    /// The person whose refresh token this is.
    User,
    /// A workload outside of Google Cloud, known by a token of its own identity provider.
    Federated,
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => account.fmt(formatter),
            Self::User => formatter.write_str("user"),
            Self::Federated => formatter.write_str("federated"),
        }
    }
}

/// Lets a caller have ID tokens and access tokens of an account, and act through it for others:
/// `roles/iam.serviceAccountTokenCreator`, of which the role for ID tokens alone is a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    caller: Principal,
    target: ServiceAccount,
}

/// A text that is no grant.
#[derive(Debug, thiserror::Error)]
#[error(
    "write CALLER=TARGET; the target is an account's email, the caller too, or `user`, or `federated`"
)]
pub struct GrantError;

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (caller, target) = text.split_once('=').ok_or(GrantError)?;
        let caller = match caller {
            "user" => Principal::User,
            "federated" => Principal::Federated,
            email => Principal::Account(email.parse().map_err(|_| GrantError)?),
        };
        let target = target.parse().map_err(|_| GrantError)?;
        Ok(Self { caller, target })
    }
}

/// All grants; without any, everybody may have everything.
#[derive(Debug)]
pub(super) struct Policy(Vec<Grant>);

impl Policy {
    pub(super) fn new(grants: Vec<Grant>) -> Self {
        Self(grants)
    }

    pub(super) fn allows(&self, caller: &Principal, target: &ServiceAccount) -> bool {
        let fits = |grant: &Grant| grant.caller == *caller && grant.target == *target;
        self.0.is_empty() || self.0.iter().any(fits)
    }

    /// The accounts that are named, which thereby exist.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &ServiceAccount> {
        self.0.iter().flat_map(|grant| {
            let caller = match &grant.caller {
                Principal::Account(account) => Some(account),
                Principal::User | Principal::Federated => None,
            };
            caller.into_iter().chain([&grant.target])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_for_its_caller_and_its_target_alone() {
        let account = |email: &str| email.parse::<ServiceAccount>().unwrap();
        let policy = Policy::new(vec!["a@x.org=b@x.org".parse().unwrap()]);
        let caller = Principal::Account(account("a@x.org"));
        assert!(policy.allows(&caller, &account("b@x.org")));
        assert!(!policy.allows(&caller, &account("a@x.org")));
        assert!(!policy.allows(&Principal::User, &account("b@x.org")));
    }

    #[test]
    fn what_names_no_caller_or_no_target_is_no_grant() {
        for text in ["", "a@x.org", "a@x.org=", "=b@x.org", "a=b", "user=user"] {
            assert!(text.parse::<Grant>().is_err(), "{text:?}");
        }
    }
}
