# cargo-deny over every lock file. Needs common.sh and cargo-tools.sh.

# locked_crates: the folders that have dependencies of their own, below the root.
locked_crates() {
  find "$root" \( -name target -o -name .tools -o -name node_modules \) -prune -o -name Cargo.lock -print |
    sed "s|/Cargo.lock$||; s|^$root/\{0,1\}||" | grep . | sort
}

# audit CHECKS...: beside licences and sources. Bans are for what ships: a test host may well bring two versions of a crate.
audit() {
  local cargo_deny folders folder
  cargo_deny=$(install_cargo_tool cargo-deny "$cargo_deny_version")
  audit_one . bans licenses sources "$@"
  folders=$(locked_crates)
  for folder in $folders; do audit_one "$folder" licenses sources "$@"; done
}

# audit_one FOLDER CHECKS...
audit_one() {
  local folder=$1
  shift
  say "Auditing $folder ..."
  "$cargo_deny" --manifest-path "$root/$folder/Cargo.toml" --config "$root/deny.toml" --locked \
    check --hide-inclusion-graph "$@" >&2 || die "cargo-deny found something in $folder; it stands above."
}
