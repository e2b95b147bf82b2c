from dataclasses import dataclass
from typing import Literal

import pytest

from tnbench.core.errors import UsageError
from tnbench.core.grammar import parse_part
from tnbench.core.options import read_options


@dataclass(frozen=True)
class Options:
    solver: Literal["als", "tensorly"] = "als"
    iters: int = 100
    tol: float = 1e-6
    trace: bool = False
    start: str = "svd"
    shape: tuple[int, ...] = (1, 8, 8)


@dataclass(frozen=True)
class WithBare:
    bare: tuple[str, ...] = ()
    width: int = 1


def read(text, schema=Options):
    return read_options("method cp", schema, parse_part("method", text)[0])


def test_defaults_and_every_type():
    assert read("cp") == Options()
    given = read("cp[solver=tensorly,iters=7,tol=1e-3,trace=true,start=random,shape=3x32x32]")
    assert given == Options("tensorly", 7, 1e-3, True, "random", (3, 32, 32))
    assert read("cp[trace=false]").trace is False


def test_bare_options():
    assert read("tv[resnet50,v2,width=2]", WithBare) == WithBare(("resnet50", "v2"), 2)


def test_without_a_schema_there_are_none():
    assert read("svd", None) is None
    with pytest.raises(UsageError, match=r"method cp takes no options, got svd\[a=1\]"):
        read("svd[a=1]", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cp[itres=3]", "method cp: no option is named 'itres'; the nearest is 'iters'"),
        (
            "cp[solver=tensorley]",
            "method cp[solver=tensorley]: no value is named 'tensorley'; the nearest is 'tensorly'",
        ),
        ("cp[iters=1.5]", "method cp[iters=1.5]: got '1.5', wanted a whole number"),
        ("cp[tol=small]", "method cp[tol=small]: got 'small', wanted a number"),
        ("cp[trace=yes]", "method cp[trace=yes]: got 'yes', wanted true or false"),
        ("cp[shape=3x]", "method cp[shape=3x]: got '3x', wanted sides such as 3x32x32"),
        ("cp[als]", "method cp: got the bare option 'als', wanted name=value of solver, iters"),
    ],
)
def test_errors_name_the_nearest(text, said):
    with pytest.raises(UsageError) as error:
        read(text)
    assert said in str(error.value)


def test_bare_is_no_name():
    with pytest.raises(UsageError, match="no option is named 'bare'"):
        read("tv[bare=x]", WithBare)
