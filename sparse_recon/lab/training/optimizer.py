"""Muon for matrices and kernels, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.98)
# Coefficients of the quintic Newton-Schulz iteration.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5


class MuonAdamW(torch.optim.Optimizer):
    """Steps along orthogonalised momentum (Muon; Jordan et al. 2024), scaled as AdamW's steps are (Moonlight; 2025).

    Matrices inside the network, and kernels flattened to (out, in * k^3), take Muon's steps; inputs, outputs, vectors
    and embeddings take AdamW's. Both share one learning rate. `dtype` is that of the orthogonalisation, for which bf16
    suffices. Without `muon` all take AdamW's.
    """

    def __init__(
        self,
        net: nn.Module,
        learning_rate: float,
        weight_decay: float,
        dtype: torch.dtype = torch.float32,
        muon: bool = True,
    ) -> None:
        self._dtype = dtype
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in net.named_parameters():
            inner = parameter.ndim >= 2 and not name.startswith(("stem", "out", "embedding", "positional_embedding"))
            (matrices if inner else others).append(parameter)
        groups = [
            {"params": matrices, "muon": muon, "weight_decay": weight_decay},
            {"params": others, "muon": False, "weight_decay": 0.0},
        ]
        super().__init__(groups, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step from the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                move = self._muon if group["muon"] else self._adam
                move(parameter, parameter.grad, self.state[parameter], group["lr"])

    def _muon(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], rate: float) -> None:
        momentum = state.setdefault("momentum", torch.zeros_like(parameter))
        momentum.lerp_(gradient, 1 - MOMENTUM)
        direction = gradient.lerp(momentum, MOMENTUM)
        matrix = orthogonalised(direction.flatten(1), self._dtype)
        # As large as AdamW's steps are by experience: 0.2 per entry (root mean square).
        parameter.add_(matrix.view_as(direction), alpha=-rate * 0.2 * max(matrix.shape) ** 0.5)

    def _adam(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], rate: float) -> None:
        count = state.setdefault("count", torch.zeros(()))
        mean = state.setdefault("mean", torch.zeros_like(parameter))
        square = state.setdefault("square", torch.zeros_like(parameter))
        first, second = ADAM_BETAS
        count += 1
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        n = float(count)
        scale = ((1 - second**n) ** 0.5) / (1 - first**n)
        parameter.addcdiv_(mean, square.sqrt().add_(1e-8), value=-rate * scale)


def orthogonalised(matrix: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return about the nearest matrix of orthonormal rows or columns, by Newton-Schulz iteration in `dtype`."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.float().T if tall else matrix.float()
    x = (x / (x.norm() + 1e-7)).to(dtype)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = _A * x + (_B * square + _C * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)
