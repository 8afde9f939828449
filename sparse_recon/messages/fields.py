"""Completed objects as plain nested dicts with exactly the fields of this package's ROS messages.

Nothing here knows ROS. `ros.convert` makes rclpy messages of these dicts, `bags` makes records of a bag of them.
Numbers are Python numbers, lists of numbers are flat NumPy arrays of the field's own type. Lists of messages are lists
of dicts; those of points, colours and triangles, of which there are many, are structured arrays with the fields' names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError, clipped
from sparse_recon.machine.share import PACKAGE, share_folder
from sparse_recon.requests import ObjectCandidate, Progress
from sparse_recon.types import CompletedObject, Float32, Float64, OrientedBox, QualityRecord, TriangleMesh, UInt8

Fields = dict[str, Any]

_FLOAT32, _UINT8 = 7, 2  # datatype of sensor_msgs/PointField
_DATATYPES = {np.dtype("<f4"): _FLOAT32, np.dtype("u1"): _UINT8}
_XYZ = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
_NORMAL = [("normal_x", "<f4"), ("normal_y", "<f4"), ("normal_z", "<f4")]
OBSERVED_POINT = np.dtype(_XYZ)
COMPLETED_POINT = np.dtype(
    [*_XYZ, ("rgb", "<f4"), *_NORMAL, ("confidence", "<f4"), ("provenance", "u1"), ("padding", "u1", (3,))]
)
POINT = np.dtype([("x", "<f8"), ("y", "<f8"), ("z", "<f8")])  # geometry_msgs/Point
COLOR = np.dtype([("r", "<f4"), ("g", "<f4"), ("b", "<f4"), ("a", "<f4")])  # std_msgs/ColorRGBA
TRIANGLE = np.dtype([("vertex_indices", "<u4", 3)])  # shape_msgs/MeshTriangle
NO_LABEL = -1
_CHUNK = 8192  # points packed at a time: their records stay in the processor's cache


def definition_files() -> dict[str, Path]:
    """Return the definition file of every interface, by its full name such as `sparse_recon/msg/CompletedObject`."""
    return {
        f"{PACKAGE}/{kind}/{path.stem}": path
        for kind in ("msg", "srv", "action")
        for path in sorted(share_folder(kind).glob(f"*.{kind}"))
    }


def completed_object_fields(obj: CompletedObject, with_geometry: bool = True) -> Fields:
    """Turn a completed object into the fields of `msg/CompletedObject`.

    Without geometry its clouds have no points, its meshes no triangles, and there are neither parts nor hypotheses.
    """
    if not with_geometry:
        obj = _without_geometry(obj)
    header = header_fields(obj.frame_id, obj.stamp_ns)
    cloud = pack_completed_points(obj)
    observed = pack_points(OBSERVED_POINT, {"xyz": obj.observed_points_world})
    return {
        "header": header,
        "object_id": obj.object_id,
        "model": obj.model,
        "seed": int(obj.seed),
        "cloud": cloud_fields(cloud, header),
        "observed_cloud": cloud_fields(observed, header),
        "nominal_mesh": mesh_fields(obj.nominal),
        "conservative_mesh": mesh_fields(obj.conservative),
        "collision_parts": [mesh_fields(part) for part in obj.collision_parts],
        "hypotheses": [{"weight": float(h.weight), "mesh": mesh_fields(h.mesh)} for h in obj.hypotheses],
        "vertex_confidence": np.ascontiguousarray(obj.vertex_confidence, dtype=np.float32),
        **box_fields(obj.box),
        "quality": quality_fields(obj.quality),
    }


def _without_geometry(obj: CompletedObject) -> CompletedObject:
    no_mesh = TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    return replace(
        obj,
        points_world=obj.points_world[:0],
        normals_world=obj.normals_world[:0],
        colors=obj.colors[:0],
        confidence=obj.confidence[:0],
        provenance=obj.provenance[:0],
        observed_points_world=obj.observed_points_world[:0],
        nominal=no_mesh,
        conservative=no_mesh,
        vertex_confidence=obj.vertex_confidence[:0],
        collision_parts=(),
        hypotheses=(),
    )


def completed_object_array_fields(
    objects: Iterable[CompletedObject],
    frame_id: str,
    stamp_ns: int,
    *,
    whole: bool = True,
    removed_ids: Iterable[str] = (),
) -> Fields:
    """Turn completed objects of one frame into the fields of `msg/CompletedObjectArray`.

    Parameters
    ----------
    whole : there are no objects but these; False: they are those that changed.
    removed_ids : objects that are no longer there.

    Raises
    ------
    InputError
        If an object is in another frame.
    """
    objects = tuple(objects)
    for obj in objects:
        if obj.frame_id != frame_id:
            raise InputError(
                ErrorCode.USAGE,
                f"{obj.object_id} is in frame {obj.frame_id!r}, the array in {frame_id!r}: use one array per frame",
            )
    return {
        "header": header_fields(frame_id, stamp_ns),
        "whole": whole,
        "objects": [completed_object_fields(obj) for obj in objects],
        "removed_ids": list(removed_ids),
    }


def completed_cloud_fields(objects: Iterable[CompletedObject], frame_id: str, stamp_ns: int) -> Fields:
    """Return the completed points of all objects as one `sensor_msgs/PointCloud2`."""
    records = [pack_completed_points(obj) for obj in objects]
    return cloud_fields(np.concatenate([np.zeros(0, COMPLETED_POINT), *records]), header_fields(frame_id, stamp_ns))


def observed_cloud_fields(objects: Iterable[CompletedObject], frame_id: str, stamp_ns: int) -> Fields:
    """Return the measured points of all objects as one `sensor_msgs/PointCloud2`."""
    points = np.concatenate([np.zeros((0, 3), np.float32), *(obj.observed_points_world for obj in objects)])
    return cloud_fields(pack_points(OBSERVED_POINT, {"xyz": points}), header_fields(frame_id, stamp_ns))


def vertex_colors(obj: CompletedObject) -> UInt8:
    """Return (V, 3) uint8, the colour of the completed point nearest to each vertex of the nominal mesh."""
    from scipy.spatial import cKDTree

    if not len(obj.points_world):
        return np.full((len(obj.nominal.vertices_world), 3), 128, dtype=np.uint8)
    _, nearest = cKDTree(obj.points_world).query(obj.nominal.vertices_world)
    return obj.colors[nearest]


def quality_fields(quality: QualityRecord) -> Fields:
    """Turn a quality record into the fields of `msg/CompletionQuality`."""
    return {
        "views_used": int(quality.views_used),
        "observed_fraction": float(quality.observed_fraction),
        "free_space_violation_fraction": float(quality.free_space_violation),
        "mean_confidence": float(quality.mean_confidence),
        "radius90_m": float(quality.radius90_m),
        "nominal_watertight": bool(quality.nominal_watertight),
        "conservative_watertight": bool(quality.conservative_watertight),
        "evidence_soft": bool(quality.evidence_soft),
        "stage_names": [str(name) for name in quality.timings_s],
        "stage_durations_s": np.array(list(quality.timings_s.values()), dtype=np.float64),
        "peak_memory_bytes": int(quality.peak_memory_bytes),
        "input_hash": str(quality.input_hash),
        "warnings": [str(warning) for warning in quality.warnings],
    }


def candidate_fields(candidate: ObjectCandidate) -> Fields:
    """Turn an object that was seen into the fields of `msg/ObjectCandidate`."""
    return {
        "object_id": candidate.object_id,
        "label": NO_LABEL if candidate.label is None else int(candidate.label),
        **box_fields(candidate.box),
        "points": int(candidate.points),
        "state": int(candidate.state),
        "score": float(candidate.score),
        "cut_by_image": bool(candidate.cut_by_image),
    }


def feedback_fields(progress: Progress) -> Fields:
    """Turn progress into the feedback fields of `action/CompleteObject`."""
    return {
        "stage": progress.stage,
        "step": int(progress.step),
        "steps": int(progress.steps),
        "fraction": float(progress.fraction),
        "preview_confidence": float(progress.preview_confidence),
    }


def header_fields(frame_id: str, stamp_ns: int) -> Fields:
    """Return the fields of `std_msgs/Header`; the stamp is split into seconds and nanoseconds."""
    sec, nanosec = divmod(int(stamp_ns), 1_000_000_000)
    return {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": frame_id}


def pose_fields(T: Float64) -> Fields:
    """Turn a (4, 4) rigid transform into the fields of `geometry_msgs/Pose`; the quaternion has unit length."""
    from scipy.spatial.transform import Rotation

    quat_xyzw = Rotation.from_matrix(T[:3, :3]).as_quat()
    quat_xyzw = quat_xyzw if quat_xyzw[3] >= 0 else -quat_xyzw
    return {
        "position": _vector_fields(T[:3, 3]),
        "orientation": dict(zip("xyzw", map(float, quat_xyzw), strict=True)),
    }


def box_fields(box: OrientedBox) -> Fields:
    """Return `pose` and `size_m` of an oriented box."""
    return {"pose": pose_fields(box.T_world_box), "size_m": _vector_fields(box.size_m)}


def mesh_fields(mesh: TriangleMesh) -> Fields:
    """Turn a mesh into the fields of `shape_msgs/Mesh`."""
    return {"triangles": records(TRIANGLE, mesh.faces), "vertices": records(POINT, mesh.vertices_world)}


def records(dtype: np.dtype[Any], rows: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """Turn (N, K) numbers into (N,) records of K numbers of one type."""
    base = next(iter(dtype.fields.values()))[0].base if dtype.fields else dtype
    return np.ascontiguousarray(rows, dtype=base).view(dtype).reshape(len(rows))


def pack_completed_points(obj: CompletedObject) -> npt.NDArray[np.void]:
    """Pack the points of a completed object into (N,) records of `COMPLETED_POINT`."""
    return pack_points(
        COMPLETED_POINT,
        {
            "xyz": obj.points_world,
            "rgb": pack_rgb(obj.colors),
            "normal": obj.normals_world,
            "confidence": obj.confidence,
            "provenance": obj.provenance,
        },
    )


def pack_points(dtype: np.dtype[Any], columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.void]:
    """Pack columns into records. `xyz` and `normal` are (N, 3) and fill three fields, others (N,) fill one.

    Raises
    ------
    InputError
        If the columns differ in length or have the wrong shape.
    """
    count = len(columns["xyz"])
    records = np.zeros(count, dtype=dtype)
    words = records.view(np.float32).reshape(count, dtype.itemsize // 4)  # whole rows of a column go in at once
    targets: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
    for name, values in columns.items():
        first = {"xyz": "x", "normal": "normal_x"}.get(name)
        expected = (count, 3) if first else (count,)
        if values.shape != expected:
            raise InputError(ErrorCode.USAGE, f"point column {name} must have shape {expected}, got {values.shape}")
        if first:
            word = _offset(dtype, first) // 4
            targets.append((words[:, word : word + 3], values))
        else:
            targets.append((records[name], values))
    for start in range(0, count, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        for target, values in targets:
            target[chunk] = values[chunk]
    return records


def _offset(dtype: np.dtype[Any], name: str) -> int:
    fields = dtype.fields
    assert fields is not None
    return int(fields[name][1])


def pack_rgb(colors: UInt8) -> Float32:
    """Pack (N, 3) uint8 colours into (N,) float32 whose bits are 0x00RRGGBB, as RViz and PCL read field `rgb`."""
    packed = np.zeros((len(colors), 4), dtype=np.uint8)
    packed[:, :3] = colors[:, ::-1]  # little-endian: B G R 0
    return packed.view("<f4")[:, 0]


def unpack_rgb(rgb: Float32) -> UInt8:
    """Undo `pack_rgb`: (N,) float32 to (N, 3) uint8."""
    return np.ascontiguousarray(rgb, dtype="<f4").view(np.uint8).reshape(-1, 4)[:, 2::-1].copy()


def cloud_fields(records: npt.NDArray[np.void], header: Fields) -> Fields:
    """Turn (N,) records into the fields of an unordered, dense `sensor_msgs/PointCloud2`."""
    dtype = records.dtype
    assert dtype.names is not None and dtype.fields is not None
    return {
        "header": header,
        "height": 1,
        "width": len(records),
        "fields": [
            {"name": name, "offset": dtype.fields[name][1], "datatype": _DATATYPES[dtype.fields[name][0]], "count": 1}
            for name in dtype.names
            if name != "padding"
        ],
        "is_bigendian": False,
        "point_step": dtype.itemsize,
        "row_step": dtype.itemsize * len(records),
        "data": records.view(np.uint8).reshape(-1),
        "is_dense": True,
    }


def unpack_cloud(cloud: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Read the columns of a `sensor_msgs/PointCloud2` given as its fields.

    Parameters
    ----------
    cloud : fields as `cloud_fields` makes them; any order, padding and byte order, float32 and uint8 columns.

    Returns
    -------
    Column name to (N,) array in native byte order, N = width * height. Use `unpack_rgb` on column `rgb`.

    Raises
    ------
    InputError
        If a field has another type or the data are shorter than the sizes say.
    """
    width, height, point_step, row_step = (int(cloud[k]) for k in ("width", "height", "point_step", "row_step"))
    data = np.frombuffer(cloud["data"], dtype=np.uint8)
    if row_step < width * point_step or len(data) < height * row_step:
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"cloud of {width}x{height} points of {point_step} bytes has rows of {row_step} bytes and {len(data)} "
            f"bytes in all; it needs rows of {width * point_step} and {height * row_step} in all: it is truncated",
        )
    rows = np.lib.stride_tricks.as_strided(
        data, (height, width, point_step), (row_step, point_step, 1), writeable=False
    )
    points = np.ascontiguousarray(rows).reshape(-1, point_step)
    order = ">" if cloud["is_bigendian"] else "<"
    kinds = {_FLOAT32: np.dtype(f"{order}f4"), _UINT8: np.dtype("u1")}
    columns = {}
    for point_field in cloud["fields"]:
        name, offset, datatype = point_field["name"], int(point_field["offset"]), int(point_field["datatype"])
        if datatype not in kinds or offset + kinds[datatype].itemsize > point_step:
            raise InputError(
                ErrorCode.ENCODING_UNSUPPORTED,
                f"cloud field {clipped(name)} has datatype {datatype} at byte {offset} of {point_step}; "
                "accepted are float32 (7) and uint8 (2) within the point",
            )
        kind = kinds[datatype]
        raw = np.ascontiguousarray(points[:, offset : offset + kind.itemsize])
        columns[name] = raw.view(kind)[:, 0].astype(kind.newbyteorder("="))
    return columns


def _vector_fields(xyz: Float64) -> Fields:
    return dict(zip("xyz", map(float, xyz), strict=True))
