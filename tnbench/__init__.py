"""tnbench: the benchmark of CNNs compressed by tensor decompositions.

The public names are lazy: importing tnbench imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tnbench.core.case import Case as Case
    from tnbench.core.record import Record as Record
    from tnbench.engine.compress import Compression as Compression
    from tnbench.engine.compress import compress as compress
    from tnbench.engine.saved import load_compressed as load_compressed
    from tnbench.engine.saved import save_compressed as save_compressed

__version__ = "0.1.0"

_HOMES = {
    "Case": "tnbench.core.case",
    "Record": "tnbench.core.record",
    "Compression": "tnbench.engine.compress",
    "compress": "tnbench.engine.compress",
    "load_compressed": "tnbench.engine.saved",
    "save_compressed": "tnbench.engine.saved",
}

__all__ = ["Case", "Compression", "Record", "__version__", "compress", "load_compressed", "save_compressed"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tnbench' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
