"""What records must share to stand on one curve: a number is compared with another only inside one context."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from tnbench.core.case import Case
from tnbench.core.record import Record

_PLUGIN_AXES = ("model", "dataset", "training", "parallel")
_VERSION = " version"


@dataclass(frozen=True)
class Context:
    """Everything but method, rank and seed that a result depends on.

    `settings` is canonical JSON; `baseline` is the digest of an imported baseline, empty where tnbench trains it;
    `versions` are those of the plug-ins on the four axes.
    """

    model: str
    dataset: str
    training: str
    parallel: str
    settings: str
    baseline: str
    device_model: str
    torch: str
    data: str
    versions: tuple[tuple[str, Any], ...]

    def regardless_of(self, axis: str) -> Context:
        """The same with one axis (``training``, ``parallel``) left open."""
        versions = tuple(entry for entry in self.versions if entry[0] != axis)
        return replace(self, versions=versions, **{axis: ""})

    @property
    def on_gpu(self) -> bool:
        return is_gpu(json.loads(self.settings))


def context_of(record: Record, case: Case) -> Context:
    """The context that a record was measured in."""
    identity: dict[str, Any] = record.provenance.get("identity") or {}
    plugins: dict[str, Any] = identity.get("plugins") or {}
    return Context(
        case.model,
        case.dataset,
        case.training,
        case.parallel,
        settings=json.dumps(record.settings, sort_keys=True),
        baseline=_imported_baseline(record.provenance, identity),
        device_model=str(identity.get("device_model") or ""),
        torch=str(identity.get("torch") or ""),
        data=str(identity.get("data") or ""),
        versions=tuple((axis, plugins[axis].get("version")) for axis in _PLUGIN_AXES if axis in plugins),
    )


def _imported_baseline(provenance: dict[str, Any], identity: dict[str, Any]) -> str:
    """Its identity, else the digest; of a case that ended early only the plan's `identity` knows it."""
    if "baseline" in identity:
        return str(identity["baseline"] or "")
    used: dict[str, Any] = provenance.get("baseline") or {}
    return str(used.get("digest", "")) if used.get("origin") == "imported" else ""


def is_gpu(settings: dict[str, Any]) -> bool:
    """Whether settings name a GPU as the device."""
    return str(settings.get("device", "")).startswith("cuda")


def titles(contexts: Iterable[Context]) -> dict[Context, str]:
    """A title for each: model, dataset and training, and of the rest only what tells the contexts apart.

    Two contexts that differ in their epochs alone are ``cnn8 on digits, finetune (epochs=1)`` and ``... (epochs=2)``.
    """
    return {
        context: f"{context.model} on {context.dataset}, {context.training}{f' ({own})' if own else ''}"
        for context, own in distinctions(contexts).items()
    }


def distinctions(contexts: Iterable[Context]) -> dict[Context, str]:
    """Of each what tells it from the others, beside model, dataset and training: ``epochs=1, torch=2.15.0``."""
    distinct = list(dict.fromkeys(contexts))
    facts = {context: _facts(context) for context in distinct}
    names = list(dict.fromkeys(name for found in facts.values() for name in found))
    telling = [name for name in names if _tells(name, facts)]
    return {context: _own(facts[context], telling) for context in distinct}


def _tells(name: str, facts: dict[Context, dict[str, str]]) -> bool:
    """Whether contexts differ in a fact. Versions count only of one and the same plug-in: others have others anyway."""
    axis = name.removesuffix(_VERSION)
    of_one = axis != name
    seen: dict[str, set[str | None]] = {}
    for context, found in facts.items():
        seen.setdefault(getattr(context, axis) if of_one else "", set()).add(found.get(name))
    return any(len(values) > 1 for values in seen.values())


def _facts(context: Context) -> dict[str, str]:
    settings = {name: json.dumps(value).strip('"') for name, value in json.loads(context.settings).items()}
    rest = {
        field.name: str(getattr(context, field.name))
        for field in fields(context)
        if field.name not in ("model", "dataset", "training", "settings", "versions")
    }
    versions = {f"{axis}{_VERSION}": str(version) for axis, version in context.versions}
    return {**rest, **settings, **versions}


def _own(facts: dict[str, str], telling: Sequence[str]) -> str:
    return ", ".join(
        facts[name] if name == "parallel" else f"{name.replace('_', ' ')}={facts[name][:40]}"
        for name in telling
        if facts.get(name)
    )
