"""What holds for every test: no network, no dependence on the order of tests, no time limits."""

from __future__ import annotations

import os
import socket
import sys

import pytest
from hypothesis import settings

from chiasm.base import log

# Oracles and libraries that would otherwise phone home or fork warnings into the log.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A shared or slow machine must not fail a property, so no deadline; `make test` must give the same
# verdict twice, so examples are derived from the test itself. The soak looks for new ones.
settings.register_profile("test", deadline=None, derandomize=True)
settings.register_profile("soak", deadline=None, max_examples=2000)
settings.load_profile("test")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine: a test that needs one hides a second fetch.py."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        local = self.family == socket.AF_UNIX or (
            isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1", "localhost")
        )
        if not local:
            raise AssertionError(f"a test tried to connect to {address!r}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def fresh_randomness() -> None:
    """Start every test from one seed, so that a failure repeats when the test runs alone."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def lines_on_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins with lines on stdout, and leaves them there: a command may have sent them away."""
    monkeypatch.setattr(log._Output, "to_stderr", False)
