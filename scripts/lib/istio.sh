# Istio's own programs, under .tools. Needs common.sh and go.sh.

# install_istio: prints the folder with istiod (Istio's discovery server without Kubernetes), pilot-agent,
# istioctl and the bootstrap template of pilot-agent, and builds them first if they are not there.
install_istio() {
  local source=$root/tests/e2e/istiod folder=$tools/istio
  local wanted
  wanted=$(cat "$source"/{go.mod,go.sum,*.go} | cksum)
  if [[ $(cat "$folder/.installed" 2>/dev/null) != "$wanted" ]]; then
    require go "Istio is built from source: install Go from https://go.dev/doc/install and try again."
    say "Building Istio's discovery server, agent and command (some minutes, once) ..."
    rm -rf "$folder"
    mkdir -p "$folder"
    (
      cd "$source"
      go build -o "$folder/" . istio.io/istio/istioctl/cmd/istioctl istio.io/istio/pilot/cmd/pilot-agent
      cp "$(go list -m -f '{{.Dir}}' istio.io/istio)/tools/packaging/common/envoy_bootstrap.json" "$folder/"
      chmod u+w "$folder/envoy_bootstrap.json"
    ) >&2 || die "go could not build Istio; its own message stands above."
    printf '%s' "$wanted" >"$folder/.installed"
  fi
  printf '%s\n' "$folder"
}
