# Envoy Gateway, and crane for the registry that its tests pull from, under .tools. Needs common.sh and go.sh.

envoy_gateway_version=v1.9.1
crane_version=v0.22.1

# The first build takes some minutes: Envoy Gateway brings Kubernetes' client libraries along.
install_envoy_gateway() {
  install_go_tool envoy-gateway github.com/envoyproxy/gateway/cmd/envoy-gateway "$envoy_gateway_version"
}

install_crane() {
  install_go_tool crane github.com/google/go-containerregistry/cmd/crane "$crane_version"
}
