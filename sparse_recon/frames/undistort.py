"""CameraInfo into pinhole cameras: distortion removed once per camera, depth brought into the colour camera."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError, clipped, quoted
from sparse_recon.geometry.cameras import cropped, scaled, unproject_depth
from sparse_recon.geometry.poses import transform_points
from sparse_recon.types import CameraIntrinsics, Float32, Float64

log = logging.getLogger(__name__)

_Pixels = TypeVar("_Pixels", bound=np.generic)

# Of the longer side of the sensor: beyond an angle of view of 179 degrees, or below a minute of arc, is no camera.
_FOCAL_RANGE, _FARTHEST_CENTRE = (5e-3, 5e3), 1e2
_MOST_SKEW = 1e-3  # of the focal length: less is rounding, more would move points by a pixel
# Of both images: what depth pixels may cover when they are carried over to colour pixels.
_MAX_FOOTPRINT_PX = 16
_MODELS = {"plumb_bob": (4, 5, 8, 12, 14), "rational_polynomial": (4, 5, 8, 12, 14), "equidistant": (4,)}


@dataclass(frozen=True, eq=False)
class CameraInfo:
    """The fields of sensor_msgs/CameraInfo that matter.

    Attributes
    ----------
    width, height : of the full sensor image, pixels.
    K : 9 numbers, row major, or (3, 3); of the full, raw image.
    D : distortion coefficients; empty for none.
    distortion_model : plumb_bob, rational_polynomial or equidistant; anything if D is empty or zero.
    P : 12 numbers, row major, or (3, 4); empty if unknown. Describes the rectified image.
    binning : (x, y) pixels that were put into one; 0 and 1 are none.
    roi : (x, y, width, height) in full-resolution pixels; zero size is the full image.
    """

    width: int
    height: int
    K: npt.ArrayLike
    D: npt.ArrayLike = ()
    distortion_model: str = "plumb_bob"
    P: npt.ArrayLike = ()
    binning: tuple[int, int] = (1, 1)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)

    def same_as(self, other: CameraInfo) -> bool:
        """Return whether both describe the same camera, so that maps can be kept."""
        numbers = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("K", "D", "P"))
        rest = ("width", "height", "distortion_model", "binning", "roi")
        return numbers and all(getattr(self, name) == getattr(other, name) for name in rest)


class PinholeCamera:
    """A calibrated camera that turns its raw images into those of `intrinsics`, a pinhole camera of the same size.

    Parameters
    ----------
    info : calibration as the driver publishes it.
    name : of the camera, for messages.
    rectified : the images are rectified already: `P` describes them, and nothing is done to the pixels.

    Raises
    ------
    InputError
        INTRINSICS_INVALID for K of zeros or of no camera or an impossible ROI, DISTORTION_UNSUPPORTED for other models.
    """

    def __init__(self, info: CameraInfo, name: str = "camera", *, rectified: bool = False) -> None:
        self.name = name
        self._D = np.zeros(0) if rectified else _coefficients(info, name)
        self._equidistant = info.distortion_model == "equidistant"
        K = np.asarray(info.P, np.float64).reshape(-1) if rectified else np.zeros(0)
        K = K.reshape(3, 4)[:, :3] if K.size == 12 and K[0] > 0 else np.asarray(info.K, np.float64)
        if K.size != 9:
            raise InputError(ErrorCode.INTRINSICS_INVALID, f"{name}: CameraInfo.k has {K.size} numbers, it must have 9")
        full = CameraIntrinsics(int(info.width), int(info.height), K.reshape(3, 3))
        check_plausible(full, name)
        self.intrinsics = _with_roi_and_binning(full, info, name)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its images, pixels."""
        return self.intrinsics.width, self.intrinsics.height

    @property
    def distorted(self) -> bool:
        """Whether pixels have to be moved."""
        return bool(np.any(self._D))

    @cached_property
    def _maps(self) -> tuple[Any, Any] | None:
        """Return where each pixel of the pinhole image lies in the raw one; None for the identity."""
        if not self.distorted:
            return None
        import cv2

        K, size = self.intrinsics.K, self.size
        if self._equidistant:
            return cv2.fisheye.initUndistortRectifyMap(K, self._D[:4], np.eye(3), K, size, cv2.CV_32FC1)
        return cv2.initUndistortRectifyMap(K, self._D, None, K, size, cv2.CV_32FC1)

    def undistorted(self, image: npt.NDArray[_Pixels], *, smooth: bool) -> npt.NDArray[_Pixels]:
        """Return the pinhole image.

        Parameters
        ----------
        image : (H, W) or (H, W, C) as the camera took it.
        smooth : bilinear, for colour; else the nearest pixel, for depth and labels. Outside is NaN or 0.

        Raises
        ------
        InputError
            SIZE_MISMATCH if the image has not the size that the camera info says.
        """
        height, width = image.shape[:2]
        if (width, height) != self.size:
            raise InputError(
                ErrorCode.SIZE_MISMATCH,
                f"{self.name}: image is {width}x{height} and camera info says {self.intrinsics.width}x"
                f"{self.intrinsics.height}; publish the camera info of this very stream",
            )
        if self._maps is None:
            return image
        import cv2

        outside = np.nan if image.dtype.kind == "f" else 0
        how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
        # OpenCV remaps no int32: float64 holds every label exactly.
        source: npt.NDArray[Any] = image.astype(np.float64) if image.dtype == np.int32 else image
        out = cv2.remap(source, *self._maps, how, borderMode=cv2.BORDER_CONSTANT, borderValue=outside)
        return out.astype(image.dtype, copy=False)


def check_plausible(camera: CameraIntrinsics, name: str, cure: str = "check CameraInfo.k and CameraInfo.p") -> None:
    """Refuse intrinsics that no pinhole camera has.

    Parameters
    ----------
    name : of the camera or file, for messages.
    cure : what to do about it.

    Raises
    ------
    InputError
        INTRINSICS_INVALID for K that is transposed, skewed or no intrinsic matrix, and for focal lengths or a principal
        point that fit no image of this size.
    """
    K = camera.K
    size = f"{camera.width}x{camera.height}"
    if np.any(K[2] != (0.0, 0.0, 1.0)) or K[1, 0] != 0.0 or abs(K[0, 1]) > _MOST_SKEW * K[0, 0]:
        transposed = K[2, 0] > 0 and K[2, 1] > 0 and not K[0, 2] and not K[1, 2]
        raise InputError(
            ErrorCode.INTRINSICS_INVALID,
            f"{name}: K must be [fx 0 cx; 0 fy cy; 0 0 1], got {clipped(str(K.tolist()))}"
            f"{', which is its transpose' if transposed else ''}; {cure}",
        )
    longest = max(camera.width, camera.height)
    low_px, high_px = (factor * longest for factor in _FOCAL_RANGE)
    centred = max(abs(camera.cx), abs(camera.cy)) <= _FARTHEST_CENTRE * longest
    if not (centred and all(low_px <= focal_px <= high_px for focal_px in (camera.fx, camera.fy))):
        raise InputError(
            ErrorCode.INTRINSICS_INVALID,
            f"{name}: fx={camera.fx:g} fy={camera.fy:g} cx={camera.cx:g} cy={camera.cy:g} px are not plausible for an "
            f"image of {size} px; {cure}",
        )


def resampled(image: npt.NDArray[_Pixels], camera: CameraIntrinsics, target: CameraIntrinsics) -> npt.NDArray[_Pixels]:
    """Return (H, W) nearest pixels of `image`, as `target` sees them from the same optical centre and direction.

    Pixels that `camera` does not see are NaN, or 0 in images of integers.
    """
    u = np.rint((np.arange(target.width) - target.cx) / target.fx * camera.fx + camera.cx).astype(np.int64)
    v = np.rint((np.arange(target.height) - target.cy) / target.fy * camera.fy + camera.cy).astype(np.int64)
    out = image[np.clip(v, 0, camera.height - 1)[:, None], np.clip(u, 0, camera.width - 1)[None, :]]
    outside = ((v < 0) | (v >= camera.height))[:, None] | ((u < 0) | (u >= camera.width))[None, :]
    out[outside] = np.nan if image.dtype.kind == "f" else 0
    return out


def registered_depth(
    depth_m: Float32, camera: CameraIntrinsics, target: CameraIntrinsics, T_target_camera: Float64
) -> Float32:
    """Return the depth image that another camera would have taken of the same surface.

    Every depth pixel is carried over as a square of its own footprint; where several fall on one pixel, the nearest
    stays (z-buffer). What only the other camera sees is NaN.

    Parameters
    ----------
    depth_m : (H, W) float32, metres along z of `camera`, NaN invalid.
    camera, target : intrinsics of the depth camera, and of the (colour) camera that it is registered to.
    T_target_camera : (4, 4), maps points of the depth camera into the wanted one.

    Returns
    -------
    (H', W') float32 of the size of `target`, metres along its z.

    Raises
    ------
    InputError
        INTRINSICS_INVALID if the pixels of `camera` are so much larger than those of `target` that they would cover its
        image many times over.
    """
    points = transform_points(T_target_camera, unproject_depth(depth_m, camera))
    points = points[points[:, 2] > 1e-3]
    points = points[np.argsort(-points[:, 2], kind="stable")]  # nearest last: the last one written stays
    z = points[:, 2]
    u = points[:, 0] / z * np.float32(target.fx) + np.float32(target.cx)
    v = points[:, 1] / z * np.float32(target.fy) + np.float32(target.cy)
    across, down = (max(1, math.ceil(a / b - 0.01)) for a, b in ((target.fx, camera.fx), (target.fy, camera.fy)))
    if len(z) * across * down > _MAX_FOOTPRINT_PX * (depth_m.size + target.width * target.height):
        raise InputError(
            ErrorCode.INTRINSICS_INVALID,
            f"a pixel of the depth camera (fx={camera.fx:g}, fy={camera.fy:g}) covers {across}x{down} of the colour "
            f"camera (fx={target.fx:g}, fy={target.fy:g}); check both camera infos",
        )
    du, dv = np.meshgrid(np.arange(across), np.arange(down))
    # Four bytes an index, of which there are as many as footprints have pixels; points far outside stay outside.
    u, v = (
        np.clip(np.rint(x - (n - 1) / 2), -n, size).astype(np.int32)
        for x, n, size in ((u, across, target.width), (v, down, target.height))
    )
    columns, rows = (x[:, None] + d.ravel().astype(np.int32) for x, d in ((u, du), (v, dv)))
    inside = (columns >= 0) & (columns < target.width) & (rows >= 0) & (rows < target.height)
    out = np.full((target.height, target.width), np.nan, dtype=np.float32)
    out[rows[inside], columns[inside]] = np.broadcast_to(z[:, None], inside.shape)[inside]
    return out


def _coefficients(info: CameraInfo, name: str) -> Float64:
    """Return the coefficients as OpenCV takes them, which knows the model of plumb_bob by their number."""
    D = np.asarray(info.D, dtype=np.float64).reshape(-1)
    if not np.any(D):
        return np.zeros(0)
    counts = _MODELS.get(info.distortion_model, ())
    plain = max((n for n in counts if n <= 5), default=len(D))
    if len(D) > plain and not np.any(D[plain:]):
        D = D[:plain]  # drivers fill up with zeros
    if len(D) not in counts or not np.all(np.isfinite(D)):
        accepted = ", ".join(f"{model} ({' or '.join(map(str, n))} numbers)" for model, n in _MODELS.items())
        raise InputError(
            ErrorCode.DISTORTION_UNSUPPORTED,
            f"{name}: distortion model {quoted(info.distortion_model)} has {len(D)} coefficients "
            f"{clipped(str(D.tolist()))}; accepted are {accepted}, all finite, or no coefficients",
        )
    if info.distortion_model == "plumb_bob" and len(D) > 5:
        log.warning("%s: plumb_bob with %d numbers is read as rational_polynomial, as OpenCV does", name, len(D))
    return D


def _with_roi_and_binning(full: CameraIntrinsics, info: CameraInfo, name: str) -> CameraIntrinsics:
    """Return the camera of the image after region of interest and binning, which CameraInfo gives for the sensor."""
    x, y, width, height = (int(v) for v in info.roi)
    camera = full
    if width and height:
        if x < 0 or y < 0 or x + width > full.width or y + height > full.height:
            raise InputError(
                ErrorCode.INTRINSICS_INVALID,
                f"{name}: region of interest {width}x{height} at ({x}, {y}) is not within the "
                f"{full.width}x{full.height} sensor; check CameraInfo.roi",
            )
        camera = cropped(full, x, y, width, height)
    bin_x, bin_y = (max(1, int(v)) for v in info.binning)
    if bin_x == bin_y == 1:
        return camera
    return scaled(camera, max(1, camera.width // bin_x), max(1, camera.height // bin_y))
