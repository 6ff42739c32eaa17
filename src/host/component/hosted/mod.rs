//! What some hosts have and others do not (`wit/hosted`): a store of settings, and one of keys and values.

#[allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "generated"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "wit/hosted",
        world: "hosted",
        generate_all,
    });
}

mod key_value;
mod settings;

pub(super) use self::key_value::KeyValue;
pub(super) use self::settings::setting;
