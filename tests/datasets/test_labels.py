"""Labels that are no class of their data set are told before anything is trained on them."""

from pathlib import Path

import pytest

from tnbench.core.case import Case
from tnbench.core.errors import PluginError
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings
from tnbench.stages.prepare import prepare

ODD = '''"""Digits, the last of them labelled ten."""
KIND = "dataset"
VERSION = 1
from dataclasses import replace
from tnbench.datasets.digits import digest, fetch, wanted
from tnbench.datasets.digits import load as load_digits


def load(name, options, root):
    pictures = load_digits("digits", options, root)
    labels = pictures.test_labels.clone()
    labels[-1] = 10
    return replace(pictures, test_labels=labels)
'''


def test_a_label_out_of_range_is_named(tmp_path):
    file = tmp_path / "odd.py"
    file.write_text(ODD)
    case = Case.parse("svd/x4/cnn8/odd/none/single#0")
    job = Job(case, "", Settings(device="cpu"), Limits(), Path("nowhere"), tmp_path, (file,))
    with pytest.raises(PluginError, match=r"got the label 10 among the test pictures' and 10 classes, wanted labels"):
        prepare(job)
