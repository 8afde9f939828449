"""ROS for all tests and the processes that they start, and what tests of several rooms share."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from completed import completed_box as make_completed_box

from sparse_recon.types import CompletedObject

_PROFILE = str(Path(__file__).with_name("fastdds_tests.xml"))
for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):  # up to Fast DDS 2.13, and after it
    os.environ.setdefault(name, _PROFILE)

with suppress(ImportError):  # how long an example takes says something of the machine
    from hypothesis import HealthCheck, settings

    settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any machine")


@pytest.fixture(scope="session")
def completed_box() -> CompletedObject:
    """A box of 8 x 6 x 10 cm, half of it observed."""
    return make_completed_box()
