"""The environment of launched ranks: their threads, and nothing that the network can reach."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil


def variables(threads: int) -> dict[str, str]:
    """Threads from the start on, and what keeps gloo, NCCL and the agent from listening beyond loopback."""
    loopback = next(
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(address.address == "127.0.0.1" for address in addresses)
    )
    return {
        "OMP_NUM_THREADS": str(threads),
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # the agent's own store listens on every interface
    }


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set `values`; afterwards every variable is as it was, those that torch sets on the way included."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
