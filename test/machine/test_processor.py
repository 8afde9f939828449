"""What the processor at hand can do."""

from __future__ import annotations

import pytest
import torch

from sparse_recon.machine.processor import torch_threads


def test_threads_are_as_before_also_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ValueError), torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ValueError
    assert torch.get_num_threads() == before
