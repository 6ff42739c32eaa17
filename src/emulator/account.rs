//! The service accounts that the emulated machine has.

use std::{collections::BTreeSet, fmt, str::FromStr};

use rsa::sha2::{Digest, Sha256};

use super::error::Error;

/// The project of accounts whose email does not name one.
const FALLBACK_PROJECT: &str = "invoker-local";

/// A service account's email address, checked so that it can stand in a URL's path as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount(String);

/// A text that is no service account's email address.
#[derive(Debug, thiserror::Error)]
#[error("not an email address; write for instance login@my-project.iam.gserviceaccount.com")]
pub struct ServiceAccountError;

impl ServiceAccount {
    /// The email address.
    pub fn email(&self) -> &str {
        &self.0
    }

    /// The project that the address names, or one that stands for "some project".
    pub(super) fn project_id(&self) -> &str {
        let domain = self.0.split_once('@').map_or("", |(_, domain)| domain);
        domain
            .strip_suffix(".iam.gserviceaccount.com")
            .filter(|project| !project.is_empty())
            .unwrap_or(FALLBACK_PROJECT)
    }

    /// The account's numeric ID, which is what Google writes in `sub` and `azp`: 21 digits that
    /// begin with 1. Derived from the email, so that it is the same after a restart.
    pub(super) fn unique_id(&self) -> String {
        format!("1{:020}", digits(self.email()))
    }
}

/// A number of at most 19 digits that depends on `text` alone.
pub(super) fn digits(text: &str) -> u64 {
    let hash = Sha256::digest(text.as_bytes());
    let bytes = hash.iter().take(8);
    bytes.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte)) % 10_u64.pow(19)
}

impl Default for ServiceAccount {
    fn default() -> Self {
        Self(format!(
            "default@{FALLBACK_PROJECT}.iam.gserviceaccount.com"
        ))
    }
}

impl FromStr for ServiceAccount {
    type Err = ServiceAccountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, domain) = text.split_once('@').ok_or(ServiceAccountError)?;
        let harmless = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
            !part.is_empty() && part.chars().all(allowed)
        };
        if harmless(name) && harmless(domain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ServiceAccountError)
        }
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The machine's accounts: the first is `default`, and each is reachable by its email. Besides
/// there are those that exist and are no machine's.
#[derive(Debug)]
pub(super) struct Accounts {
    default: ServiceAccount,
    others: Vec<ServiceAccount>,
    elsewhere: BTreeSet<ServiceAccount>,
}

impl Accounts {
    pub(super) fn new(accounts: Vec<ServiceAccount>) -> Result<Self, Error> {
        for (position, account) in accounts.iter().enumerate() {
            if accounts
                .iter()
                .take(position)
                .any(|earlier| earlier == account)
            {
                return Err(Error::Options(format!(
                    "the service account {account} is given twice; name each one once"
                )));
            }
        }
        let mut accounts = accounts.into_iter();
        Ok(Self {
            default: accounts.next().unwrap_or_default(),
            others: accounts.collect(),
            elsewhere: BTreeSet::new(),
        })
    }

    /// Lets an account exist, wherever it is used.
    pub(super) fn add_elsewhere(&mut self, account: ServiceAccount) {
        self.elsewhere.insert(account);
    }

    /// The account of this email, if it exists.
    pub(super) fn known(&self, email: &str) -> Option<&ServiceAccount> {
        let mut all = self.all().chain(&self.elsewhere);
        all.find(|account| account.email() == email)
    }

    pub(super) fn default(&self) -> &ServiceAccount {
        &self.default
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ServiceAccount> {
        std::iter::once(&self.default).chain(&self.others)
    }

    /// The account of a path's segment: `default`, or an email.
    pub(super) fn find(&self, name: &str) -> Option<&ServiceAccount> {
        match name {
            "default" => Some(&self.default),
            email => self.all().find(|account| account.email() == email),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_names_its_project() {
        let project = |email: &str| {
            email
                .parse::<ServiceAccount>()
                .unwrap()
                .project_id()
                .to_owned()
        };
        assert_eq!(project("login@shop-42.iam.gserviceaccount.com"), "shop-42");
        assert_eq!(
            project("1234-compute@developer.gserviceaccount.com"),
            FALLBACK_PROJECT
        );
    }

    #[test]
    fn what_could_not_stand_in_a_path_is_no_account() {
        for text in [
            "", "default", "@x", "x@", "a@b/c", "a@b?c", "a b@c", "a%@b", "a@b@c",
        ] {
            assert!(text.parse::<ServiceAccount>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn unique_ids_have_21_digits_and_differ() {
        let id = |email: &str| email.parse::<ServiceAccount>().unwrap().unique_id();
        assert_eq!(id("a@b.c").len(), 21);
        assert!(id("a@b.c").bytes().all(|byte| byte.is_ascii_digit()));
        assert_ne!(id("a@b.c"), id("b@b.c"));
    }
}
