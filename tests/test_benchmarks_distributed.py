"""benchmarks/distributed: what it says of ranks that disagree."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(Path(__file__).parent.parent))
    from benchmarks.distributed import check_same


@pytest.mark.parametrize("results", [{1.0, 1.1}, {math.nan}, {1.0, math.nan}, {math.inf}])
def test_ranks_that_disagree_or_find_no_number_are_an_error(results: set[float]) -> None:
    with pytest.raises(RuntimeError, match=r"cp_als: got the results \[.*\], wanted finite ones that are the same"):
        check_same("cp_als", results)


def test_results_that_differ_by_rounding_are_the_same() -> None:
    check_same("cp_als", {1.0, 1.0 + 1e-9})
