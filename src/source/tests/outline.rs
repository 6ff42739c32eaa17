//! Each kind's servers, and the callouts that a token takes.

use super::key_file::key_file;
use super::*;
use crate::config::Credentials;

fn kinds() -> [Source; 5] {
    let key = json!({"type": "service_account_key", "key": key_file(), "cluster": "oauth2"});
    let login = Credentials::from_file(&user::file("1//refresh").to_string()).unwrap();
    let mut federation = json!({
        "type": "federation", "config": federation::file(), "cluster": "sts", "subject_cluster": "subject",
        "iam_cluster": "iam",
    });
    let json_subject = source(federation.clone());
    federation["config"]["credential_source"]["format"] = Value::Null;
    [
        source(key.clone()),
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
        let told = requests
            .iter()
            .map(|request| format!("{} ({})", request.authority, request.cluster));
        told.collect::<Vec<_>>().join(", ")
    });
    insta::assert_snapshot!(told.join("\n"), @r"
    oauth2.googleapis.com (oauth2)
    oauth2.googleapis.com (oauth2), iamcredentials.googleapis.com (iam)
    169.254.169.254 (subject), sts.googleapis.com (sts), iamcredentials.googleapis.com (iam)
    169.254.169.254 (subject), sts.googleapis.com (sts), iamcredentials.googleapis.com (iam)
    oauth2.googleapis.com (), iamcredentials.googleapis.com ()
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
    iamcredentials.googleapis.com for caller@project.iam.gserviceaccount.com
    "#);
}
