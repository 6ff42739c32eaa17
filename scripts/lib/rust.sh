# Building: the module that Envoy loads, and the `invoker` command. Needs common.sh and wasm-opt.sh.

wasm_target=wasm32-wasip1
module=$root/target/$wasm_target/release/invoker.wasm
panicking_module=$root/target/test-panic/$wasm_target/release/invoker.wasm
invoker=$root/target/release/invoker

# ensure_rust TARGETS...: Cargo, and Rust's library for these; without any, for the module's.
ensure_rust() {
  require cargo "Install Rust from https://rustup.rs/ and try again."
  local sysroot target
  sysroot=$(cd "$root" && rustc --print sysroot)
  for target in "${@:-$wasm_target}"; do
    [[ -d $sysroot/lib/rustlib/$target/lib ]] && continue
    command -v rustup >/dev/null 2>&1 || die \
      "this Rust has no $target target, and there is no rustup to add it." \
      "Install Rust from https://rustup.rs/, or the package that brings Rust's $target library."
    say "Adding Rust's target $target ..."
    (cd "$root" && rustup target add "$target") >&2
  done
}

build_module() {
  say "Building invoker.wasm ..."
  build_small_module "$root/target"
}

build_command() {
  say "Building the invoker command ..."
  (cd "$root" && cargo build --release --bin invoker) >&2
}

# A module that panics on demand, for the tests of what Envoy does then. It has a folder of its own:
# nobody can load it by mistake for the real one.
build_panicking_module() {
  say "Building the module that panics on demand, for the tests ..."
  build_small_module "$root/target/test-panic" --features test-panic
}

# build_small_module FOLDER CARGO-ARGUMENTS...: what ships, and what is tested, is what wasm-opt makes
# of it, in the place where `cargo build --release` would put a module.
build_small_module() {
  local folder=$1/$wasm_target
  build_wasm "$wasm_target" --target-dir "$1" "${@:2}"
  mkdir -p "$folder/release"
  wasm_opt "$folder/module/invoker.wasm" "$folder/release/invoker.wasm"
}

# build_wasm TARGET CARGO-ARGUMENTS...: the library for that target, as it ships.
build_wasm() {
  # Where the crates' sources are on this machine is nobody's business, and would change the digest.
  local crates=${CARGO_HOME:-$HOME/.cargo}
  (cd "$root" && RUSTFLAGS="${RUSTFLAGS-} --remap-path-prefix=$crates=/cargo" \
    cargo build --profile module --lib --target "$1" "${@:2}") >&2
}

# A filter that reads and writes its neighbours' shared data, for the tests of who can hurt whom.
build_neighbour_module() {
  say "Building the hostile neighbour, for the tests ..."
  build_filter tests/e2e/neighbour
}

# A filter on the Rust SDK that does nothing, for the benchmark.
build_empty_filter() {
  say "Building the empty filter, to compare with ..."
  build_filter tests/bench/empty-sdk-filter
}

# build_filter FOLDER: a crate of its own, built into target under its folder's name.
build_filter() {
  (cd "$root/$1" && CARGO_TARGET_DIR=$root/target/$(basename "$1") \
    cargo build --release --target "$wasm_target") >&2
}
