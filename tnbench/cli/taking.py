"""How a verb takes options that are the fields of a dataclass, so that verbs share them without repeating them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints

Group = TypeVar("Group")
Own = ParamSpec("Own")
Given = TypeVar("Given")


def taking(group: type[Group]) -> Callable[[Callable[Concatenate[Group, Own], Given]], Callable[..., Given]]:
    """Let a verb take the fields of the dataclass `group` as options, and get them as one value, its first argument.

    Typer reads a verb's options from its signature, so the verb is given one that lists them all.
    """
    hints = get_type_hints(group, include_extras=True)
    fields = dataclasses.fields(group)  # type: ignore[arg-type]

    def decorate(verb: Callable[Concatenate[Group, Own], Given]) -> Callable[..., Given]:
        @functools.wraps(verb)
        def call(**values: Any) -> Given:
            chosen = group(**{field.name: values.pop(field.name) for field in fields})
            return verb(chosen, **values)  # type: ignore[call-arg]

        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [inspect.Parameter(f.name, keyword, default=f.default, annotation=hints[f.name]) for f in fields]
        _, *own = inspect.signature(verb, eval_str=True).parameters.values()
        parameters = [*shared, *(parameter.replace(kind=keyword) for parameter in own)]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return call

    return decorate
