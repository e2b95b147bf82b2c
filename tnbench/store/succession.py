"""Which of two records of the same thing counts."""

from __future__ import annotations

from tnbench.core.record import BAD_STATUSES, Record


def supersedes(new: Record, old: Record) -> bool:
    """Whether `new` takes the place of `old`, an earlier record of the same identity.

    A bad end tells less than a measurement, and an interrupted run nothing, so neither hides a good record.
    """
    if new.status == "interrupted":
        return old.status == "interrupted"
    return old.status != "ok" or new.status not in BAD_STATUSES


def identity_of(record: Record) -> tuple[str, ...]:
    """What two records share when the newer may take the older's place: key, data, plug-in versions and machine.

    Of another data set, another version of a plug-in or another machine a record stands beside.
    """
    identity = record.provenance.get("identity") or {}
    plugins = sorted((identity.get("plugins") or {}).items())
    versions = [f"{axis} {plugin.get('name')} {plugin.get('version')}" for axis, plugin in plugins]
    return record.key, *(str(identity.get(name)) for name in ("data", "device_model", "torch")), *versions
