# Prometheus and promtool, under .tools. Needs common.sh and go.sh.

# install_prometheus: prints the folder with both, and builds them first if they are not there. Without the service discoveries, each of
# which brings a cloud's libraries along.
install_prometheus() {
  install_go_module prometheus tests/e2e/prometheus -tags remove_all_sd \
    github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool
}
