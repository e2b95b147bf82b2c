from __future__ import annotations

import pytest
import typer

from tnbench.cli.duration import seconds


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("0.5", 0.5), ("30m", 1800), ("1.5h", 5400), (" 2 h ", 7200)]
)
def test_durations_are_read_as_seconds(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "0", "0m", "-3", "1d", "m", "1h30m", "inf", "nan"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="wanted seconds above 0, or minutes or hours such as 30m or 2h"):
        seconds(text)
