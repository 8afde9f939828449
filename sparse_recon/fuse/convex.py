"""A closed mesh into convex parts, for physics and planning (CoACD, Wei et al. 2022).

CoACD works for seconds without a pause and cannot be stopped, so it works in a process of its own, which can.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from io import BytesIO

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import DependencyError, MeshError
from sparse_recon.fuse.mesh import decimated, solid, triangles
from sparse_recon.machine.children import python_child, safe_path
from sparse_recon.types import Float32, Int32

# Convex parts are searched on a mesh that is this much coarser; it takes minutes where there are many faces.
CONVEX_TOLERANCE_M, CONVEX_FACES = 0.0005, 3000
_ASK_EVERY_S = 0.1


def convex_parts(
    vertices: Float32, faces: Int32, concavity: float, seed: int, checkpoint: Callable[[], None] = lambda: None
) -> list[tuple[Float32, Int32]]:
    """Decompose a closed mesh into convex parts; `checkpoint` is called ten times a second and may raise to cancel.

    Raises
    ------
    MeshError
        If the mesh is not closed and manifold, or CoACD fails on it.
    DependencyError
        If CoACD is not installed.
    """
    if PathFinder.find_spec("coacd", safe_path()) is None:
        raise DependencyError("coacd", "convex collision parts", "pip install coacd")
    vertices, faces = triangles(decimated(solid(vertices, faces, "collision"), CONVEX_TOLERANCE_M, CONVEX_FACES))
    command = python_child(f"from {__name__} import work\nwork(*sys.argv[1:])", repr(concavity), str(seed))
    unsent: bytes | None = _packed([vertices, faces])
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the caller, who then ends this process
    ) as process:
        try:
            while True:
                checkpoint()
                try:
                    received, said = process.communicate(unsent, timeout=_ASK_EVERY_S)
                    break
                except subprocess.TimeoutExpired:
                    unsent = None  # `communicate` keeps what it could not send yet
        finally:
            process.kill()
    if process.returncode:
        last = (said.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise MeshError(f"CoACD could not decompose the collision mesh: {last}; set fusion.convex_parts to false")
    arrays = _unpacked(received)
    return [(np.asarray(v, np.float32), np.asarray(f, np.int32)) for v, f in zip(*[iter(arrays)] * 2, strict=True)]


def _packed(arrays: Sequence[npt.NDArray[np.generic]]) -> bytes:
    stream = BytesIO()
    for array in arrays:
        np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def _unpacked(data: bytes) -> list[npt.NDArray[np.generic]]:
    stream, arrays = BytesIO(data), []
    while stream.tell() < len(data):
        arrays.append(np.lib.format.read_array(stream, allow_pickle=False))
    return arrays


def work(concavity: str, seed: str) -> None:
    """Be the child process: decompose the mesh on stdin and write the parts to stdout, vertices and faces in turn."""
    import coacd

    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # CoACD prints
    coacd.set_log_level("error")
    vertices, faces = _unpacked(sys.stdin.buffer.read())
    parts = coacd.run_coacd(
        coacd.Mesh(vertices, faces),
        threshold=float(concavity),
        seed=int(seed),
        preprocess_mode="off",  # the mesh is a proven manifold
        resolution=1000,
        mcts_iterations=60,
    )
    with answer:
        answer.write(_packed([array for part in parts for array in part]))
