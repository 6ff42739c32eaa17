package main

import (
	"bytes"
	"strings"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/slices"
)

const (
	connectionManager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
	// How the names of these filters end.
	peerMetadata = "_peer_metadata"
)

// forReleasedEnvoy leaves a waypoint's telemetry filters out, which are only in Istio's own build of Envoy. For
// sidecars and gateways Istio has switches for that.
type forReleasedEnvoy struct{ model.XdsResourceGenerator }

func (f forReleasedEnvoy) Generate(
	proxy *model.Proxy, watched *model.WatchedResource, request *model.PushRequest,
) (model.Resources, model.XdsLogDetails, error) {
	resources, details, err := f.XdsResourceGenerator.Generate(proxy, watched, request)
	for _, resource := range resources {
		if resource.Resource, err = withoutPeerMetadata(resource.Resource); err != nil {
			return nil, details, err
		}
	}
	return resources, details, err
}

func withoutPeerMetadata(resource *anypb.Any) (*anypb.Any, error) {
	// The same factory under the name that it has in every Envoy; as long as the other, as it happens.
	resource.Value = bytes.ReplaceAll(resource.Value, []byte("istio.hashable_string"), []byte("envoy.hashable_string"))
	one := &listener.Listener{}
	if err := resource.UnmarshalTo(one); err != nil {
		return nil, err
	}
	for _, chain := range append(one.FilterChains, one.DefaultFilterChain) {
		for _, filter := range chain.GetFilters() {
			if filter.GetTypedConfig().GetTypeUrl() != connectionManager {
				continue
			}
			manager := &hcm.HttpConnectionManager{}
			if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
				return nil, err
			}
			manager.HttpFilters = slices.Filter(manager.HttpFilters, func(filter *hcm.HttpFilter) bool {
				return !strings.HasSuffix(filter.GetName(), peerMetadata)
			})
			config, err := anypb.New(manager)
			if err != nil {
				return nil, err
			}
			filter.ConfigType = &listener.Filter_TypedConfig{TypedConfig: config}
		}
	}
	return anypb.New(one)
}
