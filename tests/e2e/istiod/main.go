// istiod serves Istio's own translation of resources into Envoy's configuration, without Kubernetes.
//
// It is Istio's discovery server as a library, fed from a file. It prints the address that it serves xDS on, and
// reads the file again for each line on standard input; it ends when that ends. A wrong resource is said, and
// what was there before stays.
//
// usage: istiod RESOURCES.yaml
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	v3 "istio.io/istio/pilot/pkg/xds/v3"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/test"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: istiod RESOURCES.yaml")
		os.Exit(2)
	}
	// Standard output is for the answers.
	options := log.DefaultOptions()
	options.OutputPaths = []string{"stderr"}
	if err := log.Configure(options); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	err := test.Wrap(func(t test.Failer) { serve(t, os.Args[1]) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(t test.Failer, path string) {
	text, configs, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	meshConfig := mesh.DefaultMeshConfig()
	server := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{
		Configs: configs,
		// For ambient mode, which asks Kubernetes itself. What changes later does not arrive there.
		KubernetesObjectString: text,
		MeshConfig:             meshConfig,
		ListenerBuilder:        func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
	})
	generators := server.Discovery.Generators
	generators[v3.ListenerType] = forReleasedEnvoy{generators[v3.ListenerType]}
	fmt.Println(server.Listener.Addr())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		_, next, err := read(path)
		if err == nil {
			err = replace(server, configs, next)
		}
		if err != nil {
			fmt.Println("refused:", err)
			continue
		}
		configs = next
		fmt.Println("taken")
	}
}

func read(path string) (string, []config.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	// What is none of Istio's resources (a Service, a Gateway of Kubernetes' own) is left to Kubernetes.
	configs, _, err := crd.ParseInputs(string(text))
	return string(text), configs, err
}

// replace brings the server from one set of resources to the next.
func replace(server *xds.FakeDiscoveryServer, before, after []config.Config) error {
	store := server.Store()
	stays := map[string]bool{}
	for _, resource := range after {
		stays[resource.Key()] = true
		var err error
		stored := store.Get(resource.GroupVersionKind, resource.Name, resource.Namespace)
		if stored == nil {
			_, err = store.Create(resource)
		} else {
			resource.ResourceVersion = stored.ResourceVersion
			resource.CreationTimestamp = stored.CreationTimestamp
			if resource.Equals(stored) {
				continue
			}
			_, err = store.Update(resource)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", resource.Key(), err)
		}
	}
	for _, resource := range before {
		if stays[resource.Key()] {
			continue
		}
		if err := store.Delete(resource.GroupVersionKind, resource.Name, resource.Namespace, nil); err != nil {
			return fmt.Errorf("%s: %w", resource.Key(), err)
		}
	}
	return nil
}
