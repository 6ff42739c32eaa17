# The WASI components. Needs common.sh and rust.sh.

component_target=wasm32-wasip2
egress=$root/target/$component_target/release/invoker-egress.wasm

# build_components: into $egress. No wasm-opt, which knows modules only.
build_components() {
  ensure_rust "$component_target"
  say "Building invoker-egress.wasm ..."
  build_wasm "$component_target"
  mkdir -p "$(dirname "$egress")"
  cp "$root/target/$component_target/module/invoker.wasm" "$egress"
}
