# Envoy Gateway, under .tools. Needs common.sh and go.sh.

envoy_gateway_version=v1.9.1

# The first build takes some minutes: Envoy Gateway brings Kubernetes' client libraries along.
install_envoy_gateway() {
  install_go_tool envoy-gateway github.com/envoyproxy/gateway/cmd/envoy-gateway "$envoy_gateway_version"
}
