import subprocess
import sys

import pytest

from tnbench.core.errors import PluginError, UsageError
from tnbench.core.grammar import Atom
from tnbench.core.registry import KINDS, Registry

METHOD = '"""Mine in a line.\n\nAnd more.\n"""\nKIND = "method"\nVERSION = 3\n'


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="mine.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write_file


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A distribution on disk with entry points, as pip would leave it."""

    def install_distribution(entries, name="tnbench-extra", **modules):
        site = tmp_path / name
        info = site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entries)
        for module, text in modules.items():
            file = site / f"{module.replace('__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        monkeypatch.syspath_prepend(site)
        return site

    return install_distribution


def named(kind, name, registry):
    (found,) = [listing for listing in registry.listings(kind) if listing.name == name]
    return found


# -------------------------------------------------------------------------------------------------- given files


def test_a_given_file_is_a_plugin_named_for_it(write):
    file = write(METHOD)
    registry = Registry([file])
    listing = registry.find("method", "mine")
    assert (listing.kind, listing.name, listing.summary, listing.version) == ("method", "mine", "Mine in a line.", 3)
    assert (listing.path, listing.origin) == (file, str(file))
    assert registry.given("method") == ["mine"]
    assert registry.given("model") == []


def test_listing_imports_nothing_and_binding_imports_once(write):
    registry = Registry([write(METHOD + "import sys\nsys.imported_mine = getattr(sys, 'imported_mine', 0) + 1\n")])
    try:
        named("method", "mine", registry)
        assert not hasattr(sys, "imported_mine")
        first, second = (registry.bind("method", Atom("mine")) for _ in range(2))
        assert first.module is second.module
        assert sys.imported_mine == 1
    finally:
        del sys.imported_mine


def test_a_family_and_a_pattern(write):
    family = write('NAMES = {"net_a": "The small.", "net_b": "The big."}\nKIND = "model"\n', "nets.py")
    pattern = write('"Ranks."\nKIND = "rank"\nPATTERN: tuple = ("zR", r"z([0-9]+)")\n', "zed.py")
    registry = Registry([family, pattern])
    assert registry.find("model", "net_b").summary == "The big."
    assert (registry.find("rank", "z12").name, registry.find("rank", "z12").version) == ("zR", 1)
    with pytest.raises(UsageError, match="no rank is named 'zR'"):
        registry.find("rank", "zR")
    with pytest.raises(UsageError, match="no model is named 'nets'"):
        registry.find("model", "nets")


def test_a_name_goes_before_a_pattern(write):
    pattern = write('KIND = "rank"\nPATTERN = ("aR", r"a.*")\n', "any.py")
    exact = write('KIND = "rank"\n', "azure.py")
    assert Registry([pattern, exact]).find("rank", "azure").path == exact
    assert Registry([pattern, exact]).find("rank", "amber").path == pattern


def test_options_come_with_the_bond(write):
    text = METHOD + "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Options:\n    iters: int = 1\n"
    registry = Registry([write(text)])
    assert registry.bind("method", Atom("mine", (), (("iters", "5"),))).options.iters == 5
    with pytest.raises(UsageError, match="method mine: no option is named 'itres'; the nearest is 'iters'"):
        registry.bind("method", Atom("mine", (), (("itres", "5"),)))


def test_a_changed_source_has_another_digest(write):
    before = Registry([write(METHOD)]).find("method", "mine").source_digest()
    after = Registry([write(METHOD + "\n# changed\n")]).find("method", "mine").source_digest()
    assert before != after
    assert len(before) == 16


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"No kind."', "got KIND = '', wanted one of method, rank, model"),
        ('KIND = "methods"', "got KIND = 'methods', wanted one of method"),
        ("def broken(:", "line 1: "),
        ("KIND = make()", "must be literals"),
    ],
)
def test_given_files_that_are_no_plugins(write, text, said):
    file = write(text)
    with pytest.raises(UsageError) as error:
        Registry([file])
    assert f"--plugin {file}: " in str(error.value)
    assert said in str(error.value)


def test_a_given_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"--plugin: no file .*absent.py; give the path of a Python file"):
        Registry([tmp_path / "absent.py"])


def test_two_plugins_of_one_name_are_an_error(write):
    first, second = write(METHOD, "a/mine.py"), write(METHOD, "b/mine.py")
    with pytest.raises(UsageError, match=f"two plug-ins are method 'mine': {first} and {second}; rename one of them"):
        Registry([first, second])


def test_a_misspelt_name_gets_the_nearest(write):
    with pytest.raises(UsageError, match="no method is named 'mien'; the nearest is 'mine'"):
        Registry([write(METHOD)]).find("method", "mien")


# ------------------------------------------------------------------------------------------------ broken plug-ins


def test_a_plugin_that_cannot_be_imported_breaks_only_its_own_use(write):
    broken = write(METHOD + "import no_such_module\n", "broken.py")
    registry = Registry([broken, write(METHOD)])
    assert named("method", "broken", registry).broken == ""
    for _ in range(2):
        with pytest.raises(PluginError, match=f"method 'broken' of {broken} cannot be loaded: ModuleNotFoundError"):
            registry.bind("method", Atom("broken"))
    assert registry.bind("method", Atom("mine")).listing.name == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:", "line 1: "),
        ("VERSION = 1 + x", "VERSION, NAMES, PATTERN, KIND must be literals"),
        ('PATTERN = ("xR", "x(")', "must be literals"),
        ('PATTERN = ("xR", "x", "y")', "must be literals"),
        ("NAMES = 3", "must be literals"),
    ],
)
def test_an_installed_plugin_that_cannot_be_read_is_listed_as_broken(install, text, said):
    install("[tnbench.ranks]\nbroken = broken_rank\n", broken_rank=text)
    registry = Registry()
    listing = named("rank", "broken", registry)
    assert said in listing.broken
    assert listing.summary == listing.broken
    with pytest.raises(PluginError, match=r"rank 'broken' of .*broken_rank.py: .*; mend the file"):
        registry.bind("rank", Atom("broken"))


# ------------------------------------------------------------------------------------------- installed plug-ins


def test_entry_points_of_every_kind(install):
    entries = "".join(f"[tnbench.{folder}]\nextra_{kind} = extra_{kind}\n" for kind, folder in KINDS.items())
    install(entries, **{f"extra_{kind}": f'"An extra {kind}."\nVERSION = 2\nmark = "{kind}"\n' for kind in KINDS})
    registry = Registry()
    for kind in KINDS:
        listing = registry.find(kind, f"extra_{kind}")
        assert (listing.summary, listing.version, listing.origin) == (f"An extra {kind}.", 2, "tnbench-extra")
        assert registry.bind(kind, Atom(f"extra_{kind}")).module.mark == kind


def test_an_entry_point_bears_its_own_name_wherever_its_module_is(install):
    install("[tnbench.methods]\nnice = deep_package.impl\n", deep_package__impl='"Nice."', deep_package____init__="")
    assert Registry().find("method", "nice").path.name == "impl.py"


def test_an_entry_point_without_its_module_is_listed_as_broken(install):
    install("[tnbench.methods]\nghost = ghostly.module\n")
    registry = Registry()
    assert (
        "its module 'ghostly.module' is not there; reinstall tnbench-extra" in named("method", "ghost", registry).broken
    )
    with pytest.raises(PluginError, match="method 'ghost'"):
        registry.bind("method", Atom("ghost"))


def test_an_installed_plugin_and_a_given_one_of_one_name(install, write):
    install("[tnbench.methods]\nmine = mine_installed\n", mine_installed='"Mine."')
    with pytest.raises(UsageError, match="two plug-ins are method 'mine'"):
        Registry([write(METHOD)])


# ------------------------------------------------------------------------------------------------- tnbench's own


@pytest.mark.parametrize("kind", KINDS)
def test_what_tnbench_ships_is_whole(kind):
    listings = Registry().listings(kind)
    assert [listing.name for listing in listings] == sorted(listing.name for listing in listings)
    assert not [listing.name for listing in listings if listing.broken]
    assert not [listing.name for listing in listings if not listing.summary]


def test_listing_everything_imports_no_torch_and_no_plugin():
    check = (
        "import sys; from tnbench.core.registry import KINDS, Registry; r = Registry(); "
        "[r.listings(kind) for kind in KINDS]; "
        "found = [m for m in sys.modules if m.split('.')[0] == 'torch' or m.startswith('tnbench.methods.')]; "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
