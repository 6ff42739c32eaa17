# Istio's own programs, under .tools. Needs common.sh and go.sh.

# install_istio: prints the folder with istiod (Istio's discovery server without Kubernetes), pilot-agent,
# istioctl and the bootstrap template of pilot-agent, and builds them first if they are not there.
install_istio() {
  local source=tests/e2e/istiod folder template
  folder=$(install_go_module istio "$source" . istio.io/istio/istioctl/cmd/istioctl istio.io/istio/pilot/cmd/pilot-agent)
  if [[ ! -f $folder/envoy_bootstrap.json ]]; then
    template=$(cd "$root/$source" && go list -m -f '{{.Dir}}' istio.io/istio)/tools/packaging/common/envoy_bootstrap.json
    install -m 644 "$template" "$folder/envoy_bootstrap.json"
  fi
  printf '%s\n' "$folder"
}
