# crane, which pushes images and serves a registry for the tests. Needs common.sh and go.sh.

crane_version=v0.22.1

install_crane() {
  install_go_tool crane github.com/google/go-containerregistry/cmd/crane "$crane_version"
}
