"""What the end-to-end tests are made of: real processes on loopback, each on a port of its own.

- ``envoy``: an Envoy, its log, its statistics, its access log; ``bootstrap`` writes its configuration
- ``sidecar``: an Envoy with Invoker in it, in one of the two places, and requests through it
- ``emulator``: ``invoker emulate``, its faults and the calls that reached it
- ``upstream``: a receiving service that says what arrived
- ``client``: many requests at once; clients that leave; bytes on a socket
- ``grpc_service``: gRPC, both ends
- ``tls``, ``spiffe``: certificates of servers, and of a mesh's workloads
- ``cloud_run``: two private services behind envoy/receiver.yaml, with TLS and the names that Cloud Run would give them;
  ``private_services``: the same for any names, and the token arrives with the request
- ``istio``: istiod, pilot-agent and istioctl; ``mesh``: a proxy of a mesh with all that it talks to; ``hbone``: ztunnel
- ``envoy_gateway``: the real Envoy Gateway, standalone; ``gateway``: envoy/gateway on it
- ``registry``, ``module_server``: where meshes fetch the module; ``resolver``: a name server
"""
