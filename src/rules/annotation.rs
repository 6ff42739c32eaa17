//! What routes and clusters carry: `filter_metadata.invoker`, and the annotation that Envoy's own
//! `gcp_authn` reads.
//!
//! Whoever annotates wants a token, so what can't be read is an error that names the place, never a
//! reason to send the request on as it is.

use std::fmt;
use std::sync::Arc;

use super::head::RequestHead;
use super::{Decision, RuleSource, Target, gcp_authn};
use crate::audience::{Audience, AudienceError};
use crate::credential_headers::HeaderPolicy;
use crate::wanted::Wanted;

/// A place where a route or a cluster says what its requests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Annotation {
    /// The route's `filter_metadata.invoker.disabled`.
    RouteDisabled,
    /// The route's `filter_metadata.invoker.audience`.
    RouteAudience,
    /// The cluster's `filter_metadata.invoker.disabled`.
    ClusterDisabled,
    /// The cluster's `filter_metadata.invoker.audience`.
    ClusterAudience,
    /// `url` in the cluster's `typed_filter_metadata` for `gcp_authn`.
    GcpAuthnUrl,
    /// The whole message there; it is present when `url` is, and also when it holds another kind.
    GcpAuthnMessage,
}

impl Annotation {
    /// The property that holds it in Envoy.
    pub fn property(self) -> &'static [&'static str] {
        const GCP_AUTHN: &str = "envoy.filters.http.gcp_authn";
        match self {
            Self::RouteDisabled => &[
                "xds",
                "route_metadata",
                "filter_metadata",
                "invoker",
                "disabled",
            ],
            Self::RouteAudience => &[
                "xds",
                "route_metadata",
                "filter_metadata",
                "invoker",
                "audience",
            ],
            Self::ClusterDisabled => &[
                "xds",
                "cluster_metadata",
                "filter_metadata",
                "invoker",
                "disabled",
            ],
            Self::ClusterAudience => &[
                "xds",
                "cluster_metadata",
                "filter_metadata",
                "invoker",
                "audience",
            ],
            Self::GcpAuthnUrl => &[
                "xds",
                "cluster_metadata",
                "typed_filter_metadata",
                GCP_AUTHN,
                "url",
            ],
            Self::GcpAuthnMessage => &[
                "xds",
                "cluster_metadata",
                "typed_filter_metadata",
                GCP_AUTHN,
            ],
        }
    }
}

impl fmt::Display for Annotation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RouteDisabled => "the route's filter_metadata.invoker.disabled",
            Self::RouteAudience => "the route's filter_metadata.invoker.audience",
            Self::ClusterDisabled => "the cluster's filter_metadata.invoker.disabled",
            Self::ClusterAudience => "the cluster's filter_metadata.invoker.audience",
            Self::GcpAuthnUrl | Self::GcpAuthnMessage => {
                "the cluster's typed_filter_metadata[\"envoy.filters.http.gcp_authn\"]"
            }
        })
    }
}

/// Route before cluster, ours before `gcp_authn`'s; `None` if nothing is annotated. `disabled` goes
/// before an audience in the same place: whoever wrote it last meant to switch something off.
pub(super) fn decide(
    head: &impl RequestHead,
    target: impl Fn(Wanted) -> Target,
    policy: &Arc<HeaderPolicy>,
) -> Option<Decision> {
    let read = |annotation| {
        head.annotation(annotation)
            .filter(|value| !value.is_empty())
    };
    let attach = |annotation, wanted: Result<Wanted, String>| {
        let source = RuleSource::Annotation(annotation);
        match wanted {
            Ok(wanted) => Decision::Attach {
                source,
                target: target(wanted),
                policy: Arc::clone(policy),
            },
            Err(problem) => Decision::InvalidAnnotation {
                source,
                problem,
                policy: Arc::clone(policy),
            },
        }
    };
    for (disabled, audience) in [
        (Annotation::RouteDisabled, Annotation::RouteAudience),
        (Annotation::ClusterDisabled, Annotation::ClusterAudience),
    ] {
        if let Some(decision) = read(disabled).and_then(|value| switched(disabled, &value, policy))
        {
            return Some(decision);
        }
        if let Some(value) = read(audience) {
            return Some(attach(audience, parse(&value, Audience::parse)));
        }
    }
    if let Some(url) = read(Annotation::GcpAuthnUrl) {
        return Some(attach(
            Annotation::GcpAuthnUrl,
            parse(&url, Audience::custom),
        ));
    }
    read(Annotation::GcpAuthnMessage)
        .map(|message| attach(Annotation::GcpAuthnMessage, gcp_authn::wanted(&message)))
}

/// A boolean comes as one byte.
fn switched(annotation: Annotation, value: &[u8], policy: &Arc<HeaderPolicy>) -> Option<Decision> {
    let source = RuleSource::Annotation(annotation);
    match value {
        [0] => None,
        [1] => Some(Decision::Bypass { source }),
        _ => {
            let problem = "is no boolean; write true or false, without quotes".to_owned();
            Some(Decision::InvalidAnnotation {
                source,
                problem,
                policy: Arc::clone(policy),
            })
        }
    }
}

fn parse(
    value: &[u8],
    audience: impl Fn(&str) -> Result<Audience, AudienceError>,
) -> Result<Wanted, String> {
    let text = std::str::from_utf8(value).map_err(|_| "is no text; write a URL".to_owned())?;
    audience(text)
        .map(Wanted::from)
        .map_err(|error| error.to_string())
}
