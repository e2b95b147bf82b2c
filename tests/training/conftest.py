"""One baseline for all cases of a module."""

import pytest
from training_cases import Digits


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """Small cases on handwritten digits, with a trained dense network."""
    return Digits(tmp_path_factory.mktemp("digits"))
