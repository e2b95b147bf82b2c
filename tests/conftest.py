"""Fixtures for real data and a real browser: they skip, with the reason, where there is none."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tnbench.core.folders import RESULTS_VARIABLE

if TYPE_CHECKING:
    from tnbench.distributed.pool import RankPool  # imports torch, which takes its threads from the environment

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; more threads than cores would make everything slower, what tests start included.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def no_results_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program names its results folder in the environment, which is not for the next test."""
    monkeypatch.setenv(RESULTS_VARIABLE, "")


def folder_of(variable: str, what: str, inner: str = "") -> Path:
    root = os.environ.get(variable)
    if root is None:
        pytest.skip(f"{variable} is not set: no {what} here")
    if not (Path(root) / inner).is_dir():
        pytest.skip(f"{variable}={root} has no {inner or what}")
    return Path(root)


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """A data root with the real CIFAR-10."""
    return folder_of("TNBENCH_DATA", "real CIFAR-10", "cifar-10-batches-py")


@pytest.fixture(scope="session")
def cifar100() -> Path:
    """A data root with the real CIFAR-100."""
    return folder_of("TNBENCH_DATA", "real CIFAR-100", "cifar-100-python")


@pytest.fixture(scope="session")
def mnist() -> Path:
    """A data root with the real MNIST."""
    return folder_of("TNBENCH_DATA", "real MNIST", "MNIST/raw")


@pytest.fixture(scope="session")
def checkpoints() -> Path:
    """A folder of published checkpoints."""
    return folder_of("TNBENCH_CHECKPOINTS", "published checkpoints")


@pytest.fixture(scope="session")
def two_ranks() -> Iterator[RankPool]:
    """Two processes of one thread each that form a gloo group; started at the first use."""
    from tnbench.distributed.pool import RankPool

    with RankPool(2) as pool:
        yield pool


@pytest.fixture(scope="session")
def four_ranks() -> Iterator[RankPool]:
    """Four processes of one thread each that form a gloo group; started at the first use."""
    from tnbench.distributed.pool import RankPool

    with RankPool(4) as pool:
        yield pool


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """An installed Chromium, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if installed is None:
        pytest.skip("no chromium or google-chrome on the PATH")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session", autouse=True)
def no_configuration_of_git() -> Iterator[None]:
    """Somebody may sign every commit, or have a hook for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def a_pytest_in_a_test_is_no_worker() -> Iterator[None]:
    """pytest-benchmark times nothing in the processes of pytest-xdist, and knows them by their environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def heed_interrupts() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored; the tests that interrupt mean it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
