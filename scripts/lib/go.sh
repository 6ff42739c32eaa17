# Tools that are built from the Go module proxy, under .tools. Needs common.sh.

# install_go_tool NAME PACKAGE VERSION: prints the tool's path, and builds it first if it is not there.
install_go_tool() {
  local name=$1 package=$2 version=$3
  local binary=$tools/$name-$version/$name
  if [[ ! -x $binary ]]; then
    require go "$name is built from source: install Go from https://go.dev/doc/install and try again."
    say "Building $name $version ..."
    GOBIN=$(dirname "$binary") go install "$package@$version" >&2 ||
      die "go could not build $name $version; its own message stands above."
  fi
  printf '%s\n' "$binary"
}
