"""Files of data sets: found plain or gzipped, checked, and told about when absent or damaged."""

import gzip
import hashlib

import pytest

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.datasets._files import Original, check, download, look_for, open_plain

CONTENT = {"one": b"first " * 100, "two": b"second " * 100}
ORIGINALS = {name: Original(len(text), hashlib.md5(text).hexdigest()) for name, text in CONTENT.items()}


def write(folder, packed=()):
    for name, text in CONTENT.items():
        if name in packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(text))
        else:
            (folder / name).write_bytes(text)


def checked(folder):
    return check("toy", folder, look_for(folder, list(CONTENT), gzipped=True), ORIGINALS)


@pytest.mark.parametrize("packed", [(), ("one",), ("one", "two")])
def test_plain_and_gzipped_files_are_found_and_equal(tmp_path, packed):
    write(tmp_path, packed)
    paths = checked(tmp_path)
    for name, path in paths.items():
        with open_plain(path) as file:
            assert file.read() == CONTENT[name]
    assert {name for name, path in paths.items() if path.suffix == ".gz"} == set(packed)


def test_a_plain_file_goes_before_a_gzipped_one(tmp_path):
    write(tmp_path)
    write(tmp_path, packed=("one",))
    assert checked(tmp_path)["one"] == tmp_path / "one"


def test_gzipped_files_are_looked_for_only_where_that_is_asked(tmp_path):
    write(tmp_path, packed=("one",))
    assert [file.found for file in look_for(tmp_path, list(CONTENT))] == [None, tmp_path / "two"]


def test_every_absent_file_is_named_with_the_command_that_fetches_it(tmp_path):
    with pytest.raises(UsageError) as caught:
        checked(tmp_path)
    message = str(caught.value)
    assert "toy: 2 of 2 files are not under the data root" in message
    for name in CONTENT:
        assert f"{tmp_path / name} or {tmp_path / name}.gz" in message
    assert f"tnbench data fetch toy --data-root {tmp_path}" in message


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("one", lambda whole: whole[:-5], "got 595 bytes, wanted 600"),
        ("one", lambda whole: b"F" + whole[1:], "got MD5 .*, wanted"),
        ("one", lambda whole: b"", "got 0 bytes"),
        ("two.gz", lambda whole: whole[:-9], "unpacking it fails"),
        ("two.gz", lambda whole: b"no gzip at all", "unpacking it fails"),
        ("two.gz", lambda whole: whole[:12] + b"\xff\xff\xff" + whole[15:], "unpacking it fails"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, name, damage, reason):
    write(tmp_path, packed=("two",))
    file = tmp_path / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UsageError, match=rf"toy: {file} is truncated or damaged \({reason}.*\); remove it and fetch"):
        checked(tmp_path)


def test_a_failing_download_says_what_to_do_by_hand(tmp_path):
    def fail():
        raise OSError("no network")

    with pytest.raises(TnbenchError, match=r"toy could not be fetched into .*: no network") as caught:
        download("toy", tmp_path, "the archive of toys", fail)
    assert "download the archive of toys by hand" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
