"""What the end-to-end tests are made of: real processes on loopback, each on a port of its own.

- ``envoy``: an Envoy, its log, its statistics, its access log; ``bootstrap`` writes its configuration
- ``sidecar``: an Envoy with Invoker in it, in one of the two places, and requests through it
- ``emulator``: ``invoker emulate``, its faults and the calls that reached it
- ``upstream``: a receiving service that says what arrived
- ``client``: many requests at once; clients that leave; bytes on a socket
- ``grpc_service``: gRPC, both ends
"""
