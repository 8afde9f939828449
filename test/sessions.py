"""Sessions that several tests look at, and what they gave."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from functools import lru_cache

import numpy as np
from scenes import recording

from sparse_recon.config.session_config import load_config
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CompletedObject

# Coarse and without weights: what is tested with it is the session. The default model has tests of its own.
CONFIG = load_config({"model": "carve", "evidence.grid": 40, "evidence.fine_voxel_m": 0.0025})


def session_of(frames, config=CONFIG) -> CompletionSession:
    session = CompletionSession(config)
    for frame in frames:
        report = session.add_frame(frame)
        assert report.accepted, report.reason
    return session


@lru_cache(maxsize=16)
def completed(kind: str, views: int) -> CompletedObject:
    return session_of(recording(kind, views).frames).complete(CompletionRequest())


def digest(result: CompletedObject) -> str:
    """Hash of every array that a robot gets."""
    seen = hashlib.sha256()
    for mesh in (result.nominal, result.conservative):
        seen.update(mesh.vertices_world.tobytes() + mesh.faces.tobytes())
    for f in fields(result):
        value = getattr(result, f.name)
        if isinstance(value, np.ndarray):
            seen.update(f.name.encode() + value.tobytes())
    seen.update(result.box.T_world_box.tobytes() + result.box.size_m.tobytes())
    seen.update(f"{result.object_id} {result.stamp_ns} {result.model} {result.seed}".encode())
    quality = result.quality
    seen.update(f"{quality.input_hash} {quality.radius90_m} {quality.observed_fraction} {quality.warnings}".encode())
    return seen.hexdigest()
