"""What the shipped module asks of its host, and what it lets the host call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.bootstrap import MODULE
from harness.process import built

# Each export that Envoy calls for a request is an entry into the VM, some 4,000 instructions: nothing
# comes in here that a request can do without.
EXPORTS = {
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_http_call_response",
    "proxy_on_memory_allocate",
    "proxy_on_queue_ready",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_tick",
}

IMPORTS = {
    "env.proxy_call_foreign_function",
    "env.proxy_continue_stream",
    "env.proxy_define_metric",
    "env.proxy_dequeue_shared_queue",
    "env.proxy_enqueue_shared_queue",
    "env.proxy_get_buffer_bytes",
    "env.proxy_get_header_map_pairs",
    "env.proxy_get_header_map_value",
    "env.proxy_get_log_level",
    "env.proxy_get_property",
    "env.proxy_get_shared_data",
    "env.proxy_http_call",
    "env.proxy_increment_metric",
    "env.proxy_log",
    "env.proxy_record_metric",
    "env.proxy_register_shared_queue",
    "env.proxy_remove_header_map_value",
    "env.proxy_replace_header_map_value",
    "env.proxy_send_local_response",
    "env.proxy_set_effective_context",
    "env.proxy_set_shared_data",
    "env.proxy_set_tick_period_milliseconds",
}

# What the standard library brings; Envoy has all of it.
WASI = {
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
}


def test_the_module_exports_nothing_that_a_request_can_do_without() -> None:
    exports = {name for name, _ in names(built(MODULE), section=7, with_module=False)}
    assert exports == EXPORTS


def test_the_module_imports_only_what_it_uses() -> None:
    imports = {f"{module}.{name}" for module, name in names(built(MODULE), section=2, with_module=True)}
    wasi = {f"wasi_snapshot_preview1.{name}" for name in WASI}
    assert imports - wasi == IMPORTS
    assert imports & wasi >= {"wasi_snapshot_preview1.clock_time_get", "wasi_snapshot_preview1.random_get"}


def names(module: Path, section: int, with_module: bool) -> Iterator[tuple[str, str]]:
    """The names in an import section (2) or export section (7) of the binary format."""
    code = module.read_bytes()
    assert code[:8] == b"\0asm\x01\0\0\0", "not a WebAssembly module"
    position = 8
    while position < len(code):
        kind = code[position]
        size, position = number(code, position + 1)
        if kind == section:
            count, at = number(code, position)
            for _ in range(count):
                first, at = text(code, at)
                second, at = text(code, at) if with_module else ("", at)
                yield first, second
                # Functions, and the exported memory: a kind and one number.
                at += 1
                _, at = number(code, at)
        position += size


def text(code: bytes, at: int) -> tuple[str, int]:
    length, at = number(code, at)
    return code[at : at + length].decode(), at + length


def number(code: bytes, at: int) -> tuple[int, int]:
    """LEB128, unsigned."""
    value = shift = 0
    while True:
        byte = code[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
