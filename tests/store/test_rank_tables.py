from pathlib import Path

import pytest

from tnbench.core.errors import UsageError
from tnbench.store.rank_tables import read_table, table_digest, table_path, write_table

RANKS = {"layer1.0.conv1": (8, 8), "fc": (3,)}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write_table(tmp_path, "mine", RANKS)
    assert path == tmp_path / "ranks" / "mine.toml"
    assert read_table(tmp_path, "mine") == RANKS
    assert write_table(tmp_path, "mine", RANKS) == path


def test_other_ranks_do_not_replace_a_table(tmp_path: Path) -> None:
    path = write_table(tmp_path, "mine", RANKS)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="holds other ranks; take another name"):
        write_table(tmp_path, "mine", {"fc": (4,)})
    assert path.read_bytes() == before


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    assert table_digest(tmp_path, "mine") is None
    path = write_table(tmp_path, "mine", RANKS)
    first = table_digest(tmp_path, "mine")
    path.write_text("fc = [4]\n")
    assert first is not None
    assert table_digest(tmp_path, "mine") not in (first, None)
    assert table_digest(tmp_path) is None


def test_a_table_that_is_not_there_gets_the_nearest(tmp_path: Path) -> None:
    write_table(tmp_path, "mine", RANKS)
    with pytest.raises(UsageError, match=r"the nearest is 'mine'.*tnbench export ranks --case ID --table mein"):
        read_table(tmp_path, "mein")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fc = [0]", r"got \[0\] for 'fc', wanted a list of whole numbers from 1 up"),
        ("fc = 3", "got 3 for 'fc'"),
        ("fc = [true]", r"got \[True\] for 'fc'"),
        ("fc = []", r"got \[\] for 'fc'"),
        ("fc = [3", "mend the file"),
    ],
)
def test_a_damaged_table_is_told(tmp_path: Path, text: str, message: str) -> None:
    path = table_path(tmp_path, "bad")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_table(tmp_path, "bad")


def test_a_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="wanted letters"):
        table_path(tmp_path, "../other")
