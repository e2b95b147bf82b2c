import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.grammar import AXES, Atom, format_part, mixture_sign, parse_part, split_outside_brackets

NAMES = st.builds("{}{}".format, st.sampled_from("aZ0_"), st.text("aZ0_.-", max_size=4))
VALUES = st.text("aZ0_.-+*:?@'\\π", min_size=1, max_size=4)


@st.composite
def atoms(draw):
    bare = draw(st.lists(VALUES, max_size=2))
    named = draw(st.dictionaries(NAMES, VALUES, max_size=3))
    count = draw(st.none() | st.integers(1, 64))
    return Atom(draw(NAMES), tuple(bare), tuple(sorted(named.items())), count)


@st.composite
def cases(draw):
    parts = {axis: format_part(axis, draw(st.lists(atoms(), min_size=1, max_size=3))) for axis in AXES}
    return Case(**parts, seed=draw(st.integers(0, 10**6)))


@settings(deadline=None)
@given(st.sampled_from(AXES), st.lists(atoms(), min_size=1, max_size=3))
def test_parts_come_back(axis, wanted):
    assert parse_part(axis, format_part(axis, wanted)) == tuple(wanted)


@settings(deadline=None)
@given(cases())
def test_an_id_parses_back_to_the_same_case(case):
    assert Case.parse(case.id) == case
    assert Case.parse(case.id).id == case.id
    assert hash(Case.parse(str(case))) == hash(case)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_case_or_a_usage_error(text):
    try:
        case = Case.parse(text)
    except UsageError:
        return
    assert Case.parse(case.id) == case


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab[]c", max_size=6).filter(lambda t: t.count("[") == t.count("]") == 0), min_size=1))
def test_splitting_undoes_joining(pieces):
    assert split_outside_brackets(",".join(pieces), ",") == pieces


def test_brackets_keep_what_they_hold():
    assert split_outside_brackets("cp[a=1,b=2],tt", ",") == ["cp[a=1,b=2]", "tt"]
    assert [atom.name for atom in parse_part("method", "tucker2[x=a+b]+tt_linear")] == ["tucker2", "tt_linear"]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("cp[solver=als,iters=200]", "cp[iters=200,solver=als]"),
        ("tv[resnet50]", "tv[resnet50]"),
        ("tv[b,a,z=1]", "tv[b,a,z=1]"),
        ("tucker2+tt_linear", "tucker2+tt_linear"),
        ("synthetic[shape=3x32x32,classes=10]", "synthetic[classes=10,shape=3x32x32]"),
    ],
)
def test_the_canonical_text(text, canonical):
    assert Case(text, "x4", "cnn8", "digits", "none", "single").method == canonical


def test_meshes_have_a_sign_of_their_own():
    case = Case.parse("tt/x4/cnn8/digits/admm+distill/ddp[bucket_mb=1]:2*bottleneck_tp:2#3")
    assert case.atoms("parallel") == (Atom("ddp", (), (("bucket_mb", "1"),), 2), Atom("bottleneck_tp", count=2))
    assert [mixture_sign(axis) for axis in AXES] == ["+", "+", "+", "+", "+", "*"]
    assert case.seed == 3


def test_without_a_seed_it_is_zero():
    assert Case.parse("tt/x4/cnn8/digits/none/single") == Case.parse("tt/x4/cnn8/digits/none/single#0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "case: got '' with 1 parts, wanted 6"),
        ("tt/x4/cnn8", "such as 'tucker2/x4/resnet20/cifar10/finetune/single#0'"),
        ("tt/x4/cnn8/digits/none/single/more", "with 7 parts"),
        ("tt//cnn8/digits/none/single", "rank: got '', wanted a name with options in brackets and a count"),
        ("t t/x4/cnn8/digits/none/single", "method: got 't t'"),
        ("tt/x4/cnn8/digits/none/single#-1", "parallel: got 'single#-1'"),
        ("tt/x4/cnn8/digits/none/single#", "parallel: got 'single#'"),
        ("cp[/x4/cnn8/digits/none/single", "with 1 parts"),
        ("cp[]/x4/cnn8/digits/none/single", "method: got the option '' in 'cp[]', wanted 'value' or 'name=value'"),
        ("cp[a=]/x4/cnn8/digits/none/single", "method: got the option 'a='"),
        ("cp[a=1=2]/x4/cnn8/digits/none/single", "method: got the option 'a=1=2'"),
        ("cp[a=1,a=2]/x4/cnn8/digits/none/single", "method: the option 'a' stands twice in 'cp[a=1,a=2]'; keep one"),
        ("tt/x4/cnn8/digits/none/ddp:0", "parallel: got 'ddp:0'"),
        ("tt/x4/cnn8/digits/none/ddp:2*", "parallel: got ''"),
    ],
)
def test_what_is_no_case(text, said):
    with pytest.raises(UsageError) as error:
        Case.parse(text)
    assert said in str(error.value)


def test_a_negative_seed():
    with pytest.raises(UsageError, match="seed: got -1, wanted a whole number from 0 on"):
        Case("tt", "x4", "cnn8", "digits", "none", "single", -1)
