//! What a server gives as an ID token: what is taken belongs in a header, and is for whom it was asked for.

#![no_main]

use arbitrary::Arbitrary;
use invoker::audience::Audience;
use invoker::token::Token;
use invoker_fuzz::{belongs_in_a_header, jwt};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    audience: &'a str,
    given: Given<'a>,
}

#[derive(Arbitrary, Debug)]
enum Given<'a> {
    Text(&'a str),
    /// A JWT with these claims, so that they get past its outer form.
    Claims(&'a str),
    /// A JWT of which all but its audience and its end is in order.
    Token {
        aud: Aud<'a>,
        exp: Exp<'a>,
    },
}

#[derive(Arbitrary, Debug)]
enum Aud<'a> {
    Own,
    Longer(&'a str),
    Other(&'a str),
    List(Vec<&'a str>),
}

#[derive(Arbitrary, Debug)]
enum Exp<'a> {
    Whole(u64),
    Signed(i64),
    Real(f64),
    Text(&'a str),
    None,
}

fuzz_target!(|input: Input<'_>| {
    let Ok(audience) = Audience::parse(input.audience) else {
        return;
    };
    let text = match input.given {
        Given::Text(text) => text.to_owned(),
        Given::Claims(claims) => jwt(claims),
        Given::Token { aud, exp } => {
            let aud: Value = match aud {
                Aud::Own => audience.as_str().into(),
                Aud::Longer(more) => format!("{}{more}", audience.as_str()).into(),
                Aud::Other(other) => other.into(),
                Aud::List(list) => list.into(),
            };
            let exp: Value = match exp {
                Exp::Whole(seconds) => seconds.into(),
                Exp::Signed(seconds) => seconds.into(),
                Exp::Real(seconds) => seconds.into(),
                Exp::Text(text) => text.into(),
                Exp::None => Value::Null,
            };
            jwt(&json!({"aud": aud, "exp": exp}).to_string())
        }
    };
    match Token::id_token(&text, &audience) {
        Ok(token) => {
            assert_eq!(token.secret(), text);
            assert!(
                belongs_in_a_header(token.authorization()),
                "{:?}",
                token.authorization()
            );
            let claims = token.claims().expect("they were read before");
            assert_eq!(
                claims.get("aud").and_then(|aud| aud.as_str()),
                Some(audience.as_str())
            );
            assert!(token.usable_end() <= token.expires_at());
            assert!(
                !format!("{token:?}").contains(&text),
                "Debug shows the token"
            );
        }
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains(char::is_control), "{message:?}");
            assert!(
                message.len() < 1000,
                "{} bytes about a bad token",
                message.len()
            );
        }
    }
});
