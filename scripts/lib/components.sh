# The WASI components. Needs common.sh and rust.sh.

component_target=wasm32-wasip2
components=$root/target/$component_target/release
egress=$components/invoker-egress.wasm
egress_hosted=$components/invoker-egress-hosted.wasm
client=$components/invoker-client.wasm

# build_components: into $egress, $egress_hosted and $client. No wasm-opt, which knows modules only.
build_components() {
  ensure_rust "$component_target"
  build_component "$egress"
  build_component "$egress_hosted" --features hosted
  build_component "$client" --features client
}

# build_component FILE CARGO-ARGUMENTS...
build_component() {
  say "Building $(basename "$1") ..."
  build_wasm "$component_target" "${@:2}"
  mkdir -p "$components"
  cp "$root/target/$component_target/module/invoker.wasm" "$1"
}

# What the tests of the components need: a host, and applications to compose with.
build_component_hosts() {
  ensure_rust "$component_target"
  say "Building the Wasmtime host, for the tests (some minutes, once) ..."
  (cd "$root/tests/components/wasmtime" && CARGO_TARGET_DIR=$root/target/wasmtime-host cargo build --locked) >&2
  say "Building the applications, for the tests ..."
  (cd "$root/tests/components/applications" && CARGO_TARGET_DIR=$root/target/applications \
    cargo build --locked --release --target "$component_target") >&2
}
