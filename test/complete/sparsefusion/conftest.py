from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from sparse_recon.complete.sparsefusion.eft import Context, EpipolarFeatureTransformer  # noqa: E402
from sparse_recon.complete.sparsefusion.eft_rays import CameraTensors  # noqa: E402
from sparse_recon.complete.sparsefusion.sizes import EftSize  # noqa: E402

SIDE = 32


def turned(*angles_rad: float):
    """Rotation about x, y and z in turn."""
    R = torch.eye(3, dtype=torch.float64)
    for k, angle in enumerate(angles_rad):
        c, s = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
        i, j = [m for m in range(3) if m != k]
        step = torch.eye(3, dtype=torch.float64)
        step[i, i], step[i, j], step[j, i], step[j, j] = c, -s, s, c
        R = R @ step
    return R


def cameras_around(count: int) -> CameraTensors:
    """Cameras at 8 units from a point that lies 8 before the origin, each turned to it."""
    R = torch.stack([turned(0.2 * k, 0.5 * k - 0.3, 0.1 * k) for k in range(count)])
    middle, T = torch.tensor([0.0, 0.0, 8.0], dtype=torch.float64), []
    for k in range(count):
        T.append(torch.tensor([0.1 * k, -0.2, 8.0 + 0.3 * k], dtype=torch.float64) - middle @ R[k])
    focal = torch.tensor([[2.2, 2.1]] * count)
    principal = torch.stack([torch.tensor([0.05 * k, -0.1]) for k in range(count)])
    return CameraTensors(R.float(), torch.stack(T).float(), focal, principal)


def pictures_of(count: int):
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def eft() -> EpipolarFeatureTransformer:
    """A small transformer with random weights and uneven statistics."""
    torch.manual_seed(0)
    made = EpipolarFeatureTransformer(EftSize(backbone=(8, 8, 16), width=32, layers=2))
    for name, value in made.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
    made.eval()
    return made.requires_grad_(False)


@pytest.fixture
def context(eft):
    pictures = pictures_of(4)
    return Context(pictures, eft.maps(pictures), cameras_around(4))
