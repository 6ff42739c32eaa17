"""Envoy's configuration as Python dicts, in pieces that a test can bend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .process import TARGET

Json = dict[str, Any]

MODULE = TARGET / "wasm32-wasip1" / "release" / "invoker.wasm"
# Panics when a request carries `x-invoker-test-panic`; scripts/test builds it.
PANICKING_MODULE = TARGET / "test-panic" / "wasm32-wasip1" / "release" / "invoker.wasm"
# Reads and writes the shared data of everyone with its vm_id; scripts/test builds it.
NEIGHBOUR_MODULE = TARGET / "neighbour" / "wasm32-wasip1" / "release" / "neighbour.wasm"


def message(kind: str, **fields: Any) -> Json:
    """A protobuf ``Any``: ``kind`` is the message's name after ``envoy.``."""
    return {"@type": f"type.googleapis.com/envoy.{kind}", **fields}


@dataclass
class Plugin:
    """One plugin in Envoy's sense: a configuration, and the virtual machine that it runs in."""

    config: Json | str
    name: str = "invoker"
    vm_id: str = "invoker"
    module: Path = MODULE
    # Environment variables of Envoy's that the virtual machine may see.
    environment: Sequence[str] = ()
    # More fields of PluginConfig, such as failure_policy.
    extra: Json = field(default_factory=dict)

    def http_filter(self) -> Json:
        text = self.config if isinstance(self.config, str) else json.dumps(self.config)
        return {
            "name": self.name,
            "typed_config": message(
                "extensions.filters.http.wasm.v3.Wasm",
                config={
                    "name": self.name,
                    "failure_policy": "FAIL_RELOAD",
                    "vm_config": {
                        "vm_id": self.vm_id,
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": {"local": {"filename": str(self.module)}},
                        **(
                            {"environment_variables": {"host_env_keys": list(self.environment)}}
                            if self.environment
                            else {}
                        ),
                    },
                    "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text},
                    **self.extra,
                },
            ),
        }


@dataclass
class Cluster:
    """Where requests go. No port: a cluster without a healthy endpoint."""

    name: str
    port: int | None
    http2: bool = False
    # filter_metadata of the cluster, by filter name.
    metadata: Json = field(default_factory=dict)
    # typed_filter_metadata of the cluster, by filter name.
    typed_metadata: Json = field(default_factory=dict)
    # More fields of Cluster, such as circuit_breakers.
    extra: Json = field(default_factory=dict)

    def build(self, filters: list[Json] | None = None) -> Json:
        protocol: Json = {"http2_protocol_options": {}} if self.http2 else {"http_protocol_options": {}}
        options = message("extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config=protocol)
        if filters:
            options["http_filters"] = [*filters, UPSTREAM_CODEC]
        metadata: Json = {}
        if self.metadata:
            metadata["filter_metadata"] = self.metadata
        if self.typed_metadata:
            metadata["typed_filter_metadata"] = self.typed_metadata
        endpoints = [] if self.port is None else [{"endpoint": {"address": loopback(self.port)}}]
        return {
            "name": self.name,
            "type": "STATIC",
            "connect_timeout": "2s",
            "load_assignment": {"cluster_name": self.name, "endpoints": [{"lb_endpoints": endpoints}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
            **({"metadata": metadata} if metadata else {}),
            **self.extra,
        }


def loopback(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


UPSTREAM_CODEC: Json = {
    "name": "envoy.filters.http.upstream_codec",
    "typed_config": message("extensions.filters.http.upstream_codec.v3.UpstreamCodec"),
}

ROUTER: Json = {
    "name": "envoy.filters.http.router",
    "typed_config": message("extensions.filters.http.router.v3.Router"),
}


def route(cluster: str, prefix: str = "/", **action: Any) -> Json:
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster, "timeout": "15s", **action}}


def virtual_host(name: str, domains: list[str], routes: list[Json], **more: Any) -> Json:
    return {"name": name, "domains": domains, "routes": routes, **more}


def hosts_of(cluster: str) -> list[str]:
    """The hosts that lead to a cluster, when a test does not say otherwise."""
    return [f"{cluster}.test", f"*.{cluster}.test"]


def listener(
    name: str, virtual_hosts: list[Json], filters: list[Json], access_log: Path, manager: Json | None = None
) -> Json:
    """An HTTP listener on any free port. ``manager``: more fields of the HttpConnectionManager."""
    log_format = {
        "id": "%REQ(X-TEST-ID)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "cluster": "%UPSTREAM_CLUSTER%",
    }
    connection_manager = message(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        stream_idle_timeout="20s",
        # Tests that read until the end of the connection need not wait for it.
        delayed_close_timeout="0.05s",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        access_log=[
            {
                "name": "envoy.access_loggers.file",
                "typed_config": message(
                    "extensions.access_loggers.file.v3.FileAccessLog",
                    path=str(access_log),
                    log_format={"json_format": log_format},
                ),
            }
        ],
        http_filters=[*filters, ROUTER],
    )
    connection_manager["route_config"] = {
        "name": name,
        "ignore_port_in_host_matching": True,
        "virtual_hosts": virtual_hosts,
    }
    connection_manager.update(manager or {})
    return {
        "name": name,
        "address": loopback(0),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager}]}
        ],
    }


# Histograms are merged when the statistics are flushed.
COMMON: Json = {"admin": {"address": loopback(0)}, "stats_flush_interval": "0.5s"}


def bootstrap(listeners: list[Json], clusters: list[Json]) -> Json:
    return {
        **COMMON,
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"
CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"


def from_files(folder: Path) -> Json:
    """A bootstrap whose listeners and clusters come from files, so that they can change."""

    def source(name: str) -> Json:
        return {"resource_api_version": "V3", "path_config_source": {"path": str(folder / name)}}

    return {
        "node": {"id": "test", "cluster": "test"},
        **COMMON,
        "dynamic_resources": {"lds_config": source("listeners.json"), "cds_config": source("clusters.json")},
    }


def publish(path: Path, kind: str, resources: list[Json], version: int) -> None:
    """Replaces a file of resources as Envoy wants it: by a move, never by writing into it."""
    body = {"version_info": str(version), "resources": [{"@type": kind, **resource} for resource in resources]}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(body, indent=1))
    fresh.replace(path)
