"""Counter-based random numbers: known values, uniform, independent of everything but key and index."""

import torch

from tnbench.engine.splitmix import draw, key, permutation

WORD = (1 << 64) - 1


def mixed(state):
    """SplitMix64's finaliser on Python's whole numbers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & WORD
    return state ^ (state >> 31)


def test_the_key_of_one_zero_is_splitmix64s_first_output_for_seed_zero():
    assert key(0) == 0xE220A8397B1DCDAF


def test_tensors_wrap_around_as_unsigned_words_do():
    stream = key(3, 5)
    wanted = [mixed((stream + index * 0x9E3779B97F4A7C15) & WORD) >> 33 for index in range(100)]
    assert draw(stream, torch.arange(100), 2**31).tolist() == wanted


def test_keys_tell_order_and_length_apart():
    assert len({key(1, 2), key(2, 1), key(1), key(1, 2, 0), key(1, 0, 2)}) == 5


def test_draws_are_uniform():
    counts = draw(key(7), torch.arange(90_000), 9).bincount(minlength=9)
    chi_square = float(((counts - 10_000) ** 2 / 10_000).sum())
    assert chi_square < 26.1, "the chance of more, with 8 degrees of freedom, is 1 in 1,000"


def test_neighbouring_streams_and_indices_are_uncorrelated():
    first, second = (draw(key(0, epoch), torch.arange(50_001), 2**31).double() for epoch in (0, 1))
    for pair in ((first, second), (first[:-1], first[1:])):
        assert abs(float(torch.corrcoef(torch.stack(pair))[0, 1])) < 0.02


def test_permutation_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    order = permutation(key(1, 2), 1000)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert not torch.equal(order, permutation(key(1, 3), 1000))
    assert torch.equal(order, permutation(key(1, 2), 1000))
