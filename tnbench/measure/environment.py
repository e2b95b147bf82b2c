"""What a number was measured on: versions, processor, GPU, threads, git state. Cheap parts import no torch."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import socket
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tnbench.core.errors import TnbenchError
from tnbench.core.git import git

_PACKAGES = ("tnbench", "torch", "torchvision", "tensorly", "numpy")


def torch_version() -> str:
    """The installed torch's version, without importing it."""
    return _version("torch")


@cache
def device_model(device: str) -> str:
    """The name of the processor (for ``cpu``) or of the GPU (for ``cuda`` and ``cuda:1``)."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return _cpu_model()


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and the cgroup's quota rounded down (at least one)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(Path("/sys/fs/cgroup"))
    return affinity if quota is None else max(1, min(affinity, int(quota)))


def surroundings(device: str) -> dict[str, Any]:
    """Plain facts about this machine and the code, known without torch, so that a case that never ran has them too."""
    facts: dict[str, Any] = {
        "host": socket.gethostname(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        **_code(),
    }
    return facts | {"driver": _driver()} if device.startswith("cuda") else facts


def provenance(device: str) -> dict[str, Any]:
    """`surroundings` and what torch knows, taken when a case starts."""
    import torch

    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    facts = {"started": started, **surroundings(device), "threads": torch.get_num_threads()}
    if device.startswith("cuda"):
        facts |= {"gpu": device_model(device), "cuda": torch.version.cuda}
    return facts


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


@cache
def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cgroup_quota(root: Path) -> float | None:
    """Cores that the cgroup grants, or None without a limit (version 2's ``cpu.max``, version 1's ``cfs`` files)."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


@cache
def _code() -> dict[str, Any]:
    """Commit of the checkout that tnbench runs from, and whether and how the package's own files differ from it.

    All are None for an installed package. What lies beside the package (results, notes) makes nothing dirty.
    """
    package = Path(__file__).parent.parent
    try:
        git(package, "ls-files", "--error-unmatch", "__init__.py")
        commit, dirty = git(package, "rev-parse", "HEAD"), bool(git(package, "status", "--short", "--", "."))
    except TnbenchError:
        return {"git_commit": None, "git_dirty": None, "git_changes": None}
    return {"git_commit": commit, "git_dirty": dirty, "git_changes": _digest(package) if dirty else None}


def _digest(package: Path) -> str:
    """Of the names and the contents of the package's files, but for those that git ignores."""
    names = git(package, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".").split("\0")
    found = hashlib.sha256()
    for name in sorted({name for name in names if (package / name).is_file()}):
        content = (package / name).read_bytes()
        found.update(f"{name}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()[:8]


@cache
def _driver() -> str | None:
    return _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0")


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
