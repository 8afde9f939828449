"""Writes frames as data sets and tools have them."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from sparse_recon.geometry.poses import inverse
from sparse_recon.types import Frame

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
FIRST_S = 1305031102.1


def image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def tum(folder: Path, frames: Sequence[Frame], unit_m: float = 1 / 5000, pose_step_s: float = 0.1) -> Path:
    lists: dict[str, list[str]] = {name: ["# made for a test"] for name in ("rgb", "depth", "groundtruth")}
    for k, frame in enumerate(frames):
        stamp_s = FIRST_S + 0.1 * k
        image(folder / f"rgb/{stamp_s:.6f}.png", frame.rgb[..., ::-1])
        image(folder / f"depth/{stamp_s + 0.01:.6f}.png", counts(frame.depth_m, unit_m))
        lists["rgb"].append(f"{stamp_s:.6f} rgb/{stamp_s:.6f}.png")
        lists["depth"].append(f"{stamp_s + 0.01:.6f} depth/{stamp_s + 0.01:.6f}.png")
        quat = Rotation.from_matrix(frame.T_world_cam[:3, :3]).as_quat()
        numbers = " ".join(f"{v:.9f}" for v in (*frame.T_world_cam[:3, 3], *quat))
        lists["groundtruth"].append(f"{FIRST_S + pose_step_s * k:.4f} {numbers}")
    for name, rows in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    np.savetxt(folder / "intrinsics.K.txt", frames[0].intrinsics.K)
    return folder


def nerfstudio(folder: Path, shots: Sequence[Frame], shrunk: int = 1, **more: object) -> Path:
    entries = []
    for k, frame in enumerate(shots):
        image(folder / f"images/f_{k}.png", frame.rgb[..., ::-1])
        image(folder / f"depths/f_{k}.png", counts(frame.depth_m, 1e-3)[::shrunk, ::shrunk])
        T = (frame.T_world_cam @ OPENGL).tolist()
        entries.append(
            {"file_path": f"images/f_{k}.png", "depth_file_path": f"depths/f_{k}.png", "transform_matrix": T}
        )
    camera = shots[0].intrinsics
    record = {"camera_model": "OPENCV", "fl_x": camera.fx, "fl_y": camera.fy}
    record |= {"cx": camera.cx + 0.5, "cy": camera.cy + 0.5}  # from the corner of the first pixel
    record |= {"w": camera.width, "h": camera.height, "frames": entries}
    (folder / "transforms.json").write_text(json.dumps(record | more))
    return folder


def bop(folder: Path, frames: Sequence[Frame], scale: float = 1.0, suffix: str = "png", posed: bool = True) -> Path:
    """Depth is in `scale` mm a count; label k of the frames is object 10 + k."""
    cameras, truth = {}, {}
    for n, frame in enumerate(frames):
        image(folder / f"rgb/{n:06d}.{suffix}", frame.rgb[..., ::-1])
        image(folder / f"depth/{n:06d}.png", counts(frame.depth_m, scale * 1e-3))
        T = inverse(frame.T_world_cam)
        cameras[n] = {"cam_K": frame.intrinsics.K.ravel().tolist(), "depth_scale": scale}
        if posed:
            cameras[n] |= {"cam_R_w2c": T[:3, :3].ravel().tolist(), "cam_t_w2c": (1000.0 * T[:3, 3]).tolist()}
        if frame.labels is not None:
            ids = [k for k in np.unique(frame.labels).tolist() if k > 0]
            truth[n] = [{"obj_id": 10 + k} for k in ids]
            for at, k in enumerate(ids):
                image(folder / f"mask_visib/{n:06d}_{at:06d}.png", 255 * (frame.labels == k).astype(np.uint8))
    (folder / "scene_camera.json").write_text(json.dumps(cameras))
    if truth:
        (folder / "scene_gt.json").write_text(json.dumps(truth))
    return folder


def scannet(folder: Path, frames: Sequence[Frame], step: int = 20, depths: Sequence[Frame] = ()) -> Path:
    """`depths` are what a depth camera of other resolution saw from the same places."""
    depths = depths or frames
    for k, (frame, depth) in enumerate(zip(frames, depths, strict=True)):
        image(folder / f"color/{step * k}.png", frame.rgb[..., ::-1])
        image(folder / f"depth/{step * k}.png", counts(depth.depth_m, 1e-3))
        text(folder / f"pose/{step * k}.txt", frame.T_world_cam)
    for kind, shots in (("color", frames), ("depth", depths)):
        K = np.eye(4)
        K[:3, :3] = shots[0].intrinsics.K
        text(folder / f"intrinsic/intrinsic_{kind}.txt", K)
        text(folder / f"intrinsic/extrinsic_{kind}.txt", np.eye(4))
    return folder


def seven_scenes(folder: Path, frames: Sequence[Frame], K_above: bool = False) -> Path:
    for k, frame in enumerate(frames):
        depth = counts(frame.depth_m, 1e-3)
        image(folder / f"frame-{k:06d}.color.png", frame.rgb[..., ::-1])
        image(folder / f"frame-{k:06d}.depth.png", np.where(depth, depth, np.uint16(65535)))
        text(folder / f"frame-{k:06d}.pose.txt", frame.T_world_cam)
    text((folder.parent if K_above else folder) / "camera-intrinsics.txt", frames[0].intrinsics.K)
    return folder


def colmap(
    folder: Path,
    frames: Sequence[Frame],
    *,
    unit_m: float = 1.0,
    at: str = "sparse/0",
    binary: bool = False,
    depth: str = "depth",
    points: int = 40,
    model: str = "PINHOLE",
    distortion: Sequence[float] = (),
) -> Path:
    """One camera for all; `points` of each image are what its depth says, in the unit of the model, `unit_m`."""
    camera = frames[0].intrinsics
    focal = (camera.fx,) if model.startswith(("SIMPLE", "RADIAL")) else (camera.fx, camera.fy)
    parameters = (*focal, camera.cx + 0.5, camera.cy + 0.5, *distortion)
    images, positions = [], []
    for k, frame in enumerate(frames):
        name = f"view_{k}.png"
        image(folder / "images" / name, frame.rgb[..., ::-1])
        if depth == "stereo":
            path = folder / f"stereo/depth_maps/{name}.geometric.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            z = np.nan_to_num(frame.depth_m / np.float32(unit_m)).astype("<f4")
            path.write_bytes(f"{camera.width}&{camera.height}&1&".encode() + z.tobytes())
        elif depth:
            image(folder / depth / name, counts(frame.depth_m, 1e-3))
        v, u = np.nonzero(frame.depth_m > 0)
        rng = np.random.default_rng(k)
        chosen = rng.permutation(len(u))[:points]
        u, v = u[chosen], v[chosen]
        z = frame.depth_m[v, u].astype(np.float64)
        points_cam = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], 1)
        points_world = points_cam @ frame.T_world_cam[:3, :3].T + frame.T_world_cam[:3, 3]
        ids = 7 + len(positions) + np.arange(len(u))
        positions += (points_world / unit_m).tolist()
        found = [*zip(u + 0.5, v + 0.5, ids, strict=True), (1.0, 1.0, -1)]
        T = inverse(frame.T_world_cam)
        x, y, z_, w = Rotation.from_matrix(T[:3, :3]).as_quat()
        images.append((10 - k, (w, x, y, z_, *(T[:3, 3] / unit_m)), name, found))
    sparse = folder / at
    sparse.mkdir(parents=True, exist_ok=True)
    write = _colmap_binary if binary else _colmap_text
    write(sparse, (model, camera.width, camera.height, parameters), images, positions)
    return folder


def _colmap_text(sparse: Path, camera: tuple, images: list, positions: list) -> None:
    model, width, height, parameters = camera
    numbers = " ".join(map(repr, map(float, parameters)))
    (sparse / "cameras.txt").write_text(f"# one camera\n3 {model} {width} {height} {numbers}\n")
    lines = ["# two lines an image", "#"]
    for number, values, name, found in images:
        lines.append(f"{number} {' '.join(repr(float(v)) for v in values)} 3 {name}")
        lines.append(" ".join(f"{u} {v} {point}" for u, v, point in found) if len(found) > 1 else "")
    (sparse / "images.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{7 + k} {x!r} {y!r} {z!r} 9 9 9 0.5 1 2" for k, (x, y, z) in enumerate(positions)]
    (sparse / "points3D.txt").write_text("\n".join(["# points", *rows]) + "\n")


def _colmap_binary(sparse: Path, camera: tuple, images: list, positions: list) -> None:
    model, width, height, parameters = camera
    number_of = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5}
    head = struct.pack("<QiiQQ", 1, 3, number_of[model], width, height)
    (sparse / "cameras.bin").write_bytes(head + struct.pack(f"<{len(parameters)}d", *parameters))
    data = struct.pack("<Q", len(images))
    for number, values, name, found in images:
        data += struct.pack("<i7di", number, *values, 3) + name.encode() + b"\0" + struct.pack("<Q", len(found))
        data += b"".join(struct.pack("<ddq", u, v, point) for u, v, point in found)
    (sparse / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(positions))
    for k, position in enumerate(positions):
        data += struct.pack("<q3d3BdQ", 7 + k, *position, 9, 9, 9, 0.5, 1) + struct.pack("<ii", 1, 2)
    (sparse / "points3D.bin").write_bytes(data)


def counts(depth_m: np.ndarray, unit_m: float) -> np.ndarray:
    """Return 16-bit counts, 0 where nothing was measured."""
    return np.round(np.nan_to_num(depth_m) / unit_m).astype(np.uint16)


def text(path: Path, matrix: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, matrix)


def assert_same(frames: Sequence[Frame], truth: Sequence[Frame]) -> None:
    assert len(frames) == len(truth)
    for frame, true in zip(frames, truth, strict=True):
        np.testing.assert_array_equal(frame.rgb, true.rgb)
        np.testing.assert_allclose(frame.depth_m, true.depth_m, atol=1e-4)  # half a count of TUM
        np.testing.assert_allclose(frame.T_world_cam, true.T_world_cam, atol=1e-6)
        np.testing.assert_allclose(frame.intrinsics.K, true.intrinsics.K, atol=1e-9)
    assert sorted({frame.stamp_ns for frame in frames}) == [frame.stamp_ns for frame in frames]
