import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sweep_plugins import write_plugin

from tnbench.core.errors import UsageError
from tnbench.core.registry import Registry
from tnbench.core.settings import Limits, Settings
from tnbench.sweep import suite as suite_module
from tnbench.sweep.suite import load_suite, suite_listings

PRODUCT = """
summary = "Mine."
[[product]]
method = ["dense", "svd"]
rank = ["x2", "x4"]
model = "cnn8"
dataset = "digits"
training = "finetune"
"""


def ids(suite):
    return [cell.case.id for cell in suite.cells]


def test_product_has_dense_once_and_seeds_vary_slowest(registry, write_suite):
    suite = load_suite(str(write_suite(PRODUCT + "seeds = 2")), registry)
    assert ids(suite) == [
        f"{pair}/cnn8/digits/finetune/single#{seed}" for seed in (0, 1) for pair in ("dense/full", "svd/x2", "svd/x4")
    ]
    assert (suite.name, suite.summary) == ("mine", "Mine.")
    assert (suite.settings, suite.limits) == (Settings(), Limits())


def test_seeds_as_a_list_and_replaced(registry, write_suite):
    file = str(write_suite(PRODUCT + "seeds = [7]"))
    assert {cell.case.seed for cell in load_suite(file, registry).cells} == {7}
    assert {cell.case.seed for cell in load_suite(file, registry, seeds=2).cells} == {0, 1}


def test_settings_limits_cases_and_exclusions(registry, write_suite):
    text = """
        summary = "Mine."
        cases = ["dense/full/cnn8/digits/finetune/single#4", "svd/x2/cnn8/digits/finetune/single#4"]
        [settings]
        epochs = 3
        lr = 1
        [limits]
        timeout_s = 60
        [[product]]
        method = ["dense", "svd"]
        rank = "x2"
        model = "cnn8"
        dataset = "digits"
        training = "finetune"
        [[exclude]]
        select = "rank=x2 seed=0"
        reason = "too slow"
    """
    suite = load_suite(str(write_suite(text)), registry)
    assert suite.settings == Settings(epochs=3, lr=1.0)
    assert suite.limits == Limits(60)
    assert [(cell.case.id, cell.excluded) for cell in suite.cells] == [
        ("dense/full/cnn8/digits/finetune/single#0", ""),
        ("svd/x2/cnn8/digits/finetune/single#0", "too slow"),
        ("dense/full/cnn8/digits/finetune/single#4", ""),
        ("svd/x2/cnn8/digits/finetune/single#4", ""),
    ]


def test_a_case_of_two_products_stands_once(registry, write_suite):
    suite = load_suite(str(write_suite(PRODUCT + PRODUCT.partition("\n[[")[2].join(["\n[[", ""]))), registry)
    assert len(ids(suite)) == len(set(ids(suite))) == 3


def test_extends_overrides_settings_and_appends_the_rest(registry, write_suite):
    write_suite(
        PRODUCT
        + "\n[settings]\nepochs = 3\nlr = 0.5\n[limits]\ntimeout_s = 60\n"
        + '[[exclude]]\nselect = "method=svd rank=x4"\nreason = "base says so"\n',
        "base.toml",
    )
    child = write_suite(
        'summary = "Child."\nextends = "base.toml"\ncases = ["tt/x2/cnn8/digits/scratch/single#0"]\n'
        "[settings]\nepochs = 9\n"
    )
    suite = load_suite(str(child), registry)
    assert suite.summary == "Child."
    assert (suite.settings, suite.limits) == (Settings(epochs=9, lr=0.5), Limits(60))
    assert [cell.case.method for cell in suite.cells] == ["dense", "svd", "svd", "tt"]
    assert [cell.excluded for cell in suite.cells] == ["", "", "base says so", ""]


def test_methods_given_by_plugin_files_stand_where_the_token_does(world, write_suite):
    mine = write_plugin(world.root / "own", "mine", '"Mine."\nKIND = "method"')
    file = str(write_suite(PRODUCT.replace('"svd"]', '"@plugins", "svd"]')))
    assert [cell.case.method for cell in load_suite(file, world.registry(mine)).cells] == [
        *("dense", "mine", "mine", "svd", "svd"),
    ]
    assert [cell.case.method for cell in load_suite(file, world.registry()).cells] == ["dense", "svd", "svd"]


def test_a_cost_is_the_files_own(registry, write_suite):
    base = write_suite(PRODUCT.replace("[[", 'cost = "an hour"\n[[', 1), "base.toml")
    child = write_suite('summary = "Child."\nextends = "base.toml"\n')
    assert (load_suite(str(base), registry).cost, load_suite(str(child), registry).cost) == ("an hour", "")


def test_mixtures_and_meshes_parse(registry, write_suite):
    text = PRODUCT.replace('"svd"', '"svd+tt"') + 'parallel = "ddp:2*threads:2"'
    suite = load_suite(str(write_suite(text)), registry)
    assert ids(suite)[1] == "svd+tt/x2/cnn8/digits/finetune/ddp:2*threads:2#0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty, wanted a summary and a [[product]]"),
        ("a = 1\nsummary = ]", "no valid TOML: Invalid value (at line 2, column 11)"),
        ('summary = "a"', "no case in it, wanted a [[product]] or cases = [...]"),
        (PRODUCT.replace('"Mine."', '""'), "summary: got none"),
        (PRODUCT.replace('summary = "Mine."', ""), "summary: got none"),
        ('summary = "a"\ncost = 3', "cost: got 3, wanted a text"),
        ('sumary = "a"', "no key is named 'sumary'; the nearest is 'summary'"),
        (PRODUCT + 'metod = "a"', "product 1: no key is named 'metod'; the nearest is 'method'"),
        (PRODUCT.replace('"svd"', '"svt"'), "product 1: no method is named 'svt'; the nearest is 'svd'"),
        (PRODUCT.replace('"x4"', '"x0"'), "product 1: rank: got 'x0', wanted x and a number from 1 up"),
        (PRODUCT.replace('["x2", "x4"]', "4"), "product 1: rank: got 4, wanted a text or a list of texts"),
        (PRODUCT.replace('["x2", "x4"]', "[]"), "product 1: rank: got [], wanted a text or a list of texts"),
        (PRODUCT.replace('rank = ["x2", "x4"]', ""), "product 1: rank: got none, wanted a rank such as 'x4'"),
        (PRODUCT.replace('model = "cnn8"', ""), "product 1: model is missing"),
        (PRODUCT.replace('"svd"', '"@plugin"'), "product 1: method: got '@plugin', wanted a method or '@plugins'"),
        (PRODUCT + 'parallel = "ddp"', "product 1: parallel: got 'ddp' without a count"),
        (PRODUCT + "seeds = 0", "product 1: seeds: got 0, wanted how many (such as 3) or a list"),
        (PRODUCT + "seeds = [-1]", "product 1: seeds: got [-1]"),
        (PRODUCT + "seeds = true", "product 1: seeds: got True"),
        (PRODUCT + "[settings]\nepoch = 1", "settings: no setting is named 'epoch'; the nearest is 'epochs'"),
        (PRODUCT + '[settings]\nepochs = "1"', "settings: got epochs = '1', wanted int"),
        (PRODUCT + "[settings]\nepochs = -1", "settings: got epochs = -1, wanted a whole number from 0 on"),
        (PRODUCT + "[limits]\ntimeout = 1", "limits: no limit is named 'timeout'; the nearest is 'timeout_s'"),
        (PRODUCT + '[limits]\ntimeout_s = "1"', "limits: got timeout_s = '1', wanted seconds above 0"),
        (PRODUCT + "[limits]\ntimeout_s = 0", "limits: got timeout_s = 0, wanted seconds above 0"),
        (PRODUCT + '[[exclude]]\nselect = "rank=x2"', "exclude 1: reason: got none"),
        (PRODUCT + '[[exclude]]\nselect = "rnk=x2"\nreason = "a"', "exclude 1: --select: no axis is named 'rnk'"),
        (PRODUCT + "exclude = 3", "product 1: no key is named 'exclude'"),
        ('summary = "a"\ncases = "b"', "cases: got 'b', wanted a list"),
        ('summary = "a"\ncases = ["a/b"]', "cases: case: got 'a/b' with 2 parts, wanted 6"),
        ('summary = "a"\ncases = ["svt/x2/cnn8/digits/finetune/single"]', "cases: no method is named 'svt'"),
        ('summary = "a"\nproduct = ["b"]', "product 1: got 'b', wanted a table"),
        ('summary = "a"\nextends = "quik"', "extends: no suite is named 'quik'; the nearest is 'quick'"),
        ('summary = "a"\nextends = "mine.toml"', "in a circle (mine.toml -> mine.toml)"),
    ],
)
def test_errors_name_file_and_key(registry, write_suite, text, said):
    file = write_suite(text)
    with pytest.raises(UsageError) as error:
        load_suite(str(file), registry)
    assert str(error.value).startswith(f"{file}: ")
    assert said in str(error.value)


def test_files_that_extend_each_other(registry, write_suite):
    write_suite('summary = "a"\nextends = "b.toml"', "a.toml")
    file = write_suite('summary = "b"\nextends = "a.toml"', "b.toml")
    with pytest.raises(UsageError, match=r"in a circle \(b.toml -> a.toml -> b.toml\)"):
        load_suite(str(file), registry)


def test_a_binary_file_is_no_suite(registry, tmp_path):
    file = tmp_path / "binary.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read as text"):
        load_suite(str(file), registry)


def test_a_missing_suite_says_which_there_are(registry):
    with pytest.raises(UsageError, match=r"no suite is named 'quik'; the nearest is 'quick' .*, or give the path"):
        load_suite("quik", registry)
    with pytest.raises(UsageError, match=r"suite: no file somewhere/cifr.toml; .* the nearest is 'cifar'"):
        load_suite("somewhere/cifr.toml", registry)


def test_listings_import_no_torch():
    check = (
        "import sys; from tnbench.sweep.suite import suite_listings; suite_listings(); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True, env=dict(os.environ))
    assert {"quick", "mnist", "cifar", "scaling"} <= {listing.name for listing in suite_listings()}
    assert all(listing.summary for listing in suite_listings())


@pytest.mark.parametrize("name", [listing.name for listing in suite_listings()])
def test_every_suite_that_is_shipped_loads(name):
    suite = load_suite(name, Registry())
    assert suite.cells
    assert not any(cell.excluded for cell in suite.cells)


def test_quick_holds_what_it_promises():
    cases = [cell.case for cell in load_suite("quick", Registry()).cells]
    assert {case.method for case in cases} == {"dense", "svd", "tucker2", "cp", "tt"}
    for method in ("svd", "tucker2", "cp", "tt"):
        cells = {(case.rank, case.seed) for case in cases if case.method == method}
        assert len({rank for rank, _ in cells}) >= 4
        assert {seed for _, seed in cells} == {0, 1, 2}


def test_pictures_come_in_sizes_that_say_what_they_cost():
    sizes = {listing.name: listing.cost for listing in suite_listings()}
    assert all(sizes[name] for name in ("mnist", "mnist-smoke", "cifar", "cifar-smoke", "cifar-full"))
    cells = {name: load_suite(name, Registry()).cells for name in ("cifar-smoke", "cifar", "cifar-full")}
    assert len(cells["cifar-smoke"]) < len(cells["cifar"]) < len(cells["cifar-full"])
    assert 55 <= len(cells["cifar"]) <= 65
    for smoke in ("mnist-smoke", "cifar-smoke"):
        suite = load_suite(smoke, Registry())
        assert suite.settings.limit_train == 2000
        assert len({cell.case.training for cell in suite.cells}) == 2


def test_the_token_is_spelt_as_the_suites_spell_it():
    assert suite_module.GIVEN in (suite_module.FOLDER / "quick.toml").read_text()


def test_the_page_has_every_shipped_suite_with_its_number_of_cases():
    page = (Path(__file__).parents[2] / "docs" / "suites.md").read_text(encoding="utf-8")
    told = {name: int(count) for name, count in re.findall(r"^\| `([\w-]+)` \| (\d+) \|", page, re.MULTILINE)}
    cells = {listing.name: load_suite(listing.name, Registry()).cells for listing in suite_listings()}
    assert told == {name: sum(not cell.excluded for cell in suite) for name, suite in cells.items()}
