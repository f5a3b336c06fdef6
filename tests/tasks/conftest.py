import pytest


@pytest.fixture
def arch(detectors):
    return detectors.max()
