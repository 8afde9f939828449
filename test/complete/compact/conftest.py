"""What the network is shown of the ball of `small_compact`."""

from __future__ import annotations

import pytest
from small_compact import task

from sparse_recon.complete.compact.volumes import evidence_volumes


@pytest.fixture(scope="module")
def evidence_input():
    return evidence_volumes(task().evidence, task().bounds, task().prior)
