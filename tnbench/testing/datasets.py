"""The contract of a data set plug-in, as two checks that its author can call: one with its files, one without.

>>> from tnbench.datasets import digits
>>> check_dataset(digits, "digits", Path("."))
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Dataset, Pictures, StoredPictures


def check_dataset(plugin: Dataset, name: str, root: Path, *, options: Any = None) -> None:
    """Load the data set from `root`, where its files are; AssertionError says what the plug-in does not keep.

    Pictures are uint8 (N, C, H, W) with int64 labels (N,) in [0, classes); loading again gives the same ones; the
    digest is `load`'s; the normalisation fits the channels; the data root is left as it was. Of pictures that are read
    when they are needed the first and the last are looked at; there may be none to train on.
    """
    before = _listing(root)
    pictures = plugin.load(name, options, root)
    check_half("train", pictures.train, pictures.train_labels, pictures)
    check_half("test", pictures.test, pictures.test_labels, pictures)
    check_same(pictures, plugin.load(name, options, root))
    check_normalisation(pictures)
    digest = plugin.digest(name, options, root)
    assert digest == pictures.digest, f"digest: got {digest!r}, and {pictures.digest!r} from load"
    missing = [file.name for file in plugin.wanted(name, options, root) if file.found is None]
    assert not missing, f"wanted: got no {', '.join(missing)}, though load found everything"
    assert _listing(root) == before, "the data root: got changes, wanted it as it was"


def check_dataset_absent(plugin: Dataset, name: str, *, options: Any = None) -> None:
    """Ask for the data set in an empty folder; AssertionError says what the plug-in does not keep.

    Where it wants files, `load` and `digest` raise UsageError with each file's full path and the command that
    fetches them, and nothing is written. A data set that is embedded or made up wants none.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder)
        wanted = plugin.wanted(name, options, root)
        found = [file.name for file in wanted if file.found is not None]
        assert not found, f"wanted: got {', '.join(found)} in an empty folder"
        sentences = [f"tnbench data fetch {name}", *(str(file.paths[0]) for file in wanted)] if wanted else []
        for sentence in sentences:
            for call in (plugin.load, plugin.digest):
                message = _refusal(call, name, options, root)
                assert sentence in message, f"{call.__name__}: got the error {message!r}, wanted it to say {sentence!r}"
        assert not _listing(root), "the data root: got files, wanted it left empty"


def check_digest_without_torch(plugin: Any, name: str, root: Path) -> None:
    """Compute the digest (with default options) in a new process, which does not come to import torch for it."""
    command = [sys.executable, "-c", _DIGEST_ALONE, plugin.__file__, name, str(root)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"digest: failed in a process of its own: {result.stderr}"
    digest, imported = result.stdout.split()
    here = plugin.digest(name, getattr(plugin, "Options", lambda: None)(), root)
    assert digest == here, f"digest: got {here!r} in this process and {digest!r} in another"
    assert imported == "False", "digest: imports torch, wanted torch to be imported inside load"


_DIGEST_ALONE = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
file, name, root = sys.argv[1:]
spec = spec_from_file_location("plugin", file)
plugin = sys.modules["plugin"] = module_from_spec(spec)
spec.loader.exec_module(plugin)
print(plugin.digest(name, getattr(plugin, "Options", lambda: None)(), Path(root)), "torch" in sys.modules)
"""


def check_half(half: str, stored: Tensor | StoredPictures, labels: Tensor, whole: Pictures) -> None:
    """The ``train`` or ``test`` half of a data set."""
    assert labels.dtype == torch.int64, f"{half}: got labels of {labels.dtype}, wanted torch.int64"
    assert tuple(labels.shape) == (len(stored),), f"{half}: got {tuple(labels.shape)} labels for {len(stored)} pictures"
    if not isinstance(stored, Tensor):
        check_stored(half, stored)
    if not len(stored) and half == "train" and not isinstance(stored, Tensor):
        return
    pictures = looked_at(stored)
    assert pictures.dtype == torch.uint8, f"{half}: got pictures of {pictures.dtype}, wanted torch.uint8"
    assert pictures.ndim == 4, f"{half}: got pictures of shape {tuple(pictures.shape)}, wanted (N, C, H, W)"
    one = tuple(pictures.shape[1:])
    assert one == whole.in_shape, f"{half}: got pictures of {one}, wanted {whole.in_shape}"
    least, most = int(labels.min()), int(labels.max())
    assert 0 <= least <= most < whole.classes, f"{half}: got labels from {least} to {most} for {whole.classes} classes"


def check_stored(half: str, pictures: StoredPictures) -> None:
    """Pictures that are read when they are needed: indexing, subsets and random parts agree about the shape."""
    shape, some = tuple(pictures.shape), torch.arange(min(2, len(pictures)))
    assert shape[:1] == (len(pictures),), f"{half}: got the shape {shape} for {len(pictures)} pictures"
    subset = pictures.subset(some)
    parts = pictures.read_parts(some, 0.5, seed=0, epoch=0)
    for what, got in (("indexing", pictures[some]), ("subset", subset[torch.arange(len(some))]), ("parts", parts)):
        assert got.dtype == torch.uint8, f"{half}: {what} gives {got.dtype}, wanted torch.uint8"
        wanted = (len(some), *shape[1:])
        assert tuple(got.shape) == wanted, f"{half}: {what} gives the shape {tuple(got.shape)}, wanted {wanted}"
    again = pictures.read_parts(some.flip(0), 0.5, seed=0, epoch=0).flip(0)
    assert torch.equal(parts, again), f"{half}: parts differ from call to call, wanted them drawn from seed and epoch"


def looked_at(pictures: Tensor | StoredPictures) -> Tensor:
    """All pictures in memory; of stored ones the first and the last."""
    if isinstance(pictures, Tensor):
        return pictures
    return pictures[torch.tensor([0, len(pictures) - 1])] if len(pictures) else pictures[torch.arange(0)]


def check_same(first: Pictures, again: Pictures) -> None:
    """What two calls of `load` gave."""
    for part in ("train", "train_labels", "test", "test_labels"):
        one, other = getattr(first, part), getattr(again, part)
        same = len(one) == len(other) and torch.equal(looked_at(one), looked_at(other))
        assert same, f"load: got another {part} at the second call"


def check_normalisation(pictures: Pictures) -> None:
    """One mean and standard deviation per channel, or one for all."""
    mean, std = pictures.normalisation.mean, pictures.normalisation.std
    channels = pictures.in_shape[0]
    fits = len(mean) == len(std) and len(mean) in (1, channels)
    assert fits, f"normalisation: got {len(mean)} means and {len(std)} deviations, wanted one or {channels} of each"
    assert min(std) > 0, f"normalisation: got a standard deviation of {min(std)}, wanted numbers above 0"


def _refusal(call: Callable[..., object], name: str, options: Any, root: Path) -> str:
    try:
        call(name, options, root)
    except UsageError as error:
        return str(error)
    raise AssertionError(f"{call.__name__}: found its files in an empty folder, wanted UsageError")


def _listing(root: Path) -> list[tuple[Path, int]]:
    return sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
