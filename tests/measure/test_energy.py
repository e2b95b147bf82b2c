"""Counters are read through folders and modules that stand in for the kernel's and NVIDIA's."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tnbench.measure import energy
from tnbench.measure.energy import energy_of, rapl


def zone(folder: Path, name: str, kind: str, microjoules: int, span: int = 1_000_000_000) -> Path:
    made = folder / name
    made.mkdir(parents=True)
    (made / "name").write_text(f"{kind}\n")
    (made / "energy_uj").write_text(f"{microjoules}\n")
    (made / "max_energy_range_uj").write_text(f"{span}\n")
    return made


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path)
    return tmp_path


def test_packages_are_added_up_and_their_parts_are_not(powercap: Path) -> None:
    first, second = (zone(powercap, f"intel-rapl:{number}", f"package-{number}", 5_000_000) for number in (0, 1))
    core = zone(powercap, "intel-rapl:0:0", "core", 0)
    platform = zone(powercap, "intel-rapl:2", "psys", 0)
    with energy_of(["cpu"]) as used:
        (first / "energy_uj").write_text("7500000")
        (second / "energy_uj").write_text("6000000")
        for other in (core, platform):
            (other / "energy_uj").write_text("900000000")
    assert used.joules == pytest.approx(3.5)
    assert used.source == "RAPL: 2 x processor package, whatever ran on it"


def test_a_counter_that_starts_again_goes_on(powercap: Path) -> None:
    package = zone(powercap, "intel-rapl:0", "package-0", 999_000_000)
    with energy_of(["cpu"]) as used:
        (package / "energy_uj").write_text("2000000")
    assert used.joules == pytest.approx(3.0)


def test_a_long_block_is_read_now_and_then_so_that_no_round_is_missed(powercap: Path) -> None:
    package = zone(powercap, "intel-rapl:0", "package-0", 0)
    reads = [0, 0, 600_000_000, 100_000_000, 700_000_000]  # at the start twice, then each later by half a round

    def next_one(self: Path, *_: object, **__: object) -> str:
        if self.name != "energy_uj":
            return real(self)
        return str(reads.pop(0) if len(reads) > 1 else reads[0])

    real = Path.read_text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_text", next_one)
        with energy_of(["cpu"], poll_s=0.001) as used:
            deadline = time.monotonic() + 10
            while len(reads) > 1 and time.monotonic() < deadline:
                time.sleep(0.001)
    assert used.joules == pytest.approx(600 + 500 + 600)
    assert package.is_dir()


def test_without_counters_there_is_no_number_and_a_reason(powercap: Path) -> None:
    with energy_of(["cpu"]) as used:
        pass
    assert used.joules is None
    assert used.source == f"none: {powercap} has no intel-rapl package"


def test_a_counter_that_may_not_be_read_is_named(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(powercap, "intel-rapl:0", "package-0", 0)
    real = Path.read_text

    def refuse(self: Path, *_: object, **__: object) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return real(self)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert rapl(powercap) == ([], f"none: {powercap}/intel-rapl:*/energy_uj may not be read by this user")


def test_a_counter_that_vanishes_leaves_no_number(powercap: Path) -> None:
    package = zone(powercap, "intel-rapl:0", "package-0", 0)
    with energy_of(["cpu"]) as used:
        (package / "energy_uj").unlink()
    assert used.joules is None


def test_a_counter_that_fails_at_once_leaves_the_block_alone(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, ran = zone(powercap, "intel-rapl:0", "package-0", 0), False
    counters, source = rapl(powercap)
    (package / "energy_uj").write_text("")
    monkeypatch.setattr(energy, "rapl", lambda folder: (counters, source))
    with energy_of(["cpu"]) as used:
        ran = True
    assert (used.joules, ran) == (None, True)


def test_a_counter_that_holds_no_number_is_none(powercap: Path) -> None:
    (zone(powercap, "intel-rapl:0", "package-0", 0) / "energy_uj").write_text("none")
    counters, source = rapl(powercap)
    assert counters == []
    assert source.startswith("none: invalid literal for int()")


class NVMLError(Exception):
    pass


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Millijoules of each board, by the name that a device has for NVML."""
    counted = {"GPU-a": 10_000, "GPU-b": 20_000}

    def read(handle: str) -> int:
        if handle not in counted:
            raise NVMLError("Not Supported")
        return counted[handle]

    module = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetTotalEnergyConsumption=read,
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(energy, "_uuid", {"cuda:0": "GPU-a", "cuda:1": "GPU-b", "cuda:2": "GPU-c"}.__getitem__)
    return counted


def test_each_gpu_that_is_used_counts(boards: dict[str, int]) -> None:
    with energy_of(["cuda:0", "cuda:1"]) as used:
        boards["GPU-a"] += 1500
        boards["GPU-b"] += 500
    assert used.joules == pytest.approx(2.0)
    assert used.source == "NVML: 2 x GPU board"


def test_a_gpu_without_a_counter_has_no_number(boards: dict[str, int]) -> None:
    with energy_of(["cuda:2"]) as used:
        pass
    assert (used.joules, used.source) == (None, "none: NVML says Not Supported")


def test_without_the_package_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with energy_of(["cuda:0"]) as used:
        pass
    assert used.joules is None
    assert "pip install nvidia-ml-py" in used.source
