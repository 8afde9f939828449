"""Several devices that train one network: each takes its own samples, all take the mean of their gradients."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparse_recon.errors import DependencyError
from sparse_recon.machine.children import end_with_parent, python_child


class Team:
    """This process and those beside it; one alone where no launcher started it.

    Attributes
    ----------
    rank, count : of this process; rank 0 measures and writes.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        self.device = device
        self._state: Any = None
        if self.count > 1:
            from accelerate import PartialState

            self._state = PartialState(cpu=device == "cpu")
            self.device = str(self._state.device)

    @property
    def is_main_process(self) -> bool:
        """Whether this process measures and writes."""
        return self.rank == 0

    def all_reduce_mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over the team, all in one exchange."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def wait(self) -> None:
        """Wait for the others."""
        if self._state is not None:
            self._state.wait_for_everyone()


def launch(devices: int, arguments: Sequence[str]) -> int:
    """Run `sparse_recon` with these arguments once a device, by PyTorch's launcher; return its exit code.

    Raises
    ------
    DependencyError
        If accelerate is not installed.
    """
    try:
        import accelerate  # noqa: F401
    except ModuleNotFoundError as error:
        raise DependencyError("accelerate", "training on several devices", "pip install accelerate") from error
    threads = str(max(1, (os.cpu_count() or 1) // devices))
    member = python_child("from sparse_recon.cli.main import main\nsys.exit(main())", *arguments)
    launcher = python_child(
        "from torch.distributed.run import main\nmain()",
        *("--standalone", "--nproc_per_node", str(devices), "--no-python", *member),
    )
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    with subprocess.Popen(launcher, env=environment, preexec_fn=end_with_parent) as process:
        try:
            return process.wait()
        finally:
            process.terminate()  # the launcher ends the others with it
