import csv
import json
import re
import warnings
from html.parser import HTMLParser

import pytest
from reporting_factory import measured, record, scaling, strong, sweep, troubled, weak

from tnbench.reporting import page as page_module
from tnbench.reporting.page import write_page

TAIL = "cnn8/digits/finetune/single"
VOID = {"meta", "link", "br", "img", "input", "wbr", "hr"}


class Outline(HTMLParser):
    """Which elements stay open, and every id."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.addresses = [], [], []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[name] for name in ("src", "href", "xlink:href", "action") if found.get(name)]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


def write(records, folder, **more):
    return write_page(records, **{"name": "quick", "summary": "A few cases", "out": folder, **more})


def without_scripts(text):
    return re.sub(r"<script(?! type)>.*?</script>", "<script></script>", text, flags=re.DOTALL)


SETS = {
    "quick": lambda: [*sweep(ranks=(2, 8)), *troubled()],
    "two models": lambda: [*sweep(seeds=1, ranks=(2,)), *sweep("lenet5", "mnist", seeds=1, ranks=(2, 4))],
    "scaling": scaling,
    "over ranks": lambda: [*strong(), *weak()],
    "two cores": lambda: strong(seeds=1, most=2),
    "no accuracy": lambda: [measured(f"tt/x{rank}/cnn8/synthetic/none/single#0", compression=rank) for rank in (2, 4)],
    "one": lambda: sweep(seeds=1)[:1],
    "counts of zero": lambda: [
        measured(f"tt/x{rank}/{TAIL}#0", top1=90.0, compression=rank, metrics={"macs": 0}) for rank in (2, 4)
    ],
    "one count of zero": lambda: [*sweep(seeds=1, ranks=(2,)), measured(f"tt/x9/{TAIL}#0", metrics={"macs": 0})],
    "bare": lambda: [record("tt/x4/cnn8/digits/none/single#0")],
    "failures": troubled,
    "nothing": list,
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, make in SETS.items():
            found[name] = write(make(), tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")
    return found


@pytest.mark.parametrize("name", SETS)
def test_the_page_is_well_formed_and_asks_for_nothing(pages, name):
    outline = Outline()
    outline.feed(without_scripts(pages[name]))
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert [address for address in outline.addresses if not address.startswith("#")] in ([], ["records.csv"])
    for reference in re.findall(r"url\(#([^)]+)\)", without_scripts(pages[name])):
        assert reference in outline.ids


@pytest.mark.parametrize("name", SETS)
def test_no_number_is_nan(pages, name):
    assert not re.search(r"\b(nan|NaN|None|inf)\b", without_scripts(pages[name]).replace("loss is nan", ""))


def test_every_record_is_in_the_table_with_its_reason_and_command(pages):
    for row in [*sweep(ranks=(2, 8)), *troubled()]:
        assert f'data-value="{row.case}"' in pages["quick"]
    assert "layer conv2 cannot reach x1000000; the most is x85" in pages["quick"]
    assert "tnbench run --case &#39;tt/x5/cnn8/digits/finetune/single#0&#39;" in pages["quick"]


def test_text_from_outside_is_escaped(pages):
    assert "ValueError: got [/red] &amp; &lt;b&gt;bold&lt;/b&gt;" in pages["quick"]
    assert "<b>bold" not in pages["quick"]


def test_zero_records_and_failures_are_said_clearly(pages):
    assert "There are no records yet." in pages["nothing"]
    assert "No case ended well" in pages["failures"]
    assert "No accuracy was measured here" in pages["no accuracy"]


@pytest.mark.parametrize("name", ["failures", "nothing", "bare"])
def test_nothing_to_plot_means_no_plot(pages, name):
    assert 'id="plot"' not in pages[name]


def test_figures_are_per_model_and_dataset(pages):
    assert pages["two models"].count('<figure><svg role="img"') == 6
    assert pages["quick"].count('<figure><svg role="img"') == 3
    assert pages["no accuracy"].count('<figure><svg role="img"') == 2


def test_a_count_of_zero_costs_no_more_than_its_axis(pages):
    assert pages["counts of zero"].count('<figure><svg role="img"') == 2
    assert pages["one count of zero"].count('<figure><svg role="img"') == 3
    assert 'data-column="macs"' not in pages["counts of zero"]


def test_slowdowns_are_shown(pages):
    assert "slower" in pages["scaling"]
    assert '<figure class="wide"><svg role="img"' in pages["scaling"]


def test_parallel_cases_have_their_tables_and_their_checklist(pages):
    text = pages["over ranks"]
    for heading in ("Karp–Flatt", "communication %", "words of a step", "measured ÷ predicted", "Algorithmic speedup"):
        assert heading in text
    assert text.count("Twelve rules for parallel measurements") == 1
    assert "weak scaling" in text
    assert "efficiency T<sub>1</sub>/T<sub>P</sub>" in text
    assert "communication %" not in pages["scaling"], "nothing of the kind was measured there"


def test_speedups_are_drawn_over_cores_with_the_shares_of_the_dotted_curves(pages):
    assert pages["over ranks"].count("speedup of a training step over cores") == 1
    assert "dense, threads, serial share" in pages["over ranks"]
    assert "(the optimiser&#39;s share)" in pages["two cores"]
    assert "(fitted)" not in pages["two cores"]


def test_the_plot_data_is_strict_json_and_plotly_accepts_it(pages):
    from plotly import graph_objects

    text = re.search(r'<script type="application/json" id="plot-data">(.*?)</script>', pages["two models"])[1]
    data = json.loads(text, parse_constant=lambda name: 1 / 0)
    assert data["contexts"] == ["cnn8 on digits, finetune", "lenet5 on mnist, finetune"]
    ours = ("columns", "context", "full_name")
    for trace in data["traces"]:
        graph_objects.Figure([{name: value for name, value in trace.items() if name not in ours}])
        assert {len(values) for values in trace["columns"].values()} <= {1, 2}


def test_what_is_left_to_run_is_counted(tmp_path):
    text = write(sweep(seeds=1, ranks=(2,)), tmp_path, expected=12).read_text(encoding="utf-8")
    assert "<b>7</b> not run yet" in text


def test_the_csv_beside_it_has_every_record(tmp_path):
    write(troubled(), tmp_path)
    with (tmp_path / "records.csv").open(newline="", encoding="utf-8") as text:
        assert [row["case"] for row in csv.DictReader(text)] == [row.case for row in troubled()]


def test_the_same_records_give_the_same_bytes(tmp_path):
    first = write(sweep(seeds=1, ranks=(2, 4)), tmp_path / "a").read_bytes()
    assert write(sweep(seeds=1, ranks=(2, 4)), tmp_path / "b").read_bytes() == first


def test_an_unchanged_page_is_left_alone(tmp_path):
    page = write(troubled(), tmp_path)
    page.write_text(page.read_text(encoding="utf-8") + "<!-- mark -->", encoding="utf-8")
    assert "<!-- mark -->" in write(troubled(), tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize("change", [{"summary": "Other words"}, {"expected": 99}, {"records": troubled()[1:]}])
def test_a_change_draws_the_page_anew(tmp_path, change):
    page = write(troubled(), tmp_path)
    page.write_text(page.read_text(encoding="utf-8") + "<!-- mark -->", encoding="utf-8")
    records = change.pop("records", troubled())
    assert "<!-- mark -->" not in write(records, tmp_path, **change).read_text(encoding="utf-8")


def test_a_missing_csv_is_written_again(tmp_path):
    write(troubled(), tmp_path)
    (tmp_path / "records.csv").unlink()
    write(troubled(), tmp_path)
    assert (tmp_path / "records.csv").is_file()


def test_a_failing_write_leaves_the_old_page_and_no_scraps(tmp_path, monkeypatch):
    page = write(troubled(), tmp_path)
    old = page.read_bytes()

    def full(self, *_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(page_module.Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        write(troubled()[1:], tmp_path)
    assert page.read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "records.csv"]


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib
    from matplotlib import pyplot

    from tnbench.reporting.render import render_page

    before = dict(matplotlib.rcParams)
    render_page(sweep(seeds=1, ranks=(2,)), name="quick", summary="")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
