"""The robot's own links, as boxes: what of a depth image shows them is neither an object nor empty space."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from sparse_recon.config.input_config import RobotConfig
from sparse_recon.errors import ConfigError, clipped, quoted
from sparse_recon.geometry.cameras import pixel_rays, window_of_points
from sparse_recon.geometry.poses import inverse, pose, transform_points
from sparse_recon.inputs.files import check_file, expanded, read_bytes
from sparse_recon.inputs.mesh_header import lie_of
from sparse_recon.types import Bool, Float64, Frame

MAX_DESCRIPTION = 5_000_000  # characters
MAX_MESH_BYTES = 100_000_000


@dataclass(frozen=True, eq=False)
class LinkBox:
    """A box around a part of a link: its pose in the link's frame, (4, 4), and its edges (3,), metres."""

    link: str
    T_link_box: Float64
    size_m: Float64


class RobotMask:
    """Takes the links of a robot out of frames.

    Parameters
    ----------
    boxes : of the links.
    padding_m : by which these grow on each side.
    label : value of the robot in label images; 0 for none.

    Attributes
    ----------
    links : frames whose poses are needed.
    problems : sentences about parts of the description that have no box.
    """

    def __init__(
        self, boxes: Sequence[LinkBox], padding_m: float, label: int = 0, problems: Sequence[str] = ()
    ) -> None:
        self._boxes, self._padding_m, self._label = tuple(boxes), padding_m, label
        self.links = tuple(dict.fromkeys(box.link for box in boxes))
        self.problems = tuple(problems)

    @classmethod
    def of(cls, config: RobotConfig) -> RobotMask:
        """Read what the parameters name.

        Raises
        ------
        ConfigError
            If the description is none, or cannot be read.
        """
        boxes: list[LinkBox] = []
        problems: list[str] = []
        if config.description:
            for found in link_boxes(_text(config.description)):
                if isinstance(found, str):
                    problems.append(found)
                elif found.link not in config.left_in:
                    boxes.append(found)
        return cls(boxes, config.padding_m, config.label, problems)

    def __bool__(self) -> bool:
        return bool(self._boxes) or self._label != 0

    def taken_out(self, frame: Frame, T_world_links: Mapping[str, Float64]) -> Frame:
        """Return a frame without the depth and labels of the robot.

        Parameters
        ----------
        T_world_links : (4, 4) poses of the links at the frame's stamp; a link that is missing stays in the frame.
        """
        robot = np.zeros(frame.rgb.shape[:2], bool)
        if self._label and frame.labels is not None:
            robot |= frame.labels == self._label
        if frame.depth_m is not None:
            for box in self._boxes:
                if box.link in T_world_links:
                    T_box_cam = inverse(T_world_links[box.link] @ box.T_link_box) @ frame.T_world_cam
                    _mark(robot, frame, T_box_cam, 0.5 * box.size_m + self._padding_m)
        if not robot.any():
            return frame
        depth_m = None if frame.depth_m is None else np.where(robot, np.float32(np.nan), frame.depth_m)
        labels = None if frame.labels is None else np.where(robot, np.int32(0), frame.labels)
        return replace(frame, depth_m=depth_m, labels=labels)


def _mark(robot: Bool, frame: Frame, T_box_cam: Float64, half_m: Float64) -> None:
    """Add the pixels whose points lie in a box of half edges (3,)."""
    assert frame.depth_m is not None
    corners = np.stack(np.meshgrid(*[(-h, h) for h in half_m]), axis=-1).reshape(-1, 3)
    window = window_of_points(transform_points(inverse(T_box_cam), corners), frame.intrinsics)
    if window is None:
        return
    points_cam = pixel_rays(frame.intrinsics, window) * frame.depth_m[window][..., None]
    with np.errstate(invalid="ignore"):
        robot[window] |= np.all(np.abs(transform_points(T_box_cam, points_cam)) <= half_m, axis=-1)


def link_boxes(urdf: str) -> Iterator[LinkBox | str]:
    """Yield a box for each collision geometry of a URDF, or a sentence where one has none.

    Raises
    ------
    ConfigError
        If the text is no URDF.
    """
    if "<!DOCTYPE" in urdf or "<!ENTITY" in urdf:
        raise ConfigError("robot.description declares entities, which are not read; give plain URDF, as xacro makes it")
    try:
        root = ElementTree.fromstring(urdf)
    except ElementTree.ParseError as error:
        raise ConfigError(f"robot.description is not XML: {error}; give URDF, as xacro makes it") from error
    if root.tag != "robot":
        raise ConfigError(f"robot.description has the root element {quoted(root.tag)}; URDF has 'robot'")
    for link in root.iterfind("link"):
        name = link.get("name", "")
        for collision in link.iterfind("collision"):
            try:
                low, high = _extent(collision)
                origin = collision.find("origin")
                T_link_geometry = np.eye(4) if origin is None else _origin(origin)
                centre = pose(np.eye(3), 0.5 * (low + high))
                yield LinkBox(name, T_link_geometry @ centre, high - low)
            except Exception as error:  # whatever is in one element, or in its mesh
                yield f"link {clipped(name)} of robot.description stays in the images: {clipped(str(error))}"


def _extent(collision: ElementTree.Element) -> tuple[Float64, Float64]:
    """Return the lower and upper corner (3,) of a geometry in its own frame."""
    geometry = collision.find("geometry")
    shape = None if geometry is None else next(iter(geometry), None)
    if shape is None:
        raise ValueError("its collision element has no geometry")
    if shape.tag == "mesh":
        return _mesh_extent(shape)
    if shape.tag == "box":
        size = _numbers(shape.get("size", ""), 3)
    elif shape.tag == "sphere":
        size = np.full(3, 2.0 * float(shape.get("radius", "nan")))
    elif shape.tag in ("cylinder", "capsule"):
        radius, length = float(shape.get("radius", "nan")), float(shape.get("length", "nan"))
        size = np.array([2 * radius, 2 * radius, length + 2 * radius * (shape.tag == "capsule")])
    else:
        raise ValueError(f"a geometry {quoted(shape.tag)} is not read")
    if not (np.isfinite(size).all() and (size > 0).all()):
        raise ValueError(f"its {shape.tag} has the size {size}")
    return -0.5 * size, 0.5 * size


def _mesh_extent(shape: ElementTree.Element) -> tuple[Float64, Float64]:
    import trimesh

    path = _resolved(shape.get("filename", ""))
    if check_file(path, "a mesh") > MAX_MESH_BYTES:
        raise ValueError(f"mesh {path.name} has more than {MAX_MESH_BYTES / 1e6:.0f} MB")
    if lie := lie_of(path):
        raise ValueError(f"mesh {clipped(path.name)}: {lie}")
    bounds = trimesh.load(path, force="mesh").bounds * _numbers(shape.get("scale", "1 1 1"), 3)
    return bounds.min(axis=0), bounds.max(axis=0)


def _resolved(name: str) -> Path:
    """Return the file of a mesh's URI; `package://` is looked for in AMENT_PREFIX_PATH."""
    kind, _, rest = name.rpartition("://")
    if kind == "package":
        package, _, inside = rest.partition("/")
        prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        found = [Path(prefix, "share", package, inside) for prefix in prefixes if prefix]
        paths = [path for path in found if path.is_file()]
        if not paths:
            raise ValueError(f"mesh {name} is in no package of AMENT_PREFIX_PATH")
        return paths[0]
    path = Path(rest)
    if kind not in ("", "file") or not path.is_file():
        raise ValueError(f"mesh {name} is not a file")
    return path


def _origin(origin: ElementTree.Element) -> Float64:
    from scipy.spatial.transform import Rotation

    R = Rotation.from_euler("xyz", _numbers(origin.get("rpy", "0 0 0"), 3)).as_matrix()
    return pose(R, _numbers(origin.get("xyz", "0 0 0"), 3))


def _numbers(text: str, count: int) -> Float64:
    numbers = np.array([float(word) for word in text.split()])
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{quoted(text)} is not {count} numbers")
    return numbers


def _no_description(why: str) -> ConfigError:
    return ConfigError(f"robot.description names no file: {why}")


def _text(description: str) -> str:
    if description.lstrip().startswith("<"):
        text = description
    else:
        path = expanded(description)
        text = read_bytes(path, "a URDF file, or its text", MAX_DESCRIPTION, _no_description).decode("utf-8", "replace")
    if len(text) > MAX_DESCRIPTION:
        raise ConfigError(f"robot.description has {len(text)} characters, accepted are {MAX_DESCRIPTION}")
    return text
