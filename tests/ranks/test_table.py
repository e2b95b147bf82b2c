import pytest
from rank_probes import Probe, candidate

from tnbench.core.errors import UsageError
from tnbench.core.grammar import parse_part
from tnbench.core.protocols import KeepDense
from tnbench.core.registry import Registry
from tnbench.methods import svd, tucker2
from tnbench.ranks import table

LAYERS = [candidate(tucker2, (16, 16, 3, 3), "layer1.conv1"), candidate(tucker2, (16, 16, 3, 3), "layer1.conv2")]
NAMED = table.Options(bare=("mine",))


def choose(rows: dict[str, tuple[int, ...]], options: table.Options = NAMED) -> list[object]:
    return list(table.choose("table", options, LAYERS, Probe(tables={"mine": rows})))


def test_ranks_are_the_table_s_and_what_is_missing_stays_dense() -> None:
    assert choose({"layer1.conv2": (9, 16)}) == [KeepDense("it is not in table 'mine'"), (9, 16)]
    assert choose({"layer1.conv2": (9, 16)}, table.Options(multiple=8, bare=("mine",)))[1] == (8, 16)


def test_a_name_that_is_no_layer_gets_the_nearest() -> None:
    with pytest.raises(UsageError) as refusal:
        choose({"layer1.conv1": (4, 4), "layer1.cnv2": (4, 4)})
    assert str(refusal.value) == (
        "table 'mine': 'layer1.cnv2' is no layer that ranks are chosen for; the nearest is 'layer1.conv2'"
    )
    with pytest.raises(UsageError, match=r"these are: layer1\.conv1, layer1\.conv2"):
        choose({"zzz": (4, 4)})


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        ((17, 4), "table 'mine', layer 'layer1.conv1': got rank 17,4, wanted each from 1 to at most 16,16"),
        ((0, 4), "table 'mine', layer 'layer1.conv1': got rank 0,4, wanted each from 1 to at most 16,16"),
        ((4,), "table 'mine', layer 'layer1.conv1': got rank 4, wanted 2 of them, up to 16,16"),
    ],
)
def test_ranks_that_do_not_fit_are_told_what_is_wanted(ranks: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        choose({"layer1.conv1": ranks})
    assert str(refusal.value) == message


def test_the_name_is_read_from_a_case() -> None:
    (atom,) = parse_part("rank", "table[resnet20_x4]")
    bound = Registry().bind("rank", atom)
    assert bound.options == table.Options(bare=("resnet20_x4",))
    assert bound.module.check("table") is None


@pytest.mark.parametrize(("text", "got"), [("table", "no name"), ("table[a,b]", r"2 names \(a, b\)")])
def test_exactly_one_name_is_wanted(text: str, got: str) -> None:
    (atom,) = parse_part("rank", text)
    with pytest.raises(UsageError, match=rf"rank table: got {got}, wanted one table's name, such as 'table\["):
        Registry().bind("rank", atom)


def test_explicit_ranks_are_kept_even_where_they_save_nothing() -> None:
    layer = candidate(svd, (8, 8), "fc")
    probe = Probe(tables={"mine": {"fc": (8,)}})
    assert table.choose("table", NAMED, [layer], probe) == [(8,)]
