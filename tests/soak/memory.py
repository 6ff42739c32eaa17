"""What Envoy takes: as the operating system sees it, and the linear memories of its virtual machines."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from harness.envoy import Envoy

# V8 reserves this much and more of addresses behind each linear memory, so that no bounds need to be checked.
_GUARD_BYTES = 4 << 30
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    at: float
    resident: int
    # What Envoy's own allocator has given out.
    allocated: int
    # Of each virtual machine.
    linear: list[int]


def sample(envoy: Envoy) -> Sample:
    allocated = int(envoy.admin.get("/memory").json()["allocated"])
    return Sample(time.time(), envoy.resident_bytes(), allocated, linear_memories(envoy.pid))


def linear_memories(pid: int) -> list[int]:
    """Each is what is readable and writable in front of a huge stretch that is neither."""
    mappings = [
        (int(start, 16), int(end, 16), access)
        for start, end, access in _MAPPING.findall(Path(f"/proc/{pid}/maps").read_text())
    ]
    return [
        end - start
        for (start, end, access), (behind, behind_end, guard) in zip(mappings, mappings[1:], strict=False)
        if access.startswith("rw") and end == behind and guard.startswith("---") and behind_end - behind > _GUARD_BYTES
    ]
