"""asv's own page and the copies that it loads instead of asking a network."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from tnbench.core.errors import TnbenchError
from tnbench.history.asv.site import ASSETS, make_offline, vendored

OWN = {"index.toml", "legible.css", "bars.js", ".gitattributes"}
CHANGED = {"jquery.flot.js", "jquery.flot.time.js", "jquery.flot.selection.js", "jquery.flot.categories.js"}
NEWER = {"stupidtable.min.js"}


class Loaded(HTMLParser):
    """What a page loads: the attributes of its scripts, styles and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in ("script", "link", "img") and {"src", "href"} & attributes.keys():
            self.found.append(attributes)


def loaded(page: Path) -> list[dict[str, str]]:
    return Loaded(page.read_text()).found


def address(attributes: dict[str, str]) -> str:
    return attributes.get("src") or attributes["href"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The files that asv copies to every site."""
    spec = find_spec("asv")
    assert spec is not None
    assert spec.origin is not None
    return Path(shutil.copytree(Path(spec.origin).parent / "www", tmp_path / "site"))


@pytest.mark.parametrize("copy", vendored(), ids=lambda copy: copy["file"])
def test_copies_are_exact_and_bring_their_licences(copy: dict[str, str]) -> None:
    assert hashlib.sha256((ASSETS / copy["file"]).read_bytes()).hexdigest() == copy["sha256"]
    licence = (ASSETS / copy["licence_file"]).read_text()
    assert copy["licence"] == "MIT"
    assert "MIT license" in licence or "Permission is hereby granted, free of charge" in licence
    assert copy["version"] in copy["url"] or copy["file"] in NEWER


def test_nothing_else_lies_beside_the_copies() -> None:
    listed = {copy[key] for copy in vendored() for key in ("file", "licence_file")}
    assert set(contents(ASSETS)) == listed | OWN


def test_the_page_loads_only_files_beside_it(site: Path) -> None:
    asked = {address(one) for one in loaded(site / "index.html") if "//" in address(one)}
    assert asked == {copy["url"] for copy in vendored()}
    make_offline(site)
    for page in site.glob("*.html"):
        assert loaded(page)
        for one in loaded(page):
            assert (site / address(one)).is_file() or address(one) == "regressions.xml", address(one)
            assert not {"crossorigin", "referrerpolicy"} & one.keys()


def test_order_and_what_happens_when_a_script_is_missing_stay(site: Path) -> None:
    files = {copy["url"]: f"vendor/{copy['file']}" for copy in vendored()}
    before = loaded(site / "index.html")
    make_offline(site)
    after = loaded(site / "index.html")
    ours = [one for one in after if address(one) in ("vendor/legible.css", "vendor/bars.js")]
    theirs = [one for one in after if one not in ours]
    assert [address(one) for one in theirs] == [files.get(address(one), address(one)) for one in before]
    assert [one.get("onerror") for one in theirs] == [one.get("onerror") for one in before]
    assert len(ours) == 2
    assert after.index(ours[0]) > max(after.index(one) for one in theirs if address(one).endswith((".css", ".js")))


def test_the_hash_that_the_page_demands_is_kept_where_the_copy_has_it(site: Path) -> None:
    make_offline(site)
    demanded = {address(one): one["integrity"] for one in loaded(site / "index.html") if "integrity" in one}
    files = {f"vendor/{copy['file']}" for copy in vendored() if copy["file"] not in CHANGED | NEWER}
    assert set(demanded) == files
    for file, integrity in demanded.items():
        algorithm, _, wanted = integrity.partition("-")
        assert base64.b64encode(hashlib.new(algorithm, (site / file).read_bytes()).digest()).decode() == wanted


def test_links_that_a_reader_may_follow_stay(site: Path) -> None:
    links = re.findall(r"<a href=[^>]*>", (site / "index.html").read_text())
    assert any("https://github.com/airspeed-velocity/asv/" in link for link in links)
    make_offline(site)
    assert re.findall(r"<a href=[^>]*>", (site / "index.html").read_text()) == links


def test_doing_it_again_changes_nothing(site: Path) -> None:
    make_offline(site)
    once = contents(site)
    make_offline(site)
    assert contents(site) == once


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        (
            "index.html",
            '<script src="https://cdn.example/jquery-9.min.js"></script>',
            "https://cdn.example/jquery-9.min.js",
        ),
        ("index.html", "<script async src='//cdn.example/a.js'></script>", "//cdn.example/a.js"),
        ("index.html", "<SCRIPT\n  SRC=http://cdn.example/a.js></SCRIPT>", "http://cdn.example/a.js"),
        ("error.html", '<link rel="stylesheet" href="https://cdn.example/a.css">', "https://cdn.example/a.css"),
        ("error.html", '<img alt="" src="https://cdn.example/a.png"/>', "https://cdn.example/a.png"),
        ("asv.css", '@import "https://cdn.example/b.css";', "https://cdn.example/b.css"),
        ("asv.css", "a { background: url(//cdn.example/a.png) }", "//cdn.example/a.png"),
    ],
)
def test_an_address_without_a_copy_is_named_and_nothing_is_written(
    site: Path, file: str, text: str, named: str
) -> None:
    (site / file).write_text((site / file).read_text() + text)
    before = contents(site)
    with pytest.raises(TnbenchError, match=f"the site loads {re.escape(named)}, of which tnbench has no copy"):
        make_offline(site)
    assert contents(site) == before


def test_a_folder_without_pages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TnbenchError, match="holds no page; write it first with: tnbench history --no-serve"):
        make_offline(tmp_path)
