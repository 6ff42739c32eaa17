//! Each kind's account, its servers, and the callouts that a token takes.

use super::key_file::key_file;
use super::*;
use crate::config::Credentials;

fn kinds() -> [Source; 6] {
    let key = json!({"type": "service_account_key", "key": key_file(), "cluster": "oauth2"});
    let login = Credentials::from_file(&user::file("1//refresh").to_string()).unwrap();
    let mut federation = json!({
        "type": "federation", "config": federation::file(), "cluster": "sts", "subject_cluster": "subject",
        "iam_cluster": "iam",
    });
    let json_subject = source(federation.clone());
    federation["config"]["credential_source"]["format"] = Value::Null;
    let metadata = json!({"type": "metadata", "cluster": "metadata"});
    [
        source(key.clone()),
        source(json!({
            "type": "impersonation", "service_account": ACCOUNT, "cluster": "iam", "source": metadata,
        })),
        source(json!({
            "type": "impersonation", "service_account": ACCOUNT, "cluster": "iam", "source": key,
        })),
        json_subject,
        source(federation),
        Source::new(&login, &|_| None).unwrap(),
    ]
}

#[test]
fn each_callout_of_a_token_is_told_in_its_order() {
    let told = kinds().map(|source| {
        let requests = source.outline(&id_token(), Duration::from_secs(4));
        let told = requests.iter().map(|request| {
            let path = request.path.split('?').next().unwrap();
            let action = path.rsplit(['/', ':']).next().unwrap();
            format!("{} ({}) {action}", request.authority, request.cluster)
        });
        told.collect::<Vec<_>>().join(", ")
    });
    insta::assert_snapshot!(told.join("\n"), @r"
    oauth2.googleapis.com (oauth2) token
    metadata.google.internal (metadata) token, iamcredentials.googleapis.com (iam) generateIdToken
    oauth2.googleapis.com (oauth2) token, iamcredentials.googleapis.com (iam) generateIdToken
    169.254.169.254 (subject) token, sts.googleapis.com (sts) token, iamcredentials.googleapis.com (iam) generateIdToken
    169.254.169.254 (subject) token, sts.googleapis.com (sts) token, iamcredentials.googleapis.com (iam) generateIdToken
    oauth2.googleapis.com () token, iamcredentials.googleapis.com () generateIdToken
    ");
}

#[test]
fn the_server_that_gives_the_token_has_a_name() {
    let servers = kinds().map(|source| source.server());
    insta::assert_snapshot!(servers.join("\n"), @r#"
    the token endpoint oauth2.googleapis.com (cluster "oauth2")
    iamcredentials.googleapis.com for caller@project.iam.gserviceaccount.com (cluster "iam")
    iamcredentials.googleapis.com for caller@project.iam.gserviceaccount.com (cluster "iam")
    iamcredentials.googleapis.com for caller@project.iam.gserviceaccount.com (cluster "iam")
    iamcredentials.googleapis.com for caller@project.iam.gserviceaccount.com (cluster "iam")
    iamcredentials.googleapis.com for caller@project.iam.gserviceaccount.com
    "#);
}

#[test]
fn each_kind_with_an_account_says_whose_tokens_it_brings() {
    for source in kinds() {
        assert_eq!(source.account(), Some(ACCOUNT), "{}", source.identity());
    }
}
