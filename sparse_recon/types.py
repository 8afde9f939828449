"""The nouns of the package: frozen records with shapes, units and frames, checked where they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError, clipped

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Positions = npt.NDArray[np.floating]  # float32, or float64 where the origin of their frame may be far
UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]


FARTHEST_CAMERA_M = 1e5  # from the origin of the world: clouds of messages are float32, which resolves 8 mm there
FARTHEST_BOX_M = 1e9  # from the origin of any frame, also of one of the earth


class Provenance(IntEnum):
    """Where a completed point comes from; the numbers are those of `msg/CompletedObject`."""

    OBSERVED = 1
    INFERRED = 2


@dataclass(frozen=True, eq=False)
class CameraIntrinsics:
    """Pinhole camera without distortion.

    Attributes
    ----------
    width, height : image size in pixels.
    K : (3, 3) float64 intrinsics in pixels, pixel centres at integer coordinates (OpenCV, REP 103 optical frame).
    """

    width: int
    height: int
    K: Float64

    def __post_init__(self) -> None:
        K = np.asarray(self.K, dtype=np.float64)
        if K.shape != (3, 3) or not np.all(np.isfinite(K)):
            raise InputError(
                ErrorCode.INTRINSICS_INVALID, f"K must be a finite 3x3 matrix, got shape {K.shape}: check CameraInfo.k"
            )
        if self.width < 1 or self.height < 1:
            raise InputError(
                ErrorCode.INTRINSICS_INVALID,
                f"image size must be positive, got {self.width}x{self.height}: check CameraInfo width and height",
            )
        if K[0, 0] <= 0 or K[1, 1] <= 0:
            raise InputError(
                ErrorCode.INTRINSICS_INVALID,
                f"focal lengths must be > 0 px, got fx={K[0, 0]:g} fy={K[1, 1]:g}: the camera is not calibrated "
                "(K of zeros means so in sensor_msgs/CameraInfo); publish a calibrated CameraInfo",
            )
        object.__setattr__(self, "K", K)

    @property
    def fx(self) -> float:
        return float(self.K[0, 0])

    @property
    def fy(self) -> float:
        return float(self.K[1, 1])

    @property
    def cx(self) -> float:
        return float(self.K[0, 2])

    @property
    def cy(self) -> float:
        return float(self.K[1, 2])


@dataclass(frozen=True, eq=False)
class Superseded:
    """What newer frames contradict in a frame.

    Attributes
    ----------
    gone_m : (H, W) float32, metres along optical z, depth of surface that is no longer there; NaN elsewhere.
    filled_m : (H, W) float32, metres along optical z, where surface stands now in front of what was measured; inf where
        nothing does. None: nowhere.
    """

    gone_m: Float32
    filled_m: Float32 | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image of the world.

    Attributes
    ----------
    rgb : (H, W, 3) uint8, sRGB.
    depth_m : (H, W) float32, metres along optical z, NaN where invalid (REP 117, REP 118); None for a colour camera.
    labels : (H, W) int32, 0 background, > 0 object labels, < 0 not known; None when nobody segmented the image.
    intrinsics : undistorted pinhole camera of all three images.
    T_world_cam : (4, 4) float64, maps points of the optical frame (x right, y down, z forward) into the world frame.
    stamp_ns : source stamp in nanoseconds.
    camera : name of the camera, for messages and diagnostics.
    superseded : what newer frames contradict in it, or was forgotten; depth and labels are without that already.
    """

    rgb: UInt8
    depth_m: Float32 | None
    intrinsics: CameraIntrinsics
    T_world_cam: Float64
    stamp_ns: int
    labels: Int32 | None = None
    camera: str = "camera"
    superseded: Superseded | None = None

    def __post_init__(self) -> None:
        size = (self.intrinsics.height, self.intrinsics.width)
        if self.rgb.dtype != np.uint8 or self.rgb.shape != (*size, 3):
            raise InputError(
                ErrorCode.SIZE_MISMATCH,
                f"{self.camera}: colour must be uint8 {(*size, 3)} as the camera info says, "
                f"got {self.rgb.dtype} {self.rgb.shape}",
            )
        for name, image, dtype in (("depth", self.depth_m, np.float32), ("label image", self.labels, np.int32)):
            if image is not None and image.dtype != dtype:
                raise InputError(
                    ErrorCode.FRAME_INVALID,
                    f"{self.camera}: {name} must be {np.dtype(dtype)}, got {image.dtype}: decode it with "
                    "frames.images, or convert it (depth in metres)",
                )
            if image is not None and image.shape != size:
                raise InputError(
                    ErrorCode.SIZE_MISMATCH,
                    f"{self.camera}: {name} is {image.shape[1]}x{image.shape[0]} and camera info says "
                    f"{size[1]}x{size[0]}: register it to the colour camera first",
                )
        check_pose(self.T_world_cam, f"{self.camera}: T_world_cam")
        distance_m = float(np.abs(self.T_world_cam[:3, 3]).max())
        if distance_m > FARTHEST_CAMERA_M:
            raise InputError(
                ErrorCode.FRAME_INVALID,
                f"{self.camera} stands {distance_m:g} m from the origin of the world frame, accepted are up to "
                f"{FARTHEST_CAMERA_M:g} m (the float32 of point clouds resolves 8 mm there); set world_frame to a "
                "nearer frame such as odom, or take a common offset off the poses of a recording",
            )

    @property
    def nbytes(self) -> int:
        """Bytes held by the images."""
        return sum(image.nbytes for image in (self.rgb, self.depth_m, self.labels) if image is not None)


@dataclass(frozen=True, eq=False)
class OrientedBox:
    """Box in the world frame: `T_world_box` puts its centre and axes, `size_m` (3,) its full edge lengths."""

    T_world_box: Float64
    size_m: Float64

    def __post_init__(self) -> None:
        if not np.all(np.isfinite(self.T_world_box)):
            raise InputError(
                ErrorCode.USAGE, "the pose of a box must be finite numbers, found are NaN or infinite ones"
            )
        check_pose(self.T_world_box, "T_world_box")
        size = np.asarray(self.size_m, dtype=np.float64)
        if size.shape != (3,) or not np.all(np.isfinite(size)) or np.any(size <= 0):
            raise InputError(
                ErrorCode.USAGE, f"box size must be three positive numbers in metres, got {clipped(str(size.tolist()))}"
            )
        farthest_m = float(max(size.max(), np.abs(self.T_world_box[:3, 3]).max()))
        if farthest_m >= FARTHEST_BOX_M:
            raise InputError(
                ErrorCode.USAGE,
                f"box reaches {farthest_m:g} m far, accepted is less than {FARTHEST_BOX_M:g} m: check its numbers",
            )
        object.__setattr__(self, "size_m", size)


@dataclass(frozen=True, eq=False)
class ObjectFrame:
    """The metric, gravity-aligned cube in which one object is completed.

    Attributes
    ----------
    T_world_obj : (4, 4) float64, origin in the cube's centre, +z up (REP 103).
    half_side_m : half edge of the cube.
    support_z_m : height of the support plane in the object frame; None when the object stands on nothing known.
    """

    T_world_obj: Float64
    half_side_m: float
    support_z_m: float | None = None


@dataclass(frozen=True, eq=False)
class ObjectView:
    """One frame, cropped to an object.

    Attributes
    ----------
    frame : the cropped frame (its intrinsics are those of the crop).
    mask : (H, W) bool, pixels of the object.
    occluder : (H, W) bool, pixels of something else that may hide the object: nothing behind them is known.
    sigma_m : (H, W) float32, standard deviation of the depth.
    slow_m : the part of it that is alike over many pixels, which averaging over them leaves; 0 if none is known.
    """

    frame: Frame
    mask: Bool
    occluder: Bool
    sigma_m: Float32
    slow_m: float = 0.0


@dataclass(frozen=True, eq=False)
class ObjectViews:
    """The chosen views of ONE object and the cube they share."""

    object_id: str
    views: tuple[ObjectView, ...]
    object_frame: ObjectFrame


@dataclass(frozen=True, eq=False)
class GeneratedView:
    """A frame nobody took.

    Attributes
    ----------
    frame : colour and depth like a camera's; the world frame of its pose is the observed views' one.
    mask : (H, W) bool, pixels of the object.
    confidence : (H, W) float32 in [0, 1], probability that the depth is within 5 mm.
    model, seed : what imagined it.
    """

    frame: Frame
    mask: Bool
    confidence: Float32
    model: str
    seed: int


@dataclass(frozen=True, eq=False)
class SurfaceField:
    """A signed distance volume over an object's cube, as a completer imagines or fusion blends it.

    Attributes
    ----------
    sdf_m : (N, N, N) float32, metres, negative inside; index order x, y, z; voxel centres at
        `-half_side_m + (i + 0.5) * 2 * half_side_m / N` of the object frame.
    sigma_m : (N, N, N) float32, expected absolute error of the surface near that voxel.
    tail : outer quantiles of the error are those of an exponential whose mean is this much larger; 1.2 for `carve`.
    """

    sdf_m: Float32
    sigma_m: Float32
    tail: float = 1.2


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """Triangles in the world frame: vertices (V, 3) metres, faces (F, 3) int32, counter-clockwise outside.

    Vertices are float32, or float64 where the world's origin is far: see `CompletedObject.origin_world`.
    """

    vertices_world: Positions
    faces: Int32
    watertight: bool = False


@dataclass(frozen=True, eq=False)
class SurfaceHypothesis:
    """One of several closed surfaces that an object may have (mirrors `msg/SurfaceHypothesis`).

    Attributes
    ----------
    mesh : world frame, metres.
    weight : probability beside the others of the object, in (0, 1].
    """

    mesh: TriangleMesh
    weight: float


@dataclass(frozen=True)
class QualityRecord:
    """How a completion came about and how far to trust it (mirrors `msg/CompletionQuality`).

    Attributes
    ----------
    views_used : number of observed frames in the evidence.
    observed_fraction : share of the completed surface that some camera saw.
    free_space_violation : share of surface voxels that stand in space seen to be empty.
    mean_confidence : mean of the per-point confidence.
    radius90_m : 90 % of the inferred surface is expected within this distance of the truth.
    nominal_watertight, conservative_watertight : closed, manifold and consistently wound.
    evidence_soft : observations contradicted each other (bad masks, poses, a moved object); bounds were softened.
    timings_s : seconds by stage.
    peak_memory_bytes : peak resident memory of the process.
    input_hash : sha256 over the chosen frames, the request and the parameters.
    warnings : sentences for people.
    score : probability that this is an object and not a bump, a wall or noise; 1 where a label image or a box names it.
    cut_by_image : the border of the image cuts it in every frame that shows it: what is beyond is inferred at best.
    model_figures : what the model tells of its own work, such as the residual of its views; metres, degrees, shares.
    """

    views_used: int
    observed_fraction: float
    free_space_violation: float
    mean_confidence: float
    radius90_m: float
    nominal_watertight: bool
    conservative_watertight: bool
    evidence_soft: bool
    timings_s: Mapping[str, float]
    peak_memory_bytes: int
    input_hash: str
    warnings: tuple[str, ...] = ()
    score: float = 1.0
    cut_by_image: bool = False
    model_figures: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CompletedObject:
    """The completed object, in the world frame.

    Where cameras stay within a kilometre of the world's origin, positions are float32. Farther off they are float64,
    each the sum of `origin_world` and a float32 number, so that nothing is lost in files which are float32.

    Attributes
    ----------
    object_id : stable name within the session.
    frame_id : name of the world frame.
    stamp_ns : stamp of the newest frame used.
    points_world : (N, 3) float32 or float64, metres.
    normals_world : (N, 3) float32, outward unit normals.
    colors : (N, 3) uint8 sRGB; of inferred points those of measured ones beside them, farther off the median of all
        that was seen; grey where no colour was measured at all.
    confidence : (N,) float32 in [0, 1], calibrated probability that the point is within 5 mm of the true surface.
    provenance : (N,) uint8 of `Provenance`.
    observed_points_world : (M, 3) as `points_world`, the measured points of the object (smoothed, without outliers).
    nominal : best estimate of the surface; conservative : grown by its uncertainty, or by how far hypotheses lie apart,
        for collision checking.
    vertex_confidence : (V,) float32 of the nominal mesh.
    box : oriented box around the nominal mesh.
    collision_parts : convex parts that cover the conservative mesh; empty unless `fusion.convex_parts`.
    origin_world : (3,) float64, whole metres, a point near the object; zeros near the world's origin.
    hypotheses : what the object may look like instead, weights of sum 1; empty unless the model draws them.
    """

    object_id: str
    frame_id: str
    stamp_ns: int
    model: str
    seed: int
    points_world: Positions
    normals_world: Float32
    colors: UInt8
    confidence: Float32
    provenance: UInt8
    observed_points_world: Positions
    nominal: TriangleMesh
    conservative: TriangleMesh
    vertex_confidence: Float32
    box: OrientedBox
    quality: QualityRecord
    collision_parts: tuple[TriangleMesh, ...] = ()
    origin_world: Float64 = field(default_factory=lambda: np.zeros(3))
    hypotheses: tuple[SurfaceHypothesis, ...] = ()


def check_pose(T: Float64, name: str) -> None:
    """Refuse anything but a rigid (4, 4) transform.

    Raises
    ------
    InputError
        If the shape is wrong, values are not finite, or the rotation is not orthonormal to 1e-3.
    """
    T = np.asarray(T)
    if T.shape != (4, 4) or not np.all(np.isfinite(T)):
        raise InputError(ErrorCode.FRAME_INVALID, f"{name} must be a 4x4 matrix of finite numbers, got shape {T.shape}")
    R = T[:3, :3]
    if np.abs(R.T @ R - np.eye(3)).max() > 1e-3 or np.linalg.det(R) < 0 or np.abs(T[3] - (0, 0, 0, 1)).max() > 1e-9:
        raise InputError(
            ErrorCode.FRAME_INVALID,
            f"{name} is not a rigid transform (rotation orthonormal, last row 0 0 0 1): {clipped(str(T.tolist()))}",
        )
