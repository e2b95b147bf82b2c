"""Work of a case that one process does: with the threads of its parallel plug-in, where that works in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tnbench.stages.prepare import Prepared

Given = TypeVar("Given")


def in_process(prepared: Prepared, work: Callable[[], Given]) -> Given:
    """What `work` gives. Where the plug-in spreads steps over processes instead, threads are left as they are."""
    parallel = prepared.plugins["parallel"]
    if not parallel.module.IN_PROCESS:
        return work()
    given: list[Given] = parallel.module.launch(
        lambda crew: work(),
        parallel.atom.count,
        parallel.options,
        prepared.job.settings.device,
        prepared.job.plugin_files,
    )
    return given[0]
