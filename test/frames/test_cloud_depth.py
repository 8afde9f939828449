"""Organised clouds as depth images, whatever else their points carry."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.frames.depth_images import depth_image
from sparse_recon.frames.incoming import image_of

DEPTH_M = np.random.default_rng(1).uniform(0.3, 2.5, (4, 6)).astype(np.float32)
DEPTH_M[2, 3] = np.nan


def cloud(kind: str = "<f4", padding: int = 0, **changes: object) -> SimpleNamespace:
    """Return a message whose points hold a colour before z, and whose rows are padded."""
    points = np.zeros(DEPTH_M.shape, np.dtype({"names": ["x", "rgb", "z"], "formats": [kind, "<u4", kind]}, align=True))
    points["z"], points["x"], points["rgb"] = DEPTH_M, 9.0, 7
    rows = np.pad(points.view(np.uint8).reshape(4, -1), ((0, 0), (0, padding)), constant_values=0xAB)
    datatype, offset = {"f4": 7, "f8": 8}[kind[1:]], points.dtype.fields["z"][1]
    fields = [
        SimpleNamespace(name="x", offset=0, datatype=datatype),
        SimpleNamespace(name="z", offset=offset, datatype=datatype),
    ]
    values = {
        "height": 4,
        "width": 6,
        "fields": fields,
        "point_step": points.dtype.itemsize,
        "row_step": rows.shape[1],
        "is_bigendian": kind[0] == ">",
        "data": rows.reshape(-1),
    }
    return SimpleNamespace(**values | changes)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", ">f8"])
def test_depth_is_the_z_of_the_points(kind: str, padding: int):
    np.testing.assert_array_equal(depth_image(image_of(cloud(kind, padding)), 0.1, 10.0), DEPTH_M)


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"height": 1, "width": 24}, ErrorCode.ENCODING_UNSUPPORTED, "1 x 24 points"),
        ({"fields": []}, ErrorCode.ENCODING_UNSUPPORTED, "organised"),
        ({"height": 5}, ErrorCode.SIZE_MISMATCH, "truncated"),
        ({"width": 2**32 - 1, "row_step": 2**32 - 1}, ErrorCode.SIZE_MISMATCH, "bytes"),
        ({"point_step": 3}, ErrorCode.SIZE_MISMATCH, "bytes"),
        ({"row_step": 0}, ErrorCode.SIZE_MISMATCH, "bytes"),
        ({"data": np.zeros(0, np.uint8)}, ErrorCode.SIZE_MISMATCH, "truncated"),
    ],
)
def test_a_cloud_that_is_no_image_is_refused(changes: dict[str, object], code: ErrorCode, word: str):
    with pytest.raises(InputError, match=word) as caught:
        image_of(cloud(**changes))
    assert caught.value.code is code
