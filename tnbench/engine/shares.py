"""Whether a batch has a picture for every process that shares it."""

from __future__ import annotations

from tnbench.core.errors import NotApplicable


def check_shares(pictures: int, processes: int, batch_size: int) -> None:
    """Raise NotApplicable where a batch of `pictures` leaves some process without any; `batch_size` is the setting."""
    if pictures < processes:
        raise NotApplicable(
            f"a batch of {pictures} pictures cannot be shared by {processes} processes; "
            f"raise batch_size ({batch_size}) or take fewer processes"
        )
