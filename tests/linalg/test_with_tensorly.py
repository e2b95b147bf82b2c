import pytest
import tensorly
import torch
from linalg_kernels import trained_like

from tnbench.core.errors import NotApplicable
from tnbench.linalg import with_tensorly


def test_the_chosen_backend_of_the_process_is_kept() -> None:
    tensorly.set_backend("pytorch")
    try:
        left, _ = with_tensorly.low_rank(trained_like(6, 4), 2)
        assert tensorly.get_backend() == "pytorch"
    finally:
        tensorly.set_backend("numpy")
    assert left.shape == (6, 2)


def test_a_singular_system_is_refused_with_the_nearest_fix() -> None:
    with pytest.raises(NotApplicable, match="met a Singular matrix; take cp's own solver als"):
        with_tensorly.cp(torch.zeros(4, 3, 3, 3, dtype=torch.float64), 5, seed=0)
