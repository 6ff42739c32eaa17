# vegeta, the load generator of the benchmark, installed under .tools. Needs common.sh.

vegeta_version=v12.13.0

# install_vegeta: prints its path, and builds it first if it is not there.
install_vegeta() {
  local binary=$tools/vegeta-$vegeta_version/vegeta
  if [[ ! -x $binary ]]; then
    require go "vegeta is built from source: install Go from https://go.dev/doc/install and try again."
    say "Building vegeta $vegeta_version ..."
    GOBIN=$(dirname "$binary") go install "github.com/tsenart/vegeta/v12@$vegeta_version" >&2 ||
      die "go could not build vegeta $vegeta_version; its own message stands above."
  fi
  printf '%s\n' "$binary"
}
