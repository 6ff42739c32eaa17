# Tools that are built from the Go module proxy, under .tools. Needs common.sh.

# Without debug information, which nobody would look at.
go_flags=(-ldflags=-s\ -w -gcflags=all=-dwarf=false)

# install_go_tool NAME PACKAGE VERSION: prints the tool's path, and builds it first if it is not there.
install_go_tool() {
  local name=$1 package=$2 version=$3
  local binary=$tools/$name-$version/$name
  if [[ ! -x $binary ]]; then
    require go "$name is built from source: install Go from https://go.dev/doc/install and try again."
    say "Building $name $version ..."
    GOBIN=$(dirname "$binary") go install "${go_flags[@]}" "$package@$version" >&2 ||
      die "go could not build $name $version; its own message stands above."
  fi
  printf '%s\n' "$binary"
}

# install_go_module NAME FOLDER BUILD-ARGUMENTS...: prints the folder .tools/NAME with what `go build` makes of the module in FOLDER,
# and builds it first if it is not there.
install_go_module() {
  local name=$1 source=$root/$2 folder=$tools/$1
  shift 2
  local wanted
  wanted=$(find "$source" -maxdepth 1 -name 'go.*' -o -maxdepth 1 -name '*.go' | sort | xargs cat | cksum)
  wanted+=" ${go_flags[*]} $*"
  if [[ $(cat "$folder/.installed" 2>/dev/null) != "$wanted" ]]; then
    require go "$name is built from source: install Go from https://go.dev/doc/install and try again."
    say "Building $name (some minutes, once) ..."
    rm -rf "$folder"
    mkdir -p "$folder"
    (cd "$source" && go build "${go_flags[@]}" -o "$folder/" "$@") >&2 || die "go could not build $name; its own message stands above."
    printf '%s' "$wanted" >"$folder/.installed"
  fi
  printf '%s\n' "$folder"
}
