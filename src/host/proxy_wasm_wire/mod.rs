//! The formats in which a proxy-wasm host passes values: apart from the calls themselves, so that
//! their tests run on any machine.

pub(in crate::host) mod pairs;
pub(in crate::host) mod protobuf_struct;
pub(in crate::host) mod sign;
