"""Completed objects in the rerun viewer: clouds by colour, provenance and confidence, and the mesh."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.errors import DependencyError
from sparse_recon.geometry.near import put_near
from sparse_recon.types import CompletedObject, Provenance
from sparse_recon.viz.sheet import INFERRED, OBSERVED, confidence_colors


def viewer_available() -> bool:
    """Return whether rerun is installed and a window can be opened here."""
    from importlib.util import find_spec

    display = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return display and find_spec("rerun") is not None


def show(objects: Sequence[CompletedObject], save_to: Path | None = None) -> None:
    """Open the rerun viewer on the objects, or write a recording that it opens on another machine.

    Parameters
    ----------
    objects : results, each under its own name; mesh and clouds can be switched on and off one by one. The viewer
        knows only float32: far from the world's origin all are shown from `origin_world` of the first.
    save_to : .rrd file; None opens the viewer.

    Raises
    ------
    DependencyError
        If rerun cannot be imported.
    """
    try:
        import rerun
    except ImportError as error:
        raise DependencyError("rerun", "the interactive view", "pip install rerun-sdk") from error
    rerun.init("sparse_recon", spawn=save_to is None)
    if save_to is not None:
        rerun.save(str(save_to))
    rerun.log("/", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    origin = objects[0].origin_world if objects else np.zeros(3)
    for completed in objects:
        _log_object(rerun, put_near(completed, origin))
    rerun.disconnect()  # flushes


def _log_object(rerun: Any, completed: CompletedObject) -> None:
    root, radius_m = completed.object_id, 0.0008
    observed = completed.provenance[:, None] == Provenance.OBSERVED
    layers = {
        "cloud": completed.colors,
        "provenance": np.where(observed, OBSERVED, INFERRED).astype(np.uint8),
        "confidence": confidence_colors(completed.confidence),
    }
    for name, colors in layers.items():
        points = rerun.Points3D(completed.points_world, colors=colors, radii=radius_m)
        rerun.log(f"{root}/{name}", points, static=True)
    mesh = rerun.Mesh3D(
        vertex_positions=completed.nominal.vertices_world,
        triangle_indices=completed.nominal.faces,
        vertex_colors=confidence_colors(completed.vertex_confidence),
    )
    rerun.log(f"{root}/mesh", mesh, static=True)
    q = completed.quality
    text = (
        f"{root}: model {completed.model}, {q.views_used} views, {100 * q.observed_fraction:.0f} % observed, "
        f"90 % of the rest within {1000 * q.radius90_m:.1f} mm"
    )
    rerun.log(f"{root}/quality", rerun.TextDocument(text), static=True)
