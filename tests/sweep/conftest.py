"""A whole set of small plug-ins with the usual names, apart from those that tnbench ships."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from sweep_plugins import write_plugin

from tnbench.core import registry as registry_module
from tnbench.core.registry import Registry
from tnbench.store.records import Store
from tnbench.sweep import identity

_LISTED = {
    "methods": ["dense", "svd", "tucker2", "cp", "tt"],
    "models": ["cnn8", "resnet20"],
    "parallel": ["single", "threads", "ddp"],
}
_GIVEN = {
    "ratio": """
        "At most dense/R weights."
        KIND = "rank"
        PATTERN = ("xR", r"x(.+)")
        from tnbench.core.errors import UsageError
        def check(text):
            if not text[1:].isdigit() or int(text[1:]) < 1:
                raise UsageError(f"rank: got {text!r}, wanted x and a number from 1 up, such as 'x4'")
    """,
    "full": """
        "All of it."
        KIND = "rank"
        def check(text): pass
    """,
    "digits": """
        "Digits."
        KIND = "dataset"
        from tnbench.core.errors import UsageError
        def digest(name, options, root):
            if not (root / "digits").is_file():
                raise UsageError(f"digits: no file {root / 'digits'}")
            return (root / "digits").read_text()
    """,
    "finetune": """
        "Decompose, then train."
        KIND = "training"
        def needs_baseline(options): return True
    """,
    "scratch": """
        "Train from nothing."
        KIND = "training"
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class Options:
            warmup: int = 0
        def needs_baseline(options): return False
    """,
}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Folders, plug-ins and a machine that tests may change: `plugins`, `data`, `results`, `registry()`, `machine`."""
    package = tmp_path / "package"
    for folder, names in _LISTED.items():
        for name in names:
            write_plugin(package / folder, name, f'"The {name}."\nVERSION = 1')
    monkeypatch.setattr(registry_module, "_PACKAGE", package)
    monkeypatch.setattr(registry_module, "_installed", lambda kind: ())
    given = [write_plugin(tmp_path / "plugins", name, text) for name, text in _GIVEN.items()]
    machine = {"device_model": "A processor", "torch": "2.15.0"}
    monkeypatch.setattr(identity, "device_model", lambda device: machine["device_model"])
    monkeypatch.setattr(identity, "torch_version", lambda: machine["torch"])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits").write_text("d1")

    def registry(*more):
        registry_module._read.cache_clear()
        return Registry([*given, *more])

    return SimpleNamespace(
        root=tmp_path,
        package=package,
        plugins=tmp_path / "plugins",
        data=tmp_path / "data",
        results=tmp_path / "results",
        machine=machine,
        registry=registry,
        store=lambda: Store(tmp_path / "results"),
    )


@pytest.fixture
def registry(world):
    return world.registry()


@pytest.fixture
def write_suite(tmp_path):
    def write(text, name="mine.toml") -> Path:
        file = tmp_path / name
        file.write_text(text)
        return file

    return write
