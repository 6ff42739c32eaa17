# cargo-deny over every lock file. Needs common.sh and cargo-tools.sh.

# What has dependencies of its own.
audited_crates=(. fuzz scripts/lib/wasm-bindgen tests/bench/empty-sdk-filter tests/components/applications tests/components/wasmtime tests/e2e/neighbour)

# audit CHECKS...: licences and advisories of all, bans of what ships alone: a test host may well bring two versions of a crate.
audit() {
  local cargo_deny folder checks
  cargo_deny=$(install_cargo_tool cargo-deny "$cargo_deny_version")
  for folder in "${audited_crates[@]}"; do
    checks=("$@")
    [[ $folder == . ]] || checks=("${checks[@]/#bans/}")
    say "Auditing $folder ..."
    # shellcheck disable=SC2046 # words, some of which are empty
    "$cargo_deny" --manifest-path "$root/$folder/Cargo.toml" --config "$root/deny.toml" --locked \
      check --hide-inclusion-graph $(printf '%s ' "${checks[@]}") >&2 ||
      die "cargo-deny found something in $folder; it stands above."
  done
}
