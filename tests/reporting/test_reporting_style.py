from tnbench.reporting.figures.style import looks


def test_a_common_method_looks_the_same_on_every_page() -> None:
    assert looks(["dense", "tucker2"])["tucker2"] == looks(["cp", "svd", "mine", "tucker2"])["tucker2"]


def test_all_methods_of_a_page_look_different() -> None:
    methods = ["cp", "dense", "mine", "svd", "tt", "tucker2", "yours"]
    assert list(looks(methods)) == ["dense", "cp", "svd", "tt", "tucker2", "mine", "yours"]
    assert len(set(looks(methods).values())) == len(methods)
