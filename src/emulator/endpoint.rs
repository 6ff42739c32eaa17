//! Which of Google's endpoints a call is for: faults are set and calls are counted by it.

use serde::{Deserialize, Serialize};

/// What every path of the IAM credentials API begins with; an account's email follows.
pub(super) const ACCOUNTS: &str = "/v1/projects/-/serviceAccounts/";

/// An endpoint, as faults and counts name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Endpoint {
    /// The metadata server's ID tokens.
    Identity,
    /// The metadata server's access tokens.
    MetadataToken,
    /// The rest of the metadata server.
    Metadata,
    /// The public keys.
    Certificates,
    /// `oauth2.googleapis.com/token`.
    Token,
    /// `sts.googleapis.com/v1/token`.
    Sts,
    /// Where a workload outside of Google Cloud gets what it shows to STS.
    Subject,
    /// `iamcredentials.googleapis.com`, ID tokens.
    GenerateIdToken,
    /// `iamcredentials.googleapis.com`, access tokens.
    GenerateAccessToken,
}

impl Endpoint {
    /// The endpoint that answers for a path as it stands in a request.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/token" => Some(Self::Token),
            "/v1/token" => Some(Self::Sts),
            "/subject" | "/subject.json" => Some(Self::Subject),
            "/" | "/computeMetadata" => Some(Self::Metadata),
            path if path.starts_with("/oauth2/") => Some(Self::Certificates),
            path => Self::of_metadata(path).or_else(|| Self::of_iam(path)),
        }
    }

    fn of_metadata(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/computeMetadata/")?;
        let account = path.strip_prefix("v1/instance/service-accounts/");
        let value = account.and_then(|rest| rest.split_once('/'));
        Some(match value {
            Some((_, "identity")) => Self::Identity,
            Some((_, "token")) => Self::MetadataToken,
            _ => Self::Metadata,
        })
    }

    fn of_iam(path: &str) -> Option<Self> {
        let call = path.strip_prefix(ACCOUNTS)?;
        match call.rsplit_once(':')? {
            (_, "generateIdToken") => Some(Self::GenerateIdToken),
            (_, "generateAccessToken") => Some(Self::GenerateAccessToken),
            _ => None,
        }
    }

    /// Whether what is asked for stands in the body.
    pub(super) fn takes_body(self) -> bool {
        match self {
            Self::Token | Self::Sts | Self::GenerateIdToken | Self::GenerateAccessToken => true,
            Self::Identity
            | Self::MetadataToken
            | Self::Metadata
            | Self::Certificates
            | Self::Subject => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_endpoint() {
        let iam = "/v1/projects/-/serviceAccounts/a@x.org";
        let metadata = "/computeMetadata/v1/instance/service-accounts";
        for (path, endpoint) in [
            (
                format!("{metadata}/a%40x.org/identity"),
                Some(Endpoint::Identity),
            ),
            (
                format!("{metadata}/default/token"),
                Some(Endpoint::MetadataToken),
            ),
            (
                format!("{metadata}/default/email"),
                Some(Endpoint::Metadata),
            ),
            (
                format!("{iam}:generateIdToken"),
                Some(Endpoint::GenerateIdToken),
            ),
            (
                format!("{iam}:generateAccessToken"),
                Some(Endpoint::GenerateAccessToken),
            ),
            (format!("{iam}:signJwt"), None),
            ("/oauth2/v3/certs".to_owned(), Some(Endpoint::Certificates)),
            ("/token/".to_owned(), None),
            ("/computeMetadataX".to_owned(), None),
        ] {
            assert_eq!(Endpoint::of(&path), endpoint, "{path}");
        }
    }
}
