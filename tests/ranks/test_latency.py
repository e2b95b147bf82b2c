import pytest
from rank_probes import Probe, candidate

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.grammar import Atom
from tnbench.core.protocols import KeepDense, Ranks
from tnbench.core.registry import Registry
from tnbench.methods import svd, tucker2
from tnbench.ranks import latency
from tnbench.ranks._scale import uniform_steps


def overhead_and_work(name: str, ranks: Ranks | None) -> float:
    """Milliseconds: 4 for the dense layer, half a millisecond and 0.05 for each rank otherwise; `slow` is slower."""
    if ranks is None:
        return 4.0
    return 0.5 + 0.05 * sum(ranks) + (9.0 if name == "slow" else 0.0)


@pytest.mark.parametrize(("text", "most"), [("latency-x2", 2.0), ("latency-x4", 1.0), ("latency-x1", 4.0)])
def test_the_largest_ranks_that_are_fast_enough(text: str, most: float) -> None:
    layer, probe = candidate(tucker2, (64, 64, 3, 3)), Probe(latency=overhead_and_work)
    (ranks,) = latency.choose(text, latency.Options(), [layer], probe)
    assert not isinstance(ranks, KeepDense)
    assert overhead_and_work("conv", ranks) <= most
    (above,) = [step for step in uniform_steps(layer.largest) if step[0] == ranks[0] + 1]
    assert overhead_and_work("conv", above) > most or layer.count(above) >= layer.dense
    assert probe.asked <= 9


def test_a_layer_that_is_never_fast_enough_stays_dense_with_what_was_measured() -> None:
    layers = [candidate(tucker2, (64, 64, 3, 3), name) for name in ("slow", "fast")]
    slow, fast = latency.choose("latency-x2", latency.Options(), layers, Probe(latency=overhead_and_work))
    assert slow == KeepDense("layer 'slow' takes 9.6 ms at rank 1,1, 4 ms as it is")
    assert fast == (15, 15)


def test_a_layer_of_which_no_ranks_save_weights_is_not_timed() -> None:
    layers = [candidate(svd, (2, 2), "tiny"), candidate(svd, (64, 64), "large")]
    probe = Probe(latency=lambda name, ranks: overhead_and_work("", ranks) if name == "large" else 1 / 0)
    tiny, large = latency.choose("latency-x2", latency.Options(multiple=8), layers, probe)
    assert tiny == KeepDense("no ranks of layer 'tiny' save weights")
    assert large == (24,)


def test_a_speedup_that_no_layer_reaches_names_the_nearest() -> None:
    layers = [candidate(tucker2, (64, 64, 3, 3), name) for name in ("slow", "fast")]
    with pytest.raises(NotApplicable) as refusal:
        latency.choose("latency-x20", latency.Options(), layers, Probe(latency=overhead_and_work))
    assert str(refusal.value) == (
        "latency-x20 cannot be reached by any layer: layer 'fast' takes 0.6 ms at rank 1,1, 4 ms as it is; "
        "take latency-x6.66"
    )
    assert latency.choose("latency-x6.66", latency.Options(), layers[1:], Probe(latency=overhead_and_work)) == [(1, 1)]
    with pytest.raises(NotApplicable, match="no ranks are faster than dense"):
        latency.choose("latency-x2", latency.Options(), layers[:1], Probe(latency=overhead_and_work))


def test_a_text_that_means_nothing_is_told_what_is_wanted() -> None:
    assert Registry().bind("rank", Atom("latency-x2")).module is latency
    with pytest.raises(
        UsageError, match=r"rank: got 'latency-x0\.5', wanted latency-x and a number from 1 up, such as"
    ):
        latency.check("latency-x0.5")
