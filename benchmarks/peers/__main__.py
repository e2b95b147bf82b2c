"""``python -m benchmarks.peers``: hold the contests, print the ratios with their intervals."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .contest import Contest, NotHere
from .contests import matching
from .outcome import Outcome, hold
from .table import peaks_table, times_table

_PACKAGES = ("tnbench", "torch", "numpy", "tensorly", "tensorly-torch", "tednet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 where a contest failed or our error was larger than theirs, 2 for wrong use."""
    asked = _parser().parse_args(arguments)
    try:
        chosen = matching(asked.only or ["*"])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if asked.list:
        for contest in chosen:
            print(f"{contest.name:32} {contest.what}")
        return 0
    print(_machine(), end="\n\n")
    outcomes: list[Outcome] = []
    failed = 0
    try:
        for contest in chosen:
            failed += not _hold(contest, asked, outcomes)
    finally:  # minutes have gone into what is there
        _report(outcomes, asked.json)
    return int(failed > 0 or any(outcome.verdict == "unfair" for outcome in outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", metavar="GLOB", action="append", help="contests by name, such as 'tucker2/*'")
    parser.add_argument("--rounds", metavar="N", type=_whole, help="rounds of each contest (default: its own number)")
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="processor: time that the processor gave, for one thread on a machine that others use (default: wall)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the times of every call too")
    parser.add_argument("--list", action="store_true", help="print names and descriptions, hold none")
    return parser


def _whole(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a whole number from 1 on")
    return number


def _hold(contest: Contest, asked: argparse.Namespace, outcomes: list[Outcome]) -> bool:
    """Add a contest's outcome, or say why there is none; False where it broke."""
    print(f"{contest.name}: {contest.what}", file=sys.stderr, flush=True)
    try:
        outcomes.append(hold(contest, rounds=asked.rounds, clock=asked.clock))
    except NotHere as reason:
        print(f"{contest.name} is skipped: {reason}", flush=True)
    except Exception:  # the others are still worth their time
        print(f"{contest.name} failed:\n{traceback.format_exc()}", flush=True)
        return False
    return True


def _report(outcomes: Sequence[Outcome], file: Path | None) -> None:
    if outcomes:
        print(f"\n{times_table(outcomes)}\n")
        print(peaks_table(outcomes))
    if file is not None:
        file.write_text(json.dumps([_plain(outcome) for outcome in outcomes], indent=1) + "\n", encoding="utf-8")


def _plain(outcome: Outcome) -> dict[str, object]:
    value, low, high, n = outcome.ratio
    return {
        "contest": outcome.contest.name,
        "what": outcome.contest.what,
        "ours_s": outcome.rounds.ours,
        "theirs_s": outcome.rounds.theirs,
        "ratio": {"value": value, "low": low, "high": high, "n": n},
        "errors": outcome.errors,
        "target": outcome.contest.target,
        "verdict": outcome.verdict,
        "held": outcome.held,
        "note": outcome.note,
    }


def _machine() -> str:
    """One line on versions, one on the processor, one on each BLAS: which kernels it runs decides much of the times."""
    import numpy.linalg  # noqa: F401
    import scipy.linalg  # noqa: F401
    import torch  # noqa: F401
    from threadpoolctl import threadpool_info

    from tnbench.measure.environment import device_model

    libraries = [
        " ".join(filter(None, (info["internal_api"], info["version"], info.get("architecture"))))
        for info in threadpool_info()
    ]
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    processor = f"{device_model('cpu')}, Python {platform.python_version()}"
    return "\n".join((versions, processor, "; ".join(libraries)))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


if __name__ == "__main__":
    sys.exit(main())
