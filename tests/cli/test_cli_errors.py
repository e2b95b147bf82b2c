"""Wrong use: one clear sentence on standard error, exit code 2, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Tnb = Callable[..., Result]

SUITE = """
summary = "two cases"

[[product]]
method = ["dense", "svd"]
rank = "x2"
model = "cnn8"
dataset = "digits"
training = "none"
parallel = "single"
seeds = 1
"""

SENTENCES = {
    ("--select", "method=tuker2"): "no method is named 'tuker2'; the nearest is 'tucker2'",
    ("--select", "metod=tucker2"): "no axis is named 'metod'; the nearest is 'method'",
    ("--select", "method=cp"): "--select: method=cp leaves no case; on method there are: dense, svd",
    ("--select", "rank=x5"): "--select: rank=x5 leaves no case; on rank there are: full, x2",
    ("--case", "svd/x0/cnn8/digits/none/single#0"): "x0",
    ("--case", "svd/k-1/cnn8/digits/none/single#0"): "k-1",
    ("--case", "svd/x2/cnn8/digits"): "case: got 'svd/x2/cnn8/digits' with 4 parts, wanted 6",
    ("--case", "svd/x2/cnn9/digits/none/single#0"): "no model is named 'cnn9'; the nearest is 'cnn8'",
    ("--epochs", "-1"): "settings: got epochs = -1, wanted a whole number from 0 on",
    ("--baseline-epochs", "-2"): "settings: got baseline_epochs = -2, wanted a whole number from 0 on",
    ("--limit-train", "0"): "settings: got limit_train = 0, wanted a whole number from 1 on",
    ("--lr", "0"): "settings: got lr = 0.0, wanted a number above 0",
    ("--dtype", "float23"): "no dtype is named 'float23'; the nearest is 'float32'",
    ("--device", "cudaa"): "device: got 'cudaa', wanted auto, cpu, cuda or cuda:N; the nearest is 'cuda'",
    ("--device", "cuda:99"): "device: got 'cuda:99', this machine has cpu",
    ("--seeds", "0"): "--seeds: got 0, wanted a number from 1 on",
    ("--rerun", "fail"): "--rerun: no status is named 'fail'; the nearest is 'failed'",
    ("--case", "svd/x2/lenet5/mnist/none/single#0", "--data-root", "nowhere"): "train-images-idx3-ubyte",
    ("--plugin", "nowhere.py"): "nowhere.py; give the path of a Python file",
}


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize("arguments", SENTENCES)
def test_requests_that_are_refused(tnb: Tnb, tmp_path: Path, verb: str, arguments: tuple[str, ...]) -> None:
    (tmp_path / "two.toml").write_text(SUITE)
    refused = tnb(verb, "--suite", "two.toml", *arguments)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("tnbench: ")
    assert SENTENCES[arguments] in refused.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["two.toml"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--epoch", "3"),
        ("run", "--epochs", "many"),
        ("run", "--timeout", "0"),
        ("run", "--max-time", "soon"),
        ("run", "--executor", "cloud"),
        ("export", "xml"),
        ("runn",),
        ("show",),
    ],
)
def test_what_cannot_be_parsed_ends_with_2_as_well(tnb: Tnb, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused = tnb(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "Error" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "sentence"), [("summary = ", "two.toml"), ("", "two.toml"), (None, "two.toml")])
def test_suite_files_that_are_malformed_empty_or_missing(
    tnb: Tnb, tmp_path: Path, text: str | None, sentence: str
) -> None:
    if text is not None:
        (tmp_path / "two.toml").write_text(text)
    refused = tnb("run", "--suite", "two.toml")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("tnbench: ")
    assert sentence in refused.stderr
    assert not (tmp_path / "results").exists()


def test_a_results_folder_that_cannot_be_written(tnb: Tnb, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(SUITE)
    (tmp_path / "file").write_text("")
    refused = tnb("run", "--suite", "two.toml", "--results", "file/results")
    assert refused.exit_code == 2
    assert "results: cannot write to file/results" in refused.stderr


def test_the_program_tells_its_version(tnb: Tnb) -> None:
    from tnbench import __version__

    assert tnb("--version").stdout == f"tnbench {__version__}\n"
