"""Waiting for a condition. A deadline here is a safety net, never a statement about speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], what: str, within: float = 15.0) -> T:
    """The condition's first truthy value."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within:g} s in vain for {what}; last value: {value!r}")
        time.sleep(0.02)
