//! `wasm-bindgen-for-invoker MODULE FOLDER`: the module without its border's description, and the JavaScript
//! that was described.

use std::env;

use anyhow::Context as _;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let module = arguments.next().context("which module?")?;
    let folder = arguments.next().context("into which folder?")?;
    Bindgen::new()
        .input_path(&module)
        .out_name("core")
        .web(true)?
        .typescript(false)
        .generate(&folder)
}
