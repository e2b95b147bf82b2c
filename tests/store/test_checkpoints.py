import hashlib
import os
import subprocess
import sys

import pytest
import torch

from tnbench.core.errors import TnbenchError
from tnbench.store.checkpoints import checkpoint_path, load_state, save_state

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3)}


def test_tensors_come_back_bit_for_bit(tmp_path):
    digest = save_state(tmp_path, STATE)
    loaded = load_state(tmp_path, digest)
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], STATE[name]) and loaded[name].dtype == STATE[name].dtype for name in STATE)


def test_the_name_is_the_digest_of_the_content_whatever_the_order(tmp_path):
    digest = save_state(tmp_path, STATE)
    assert digest == save_state(tmp_path, dict(reversed(STATE.items())))
    (file,) = (tmp_path / "checkpoints").iterdir()
    assert file == checkpoint_path(tmp_path, digest)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest


def test_views_and_shared_tensors_are_kept_as_values(tmp_path):
    base = torch.arange(6.0).reshape(2, 3)
    loaded = load_state(tmp_path, save_state(tmp_path, {"a": base.T, "b": base, "c": base}))
    assert torch.equal(loaded["a"], base.T)
    assert torch.equal(loaded["c"], base)


@pytest.mark.parametrize("damage", [b"", b"x"])
def test_changed_bytes_are_refused_with_file_and_fix_and_saving_mends_them(tmp_path, damage):
    digest = save_state(tmp_path, STATE)
    path = checkpoint_path(tmp_path, digest)
    path.write_bytes(path.read_bytes()[:-1] + damage)
    with pytest.raises(TnbenchError, match=f"{path} has SHA-256 .*, wanted the one in its name; delete it"):
        load_state(tmp_path, digest)
    assert save_state(tmp_path, STATE) == digest
    assert load_state(tmp_path, digest).keys() == STATE.keys()


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(TnbenchError, match=f"cannot read {checkpoint_path(tmp_path, 'abc')}: No such file.*run again"):
        load_state(tmp_path, "abc")


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        save_state(tmp_path, STATE)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_asking_for_a_path_imports_no_torch():
    check = "import sys; import tnbench.store.checkpoints, tnbench.store.records; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
