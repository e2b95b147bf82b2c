import pytest

from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.sweep.select import Selection

CASES = [
    Case.parse(text)
    for text in (
        "dense/full/cnn8/digits/finetune/single#0",
        "tucker2/x4/cnn8/digits/finetune/single#0",
        "tucker2/x16/cnn8/digits/finetune/single#1",
        "cp[solver=als,iters=9]/x4/cnn8/digits/scratch/ddp:2#0",
        "tt/x4/cnn8/digits/finetune/ddp:2*bottleneck_tp:2#10",
    )
]


def selected(text, registry):
    selection = Selection.parse(text, registry)
    return [CASES.index(case) for case in CASES if selection.matches(case)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, [0, 1, 2, 3, 4]),
        ("", [0, 1, 2, 3, 4]),
        ("method=tucker2", [1, 2]),
        ("method=dense,tucker2 seed=0", [0, 1]),
        ("rank=x4", [0, 1, 3, 4]),
        ("rank=full", [0]),
        ("method=tucker2 rank=x4", [1]),
        ("rank=x?", [0, 1, 3, 4]),
        ("rank=x1*", [0, 2]),
        ("method=t*", [1, 2, 4]),
        ("method=cp", []),
        ("method=cp*", [3]),
        ("method=cp[*]", [3]),
        ("method=cp[solver=als,iters=9]", [3]),
        ("method=cp[iters=9,solver=als],tt", [3, 4]),
        ("parallel=ddp:2*bottleneck_tp:2", [4]),
        ("parallel=ddp:2", [3]),
        ("parallel=ddp:2*", [3, 4]),
        ("seed=1", [2]),
        ("seed=1*", [2, 4]),
        ("  training=finetune   seed=1 ", [2]),
    ],
)
def test_clauses_and_commas_or(registry, text, found):
    assert selected(text, registry) == found


def test_an_exact_match_does_not_keep_dense(registry):
    selection = Selection.parse("rank=x4", registry)
    assert [selection.matches_exactly(case) for case in CASES] == [False, True, False, True, True]


def test_brackets_are_no_character_class(registry):
    assert selected("method=cp[si]*", registry) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("methd=tucker2", "--select: no axis is named 'methd'; the nearest is 'method'"),
        ("method=tuker2", "no method is named 'tuker2'; the nearest is 'tucker2'"),
        ("method=svd,tuker2", "no method is named 'tuker2'; the nearest is 'tucker2'"),
        ("rank=x0", "rank: got 'x0', wanted x and a number from 1 up"),
        ("rank=k4", "no rank is named 'k4'"),
        ("model=resnet2", "no model is named 'resnet2'; the nearest is 'resnet20'"),
        ("tucker2", "--select: got 'tucker2', wanted axis=value"),
        ("method=", "--select: got 'method=', wanted axis=value"),
        ("method=a[", "method: got 'a['"),
        ("seed=one", "--select: got seed=one, wanted whole numbers"),
        ("parallel=ddp", "parallel: got 'ddp' without a count, wanted how many, such as 'ddp:2'"),
        ("parallel=single:2", "parallel: got 'single:2', which takes no count; write 'single'"),
        ("method=cp[solver=als]:2", "method: got 'cp[solver=als]:2', which takes no count; write 'cp[solver=als]'"),
    ],
)
def test_errors_name_the_nearest(registry, text, said):
    with pytest.raises(UsageError) as error:
        Selection.parse(text, registry)
    assert said in str(error.value)


def test_dense_alone_is_not_what_a_rank_asked_for(registry):
    assert Selection.parse("rank=x5", registry).leaves_none(CASES)
    assert not Selection.parse("rank=x4", registry).leaves_none(CASES)
    assert not Selection.parse("method=dense rank=x5", registry).leaves_none(CASES)


def test_an_empty_selection_says_what_there_is(registry):
    assert Selection.parse("method=svd", registry).why_empty(CASES) == (
        "--select: method=svd leaves no case; on method there are: dense, tucker2, cp[iters=9,solver=als], tt"
    )
    assert Selection.parse("method=tt seed=0", registry).why_empty(CASES) == (
        "--select: method=tt seed=0 leaves no case, though each clause alone does; "
        "there are method: dense, tucker2, cp[iters=9,solver=als], tt; seed: 0, 1, 10"
    )
