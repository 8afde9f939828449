"""ROS for all tests and the processes that they start."""

from __future__ import annotations

import os
from pathlib import Path

_PROFILE = str(Path(__file__).with_name("fastdds_tests.xml"))
for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):  # up to Fast DDS 2.13, and after it
    os.environ.setdefault(name, _PROFILE)
