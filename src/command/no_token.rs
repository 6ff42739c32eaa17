//! What a person is told who gets no token: what went wrong, where, and what to do.

use invoker::error::Code;
use invoker::host::native::MetadataServer;
use invoker::source::metadata::METADATA_HOST;

/// The end of a command, in three lines.
pub(super) fn error(
    what: &str,
    code: Code,
    server: &MetadataServer,
    last_exchange: Option<(&str, &str)>,
) -> anyhow::Error {
    let usual = server.to_string();
    let (asked, said) = last_exchange.unwrap_or((&usual, "no answer yet"));
    if asked != usual {
        // A file, or a program.
        let advice = if asked.contains("://") {
            advice_for_google(code)
        } else {
            "do what the first line says"
        };
        return anyhow::anyhow!("{what}\n  asked: {asked}: {said}\n  to do: {advice}");
    }
    let whence = if server.is_usual() {
        String::new()
    } else {
        format!(" (from {METADATA_HOST})")
    };
    let advice = advice(code, server);
    anyhow::anyhow!("{what}\n  asked: {asked}{whence}: {said}\n  to do: {advice}")
}

/// For servers that a credential file names.
fn advice_for_google(code: Code) -> &'static str {
    match code {
        Code::Timeout
        | Code::CalloutTimeout
        | Code::CalloutUnreachable
        | Code::CalloutUnavailable
        | Code::UnknownCluster => {
            "see that this machine reaches that server and trusts its certificate (SSL_CERT_FILE can name \
             other roots)"
        }
        Code::ServerError => "the server is ill or overloaded: ask again later",
        Code::NotFound | Code::Refused => {
            "do what the first line says, or give the caller that role"
        }
        Code::MalformedAnswer => "see that the credential file names the right server",
        Code::ExpiredToken => "set this machine's clock, or the server's",
        Code::TooManyWaiting
        | Code::InvalidAnnotation
        | Code::RefusedHeader
        | Code::InsecureUrl => "this should not happen outside of a proxy: please report it",
    }
}

fn advice(code: Code, server: &MetadataServer) -> String {
    match code {
        Code::Timeout
        | Code::CalloutTimeout
        | Code::CalloutUnreachable
        | Code::CalloutUnavailable
        | Code::UnknownCluster
            if server.is_usual() =>
        {
            format!(
                "only machines on Google Cloud have a metadata server; elsewhere start `invoker emulate` \
                 and set {METADATA_HOST} to the host and port that it prints"
            )
        }
        Code::Timeout
        | Code::CalloutTimeout
        | Code::CalloutUnreachable
        | Code::CalloutUnavailable
        | Code::UnknownCluster => format!(
            "see that a metadata server answers there (`invoker emulate` is one), or correct {METADATA_HOST}"
        ),
        Code::ServerError => "the server is ill or overloaded: ask again later".to_owned(),
        Code::NotFound => {
            "give this machine that service account, or name another one in a --config \
             (credentials.service_account); on GKE, bind the Kubernetes service account to it"
                .to_owned()
        }
        Code::Refused => format!(
            "see that the service account may be used here (on GKE: roles/iam.workloadIdentityUser), and that \
             {METADATA_HOST}, if set, names a metadata server and no proxy"
        ),
        Code::MalformedAnswer => format!(
            "see that this is a metadata server and not a web page; {METADATA_HOST} says which one is asked"
        ),
        Code::ExpiredToken => "set this machine's clock, or the server's".to_owned(),
        Code::TooManyWaiting
        | Code::InvalidAnnotation
        | Code::RefusedHeader
        | Code::InsecureUrl => {
            "this should not happen outside of a proxy: please report it".to_owned()
        }
    }
}
