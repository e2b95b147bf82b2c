"""Why convolutions are cut by our own functions: torch's DTensor gives wrong results for them, without an error."""

from __future__ import annotations

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Placement, Replicate, Shard, distribute_tensor
from torch.nn import functional

from tnbench.core.protocols import Crew
from tnbench.distributed.pool import RankPool

LAYOUTS: dict[str, tuple[Placement, Placement]] = {
    "pictures": (Shard(0), Replicate()),
    "output channels": (Replicate(), Shard(0)),
    "input channels": (Shard(1), Shard(1)),
    "rows": (Shard(2), Replicate()),
}


def convolve_all(crew: Crew) -> dict[str, tuple[str, bool] | str]:
    """Per layout: how the output is labelled, and whether the tensor it stands for is the right one; or the error."""
    mesh = init_device_mesh("cpu", (crew.world,))
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 6, 6, generator=drawn, dtype=torch.float64)
    weight = torch.randn(4, 4, 3, 3, generator=drawn, dtype=torch.float64)
    wanted = functional.conv2d(x, weight, padding=1)
    found: dict[str, tuple[str, bool] | str] = {}
    for name, (of_x, of_weight) in LAYOUTS.items():
        try:
            y = functional.conv2d(
                distribute_tensor(x, mesh, [of_x]), distribute_tensor(weight, mesh, [of_weight]), padding=1
            )
        except Exception as error:
            found[name] = type(error).__name__
            continue
        whole = y.full_tensor()
        found[name] = str(y.placements[0]), whole.shape == wanted.shape and torch.allclose(whole, wanted)
    return found


@pytest.mark.skipif(
    torch.torch_version.TorchVersion(torch.__version__) < (2, 13), reason="DTensor's convolution broke in torch 2.13"
)
def test_convolutions_of_cut_channels_and_rows_are_wrong_and_say_nothing(two_ranks: RankPool) -> None:
    for found in two_ranks.run(convolve_all):
        assert found["pictures"] == ("S(0)", True)
        for name in ("output channels", "input channels", "rows"):
            assert found[name] == ("R", False), (
                f"torch {torch.__version__} now gives {found[name]} for a convolution cut along its {name}, where it "
                f"used to label a wrong result as replicated. If that is mended (True, or an error), say so in "
                f"docs/model-parallel.md, raise the version in this test's skip, and see whether DTensor can replace "
                f"tnbench.distributed.functions"
            )
