"""What the end-to-end tests are made of: real processes on loopback, each on a port of its own.

- ``envoy``: an Envoy, its log, its statistics, its access log; ``bootstrap`` writes its configuration
- ``sidecar``: an Envoy with Invoker in it, in one of the two places, and requests through it
- ``emulator``: ``invoker emulate``, its faults and the calls that reached it
- ``upstream``: a receiving service that says what arrived
- ``cloud_run``: two private services behind envoy/receiver.yaml, with TLS and the names that Cloud Run would give them
- ``envoy_gateway``: the real Envoy Gateway, standalone; ``gateway`` is envoy/gateway on it
- ``registry``: a container registry, and the module as an image
- ``client``: many requests at once; clients that leave; bytes on a socket
- ``grpc_service``: gRPC, both ends
"""
