"""Organised point clouds as depth images: one point a pixel, in the optical frame of the camera."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparse_recon.errors import ErrorCode, InputError, clipped
from sparse_recon.frames.images import RawImage

_TYPES = {7: "f4", 8: "f8"}  # FLOAT32 and FLOAT64 of sensor_msgs/PointField


def depth_of_cloud(cloud: Any) -> RawImage:
    """Return the depth image, 32FC1 in metres, that the z of a sensor_msgs/PointCloud2 makes; NaN where it is invalid.

    Raises
    ------
    InputError
        ENCODING_UNSUPPORTED if the cloud has no rows of pixels or no z; SIZE_MISMATCH if it lacks bytes.
    """
    fields = {str(field.name): field for field in cloud.fields}
    z = fields.get("z")
    height, width, step, row = (int(v) for v in (cloud.height, cloud.width, cloud.point_step, cloud.row_step))
    if height < 2 or z is None or z.datatype not in _TYPES:
        raise InputError(
            ErrorCode.ENCODING_UNSUPPORTED,
            f"a point cloud of {height} x {width} points with the fields {clipped(', '.join(fields))} is no depth "
            "image; accepted are organised clouds (rows of points for rows of pixels) with z as FLOAT32 or FLOAT64",
        )
    data = memoryview(cloud.data).cast("B")
    dtype = np.dtype(_TYPES[z.datatype]).newbyteorder(">" if cloud.is_bigendian else "<")
    needed = (height - 1) * row + (width - 1) * step + int(z.offset) + dtype.itemsize
    if width < 1 or step < int(z.offset) + dtype.itemsize or row < width * step or len(data) < needed:
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"a point cloud says {width}x{height} points of {step} bytes in rows of {row}, which needs {needed} bytes; "
            f"the message has {len(data)}: it is truncated, or the driver fills in its sizes wrongly",
        )
    depth = np.ndarray((height, width), dtype, data, int(z.offset), (row, step)).astype("<f4")
    return RawImage("32FC1", width, height, 4 * width, False, depth.reshape(-1).view(np.uint8))
