# The fuzz targets. Needs common.sh and cargo-tools.sh.

fuzz_builds=$root/target/fuzz
# Inputs that lead somewhere new are collected here; fuzz/corpus, which git keeps, is only read.
fuzz_found=$fuzz_builds/corpus
fuzz_artifacts=$root/fuzz/artifacts
fuzz_logs=$fuzz_builds/logs
# What libFuzzer calls a file.
fuzz_name='.*/[0-9a-f]{40}'

fuzz_targets() {
  local file
  for file in "$root"/fuzz/fuzz_targets/*.rs; do basename "$file" .rs; done
}

# corpora TARGET: the folders whose files a target begins with.
corpora() {
  printf '%s\n' "$fuzz_found/$1"
  [[ ! -d $root/fuzz/corpus/$1 ]] || printf '%s\n' "$root/fuzz/corpus/$1"
  case $1 in
    bootstrap) printf '%s\n' "$root/envoy" "$root/tests/check" ;;
    istio) printf '%s\n' "$root/envoy/istio" "$root/envoy/gateway" "$root/tests/check/istio" ;;
  esac
}

build_fuzz_targets() {
  require cargo "Install Rust from https://rustup.rs/ and try again."
  cargo +nightly --version >/dev/null 2>&1 || die \
    "fuzzing needs Rust's nightly toolchain, for what instruments the code." \
    "rustup toolchain install nightly"
  local cargo_fuzz
  cargo_fuzz=$(install_cargo_tool cargo-fuzz "$cargo_fuzz_version")
  say "Building the fuzz targets (some minutes, once) ..."
  # Without the address sanitizer, which would find nothing in safe code and halve the inputs a second.
  (cd "$root" && cargo +nightly --quiet fetch --locked --manifest-path fuzz/Cargo.toml &&
    RUSTUP_TOOLCHAIN=nightly "$cargo_fuzz" build --sanitizer none --target-dir "$fuzz_builds") >&2
}

fuzz_binary() { printf '%s\n' "$fuzz_builds/$(uname -m)-unknown-linux-gnu/release/$1"; }

# run_fuzz_targets SECONDS TARGETS...: as many at once as there are processors.
run_fuzz_targets() {
  local seconds=$1 target failed=()
  shift
  mkdir -p "$fuzz_logs"
  export -f fuzz_one corpora fuzz_binary
  export root fuzz_builds fuzz_found fuzz_artifacts fuzz_logs
  printf '%s\0' "$@" | xargs -0 -n 1 -P "$(getconf _NPROCESSORS_ONLN)" bash -c 'fuzz_one "$0" "$1"' "$seconds" || true
  for target in "$@"; do
    [[ -f $fuzz_logs/$target.passed ]] || failed+=("$target")
  done
  ((${#failed[@]} == 0)) || die "broken: ${failed[*]}. The inputs are in $(short_path "$fuzz_artifacts")." \
    "Play one again: target/fuzz/…/release/TARGET fuzz/artifacts/TARGET/FILE"
}

# fuzz_one SECONDS TARGET
fuzz_one() {
  local seconds=$1 target=$2 folders
  mapfile -t folders < <(corpora "$target")
  mkdir -p "$fuzz_found/$target" "$fuzz_artifacts/$target"
  rm -f "$fuzz_logs/$target.passed"
  # Memory as a virtual machine of Envoy's would never have it; an input that takes ten seconds is a defect, too.
  if "$(fuzz_binary "$target")" "${folders[@]}" -artifact_prefix="$fuzz_artifacts/$target/" -max_total_time="$seconds" \
    -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 >"$fuzz_logs/$target.log" 2>&1; then
    touch "$fuzz_logs/$target.passed"
    printf '%-17s %9s inputs, %s a second\n' "$target" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$fuzz_logs/$target.log")" \
      "$(sed -n 's/^stat::average_exec_per_sec: *//p' "$fuzz_logs/$target.log")"
  else
    printf '%-17s BROKEN; the end of %s:\n' "$target" "${fuzz_logs#"$root"/}/$target.log"
    tail -n 60 "$fuzz_logs/$target.log"
  fi
}

# keep_corpora TARGETS...: of all inputs, as few as reach the code that all reach. (How often a loop went round counts while
# searching, not here: it would be ten times as many files.) What a fuzzer found is called by its SHA-1; other names are people's.
keep_corpora() {
  local target folders kept corpus
  for target in "$@"; do
    mapfile -t folders < <(corpora "$target")
    kept=$(mktemp -d "$fuzz_builds/kept.XXXXXX")
    corpus=$root/fuzz/corpus/$target
    "$(fuzz_binary "$target")" -merge=1 -use_counters=0 -verbosity=0 "$kept" "${folders[@]}" >"$fuzz_logs/$target.merge.log" 2>&1 ||
      die "the corpus of $target could not be merged; see $(short_path "$fuzz_logs/$target.merge.log")."
    # People's own are there already, under their names.
    find "${folders[@]}" -regextype posix-extended -type f ! -regex "$fuzz_name" -exec sha1sum {} + | while read -r name _; do rm -f "$kept/$name"; done
    mkdir -p "$corpus"
    find "$corpus" -regextype posix-extended -type f -regex "$fuzz_name" -delete
    find "$kept" -type f -exec mv -t "$corpus" {} +
    rm -rf "$kept"
    say "$target: $(find "$corpus" -type f | wc -l | tr -d ' ') inputs"
  done
}
