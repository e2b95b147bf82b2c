"""The example of docs/adding-a-method.md, word for word."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from tnbench.core.grammar import Atom
from tnbench.core.registry import Registry
from tnbench.engine.compress import compress
from tnbench.testing.methods import check_method

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-method.md"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "spatial_svd.py"
    (example, *_) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    file.write_text(example, encoding="utf-8")
    return file


def test_example_is_about_thirty_lines_of_code(plugin: Path) -> None:
    lines = [line for line in plugin.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 35


def test_example_is_found_without_being_imported(plugin: Path) -> None:
    registry = Registry([plugin])
    assert registry.given("method") == ["spatial_svd"]
    assert registry.find("method", "spatial_svd").summary.startswith("Spatial SVD: a kH×1 convolution")


def test_example_keeps_the_contract(plugin: Path) -> None:
    check_method(Registry([plugin]).bind("method", Atom("spatial_svd")).module)


def test_example_compresses_a_network_beside_the_others(plugin: Path) -> None:
    model = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)), nn.Flatten(), nn.Linear(8 * 16, 5))
    compressed, summary = compress(model, "spatial_svd", "x2", registry=Registry([plugin]))
    assert compressed(torch.zeros(1, 8, 4, 4)).shape == (1, 5)
    assert [layer.ranks for layer in summary.compressed] == [(6,), (6,)]
