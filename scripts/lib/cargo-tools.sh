# Cargo's own tools, built from crates.io under .tools. Needs common.sh.

cargo_fuzz_version=0.13.2
cargo_deny_version=0.20.2

# install_cargo_tool NAME VERSION: prints the tool's path, and builds it first if it is not there.
install_cargo_tool() {
  local name=$1 version=$2
  local folder=$tools/$name-$version
  if [[ ! -x $folder/bin/$name ]]; then
    require cargo "Install Rust from https://rustup.rs/ and try again."
    say "Building $name $version (some minutes, once) ..."
    # Unoptimised and without debug information, which takes half as long, and they are fast enough.
    CARGO_TARGET_DIR=$root/target/$name CARGO_PROFILE_DEV_DEBUG=0 \
      cargo install --quiet --locked --debug --root "$folder" "$name" --version "$version" >&2 ||
      die "cargo could not build $name $version; its own message stands above."
    rm -rf "$root/target/$name"
  fi
  printf '%s\n' "$folder/bin/$name"
}
