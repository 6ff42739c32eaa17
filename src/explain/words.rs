//! An explanation as a person reads it.

use std::fmt;

use super::{Attach, Explanation, Mismatch, Outcome};
use crate::config::{ErrorDetails, FailureMode};
use crate::credential_headers::{AUTHORIZATION, ExistingCredential, SERVERLESS_AUTHORIZATION};

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome.fmt(formatter)?;
        if self.audience_from_metadata {
            line(
                formatter,
                "note",
                "audience_from_metadata is on: what the route or the cluster carries goes first",
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None { rules, more_rules } => {
                line(
                    formatter,
                    "rule",
                    "none matches: the request goes on as it is, without a token",
                )?;
                for Mismatch { rule, reason } in rules {
                    line(formatter, &format!("  [{rule}]"), reason)?;
                }
                if *more_rules > 0 {
                    line(
                        formatter,
                        "  …",
                        &format!("and {more_rules} more rules that do not match"),
                    )?;
                }
                Ok(())
            }
            Self::Bypass { rule, matches } => {
                line(formatter, "rule", &format!("audiences[{rule}] ({matches})"))?;
                line(
                    formatter,
                    "bypass",
                    "the request goes on as it is, without a token",
                )
            }
            Self::Attach(attach) => attach.fmt(formatter),
            Self::Error {
                rule,
                problem,
                failure_mode,
            } => {
                line(formatter, "rule", &format!("audiences[{rule}]"))?;
                line(formatter, "error", &format!("no valid audience: {problem}"))?;
                line(
                    formatter,
                    "failure",
                    match failure_mode {
                        FailureMode::Deny => "the request is answered with 500",
                        FailureMode::Allow => "the request goes on without a token",
                    },
                )
            }
        }
    }
}

impl fmt::Display for Attach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(
            formatter,
            "rule",
            &format!("audiences[{}] ({})", self.rule, self.matches),
        )?;
        let derived = self
            .template
            .as_ref()
            .map(|template| format!(" (derived: {template})"));
        if let Some(audience) = &self.audience {
            let text = format!("{audience}{}", derived.unwrap_or_default());
            line(formatter, "audience", &text)?;
        }
        for scope in self.scopes.iter().flatten() {
            line(formatter, "scope", scope)?;
        }
        let token = match self.scopes {
            Some(_) => "ACCESS_TOKEN",
            None => "ID_TOKEN",
        };
        for header in &self.headers {
            line(formatter, "header", &format!("{header}: Bearer {token}"))?;
        }
        line(formatter, "caller", &self.existing_credential_in_words())?;
        line(formatter, "failure", &self.failure())?;
        if let Some(reason) = &self.callouts_unknown {
            line(formatter, "callout", &format!("unknown here: {reason}"))?;
        }
        for callout in &self.callouts {
            line(
                formatter,
                "callout",
                &format!(
                    "{} {}://{}{}",
                    callout.method, callout.scheme, callout.authority, callout.path
                ),
            )?;
            let through = callout
                .cluster
                .as_ref()
                .map(|name| format!("through cluster {name:?}, "));
            let seconds = callout.timeout_seconds;
            line(
                formatter,
                "",
                &format!("{}at most {seconds}s", through.unwrap_or_default()),
            )?;
        }
        line(
            formatter,
            "fetched",
            if self.prefetched {
                "as soon as it is configured, and again before it ends"
            } else {
                "when a request first needs it, and again before it ends while it is in use"
            },
        )
    }
}

impl Attach {
    fn existing_credential_in_words(&self) -> String {
        let names = self.headers.join(" and ");
        let said = match self.existing_credential {
            ExistingCredential::Replace => format!("its own {names} is overwritten"),
            ExistingCredential::Keep => {
                format!("with its own {names} the request goes on as it is")
            }
            ExistingCredential::Forward => {
                let moved: Vec<String> = self
                    .headers
                    .iter()
                    .map(|name| format!("x-forwarded-{name}"))
                    .collect();
                format!("its own {names} moves to {}", moved.join(" and "))
            }
            ExistingCredential::Alongside => format!(
                "its own {AUTHORIZATION} stays, and the token goes into {SERVERLESS_AUTHORIZATION}"
            ),
        };
        format!("{said} (existing_credential: {})", self.existing_credential)
    }

    fn failure(&self) -> String {
        let timeout = self.timeout_seconds;
        match (self.failure_mode, self.error_details) {
            (FailureMode::Deny, ErrorDetails::Body) => format!(
                "after {timeout}s at the latest 503 if it may pass, 500 if not, with the reason (failure_mode: deny)"
            ),
            (FailureMode::Deny, ErrorDetails::Log) => format!(
                "after {timeout}s at the latest 503 if it may pass, 500 if not; the reason is only in the log \
                 (failure_mode: deny, error_details: log)"
            ),
            (FailureMode::Allow, _) => format!(
                "after {timeout}s at the latest it goes on without a token (failure_mode: allow)"
            ),
        }
    }
}

fn line(formatter: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(formatter, "{name:<9} {text}")
}
