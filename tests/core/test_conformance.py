from pathlib import Path
from types import SimpleNamespace

import pytest

from tnbench.core.conformance import PROTOCOLS, check_complete
from tnbench.core.errors import PluginError
from tnbench.core.registry import KINDS, Registry


def test_an_incomplete_plugin_is_told_all_that_it_lacks(tmp_path: Path) -> None:
    file = tmp_path / "lacking.py"
    file.write_text('"""Nothing."""\nKIND = "parallel"\n\n\ndef launch():\n    pass\n')
    registry = Registry([file])
    listing = registry.find("parallel", "lacking")
    with pytest.raises(PluginError, match=r"parallel 'lacking' of .*lacking\.py has no refuses, IN_PROCESS; add what"):
        check_complete(listing, registry.load(listing))


def test_every_plugin_of_ours_is_complete() -> None:
    registry = Registry()
    listings = [listing for kind in KINDS for listing in registry.listings(kind)]
    assert {listing.kind for listing in listings} == set(PROTOCOLS)
    for listing in listings:
        check_complete(listing, registry.load(listing))


def test_the_version_may_be_left_out() -> None:
    listing = Registry().find("training", "none")
    check_complete(listing, SimpleNamespace(needs_baseline=None, run=None))
