"""Which topics of a recording are the colour, depth, camera info and label streams of which camera."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sparse_recon.bags.channels import FOXGLOVE_READ
from sparse_recon.errors import ErrorCode, FileError, clipped, quoted

IMAGE, COMPRESSED, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
CLOUD = "sensor_msgs/msg/PointCloud2"
TRANSFORMS = "tf2_msgs/msg/TFMessage"

_TRANSPORTS = ("compressed", "compressedDepth")
# Words in a topic name that tell the kind of its images; the first kind that fits a part of the name wins.
_KINDS = {
    "labels": ("label", "labels", "mask", "masks", "segmentation", "segmented", "instance", "instances"),
    "depth": ("depth", "stereo"),
    "other": ("infra", "infra1", "infra2", "ir", "confidence", "disparity", "theora", "ffmpeg", "mono", "fisheye"),
    "color": ("color", "colour", "rgb"),
}
# Whole words between underscores: image_rect_raw, but neither direct nor corrected.
# Parts between the name of a camera and that of an image, as of ZED 5, or of a cloud.
_PROCESSING = {"rect", "raw", "gray", "grey", "points", "cloud", "pointcloud", "point_cloud"}
_INFOS = ("camera_info", "calibration")  # the latter in recordings of Foxglove's schemas
_RECTIFIED = {"rect", "rectified"}


@dataclass(frozen=True)
class CameraTopics:
    """The topics of one camera; empty where it has none."""

    name: str
    color: str
    info: str
    depth: str = ""
    depth_info: str = ""
    labels: str = ""


def guess_cameras(types: Mapping[str, str], counts: Mapping[str, int] | None = None) -> tuple[CameraTopics, ...]:
    """Guess the RGB-D cameras of a recording from the names and types of its topics.

    Parameters
    ----------
    types : message type of each topic.
    counts : messages of each topic, -1 where nobody knows; topics without any are passed over.

    Raises
    ------
    FileError
        TOPIC_UNKNOWN if there is no camera with colour, camera info and depth; TOPIC_AMBIGUOUS if several topics
        could be the same stream. Both list what the recording has.
    """
    everything, counts = types, counts or {}
    types = {topic: kind for topic, kind in everything.items() if counts.get(topic, -1) != 0}
    colors = _by_camera(types, "color")
    depths = _by_camera(types, "depth")
    if len(colors) == len(depths) == 1:  # /rgb/image and /depth/image share no name
        depths = dict(zip(colors, depths.values(), strict=True))
    for key, clouds in _by_camera(types, "cloud").items() if not depths.keys() & colors.keys() else ():
        depths.setdefault(next(iter(colors)) if len(colors) == 1 else key, []).extend(clouds)
    for key in depths.keys() - colors.keys():  # depth of a stereo camera is that of its left eye
        if (*key, "left") in colors:
            colors[key] = colors.pop((*key, "left"))
    labels = _by_camera(types, "labels")
    cameras = []
    for key in colors.keys() & depths.keys():
        color = _best(colors[key], f"colour of camera {_name(key)}", types)
        depth = _best(depths[key], f"depth of camera {_name(key)}", types)
        named = CameraTopics(_name(key), color, "", depth)
        if key in labels:
            named = replace(named, labels=_best(labels[key], f"labels of camera {_name(key)}", types))
        cameras.append(_with_infos(named, types))
    if not cameras:
        raise FileError(
            ErrorCode.TOPIC_UNKNOWN,
            f"no camera with colour, depth and camera info was found; images must be {IMAGE} or "
            f"{COMPRESSED}, depth also an organised {CLOUD} of the size of colour"
            f"{_unpaired(colors, depths)}{_foxglove(everything)}. {describe(everything, counts)}. Name them with "
            "--topics color=... depth=... info=...",
        )
    return tuple(sorted(cameras, key=lambda camera: camera.name))


def named_cameras(
    wanted: Sequence[CameraTopics], types: Mapping[str, str], counts: Mapping[str, int] | None = None
) -> tuple[CameraTopics, ...]:
    """Check topics that a person named; camera infos that were not named are those beside the images.

    Raises
    ------
    FileError
        TOPIC_UNKNOWN if a topic is not in the recording, has another type or no messages, or a camera info is missing.
    """
    counts = counts or {}
    for camera in wanted:
        for role in ("color", "depth", "labels", "info", "depth_info"):
            topic = getattr(camera, role)
            images = (IMAGE, COMPRESSED, CLOUD) if role == "depth" else (IMAGE, COMPRESSED)
            accepted = (INFO,) if role.endswith("info") else images
            if not topic and role != "color":
                continue
            if topic not in types:
                near = difflib.get_close_matches(topic, types, 1, 0.6)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise FileError(
                    ErrorCode.TOPIC_UNKNOWN,
                    f"{role} topic {quoted(topic)} is not in the recording.{hint} {describe(types)}",
                )
            if types[topic] not in accepted:
                raise FileError(
                    ErrorCode.TOPIC_UNKNOWN,
                    f"{role} topic {topic} has type {types[topic]}; accepted are {' and '.join(accepted)}",
                )
            if counts.get(topic, -1) == 0:
                raise FileError(
                    ErrorCode.TOPIC_UNKNOWN,
                    f"{role} topic {topic} was recorded without a message; name one that has some. "
                    f"{describe(types, counts)}",
                )
    return tuple(_with_infos(camera, types) for camera in wanted)


def is_rectified(topic: str) -> bool:
    """Return whether the name says that the images are rectified, as image_proc and most drivers name them."""
    return any(_RECTIFIED & set(token.lower().split("_")) for token in topic.split("/"))


def describe(types: Mapping[str, str], counts: Mapping[str, int] | None = None) -> str:
    """Return one sentence with all topics and their types, and which of them have no messages."""
    if not types:
        return "The recording has no topics"
    empty = {topic for topic, count in (counts or {}).items() if count == 0}
    shown = [f"{topic} ({kind}{', no messages' * (topic in empty)})" for topic, kind in sorted(types.items())]
    rest = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return f"The recording has {', '.join(shown[:20])}{rest}"


def _by_camera(types: Mapping[str, str], role: str) -> dict[tuple[str, ...], list[str]]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for topic, kind in types.items():
        found = "cloud" if kind == CLOUD else _role(topic) if kind in (IMAGE, COMPRESSED) else ""
        if found == role:
            groups.setdefault(_key(topic), []).append(topic)
    return groups


def _tokens(topic: str) -> list[str]:
    tokens = topic.strip("/").split("/")
    return tokens[:-1] if tokens[-1] in _TRANSPORTS else tokens


def _role(topic: str) -> str:
    """Return the kind of images: the last part of the name that says one decides."""
    kinds = [kind for token in _tokens(topic) if (kind := _kind(token))]
    if topic.endswith("/compressedDepth"):  # image_transport offers it beside colour too, where it carries nothing
        return "other" if kinds[-1:] == ["color"] else "depth"
    return kinds[-1] if kinds else "color"


def _kind(token: str) -> str:
    words = token.lower().split("_")
    return next((kind for kind, marks in _KINDS.items() if any(word in marks for word in words)), "")


def _key(topic: str) -> tuple[str, ...]:
    """Return what the names of one camera's streams share: the parts before those that say the kind of image."""
    tokens = _tokens(topic)[:-1]
    while tokens and (_kind(tokens[-1]) or tokens[-1].lower() in _PROCESSING):
        tokens.pop()
    return tuple(tokens)


def _name(key: tuple[str, ...]) -> str:
    return "/".join(key) or "camera"


def _best(topics: Sequence[str], what: str, types: Mapping[str, str]) -> str:
    """Return the topic that is in colour or registered to it, rectified and lossless, in this order of importance."""

    def rank(topic: str) -> tuple[bool, bool, bool, bool, bool]:
        in_color = not any({"gray", "grey"} & set(token.lower().split("_")) for token in topic.split("/"))
        registered = any(mark in topic for mark in ("aligned", "registered", "_to_rgb", "_to_color"))
        as_depth = topic.endswith("/compressedDepth")
        return in_color, registered, is_rectified(topic), types[topic] == IMAGE, as_depth

    best = max(map(rank, topics))
    found = sorted(topic for topic in topics if rank(topic) == best)
    if len(found) > 1 and any(types[topic] != CLOUD for topic in found):  # clouds differ in what z does not need
        raise FileError(
            ErrorCode.TOPIC_AMBIGUOUS,
            f"{what} could be {' or '.join(found)}; name it with --topics color=... depth=... info=...",
        )
    return found[0]


def _unpaired(colors: Mapping[tuple[str, ...], list[str]], depths: Mapping[tuple[str, ...], list[str]]) -> str:
    """Return which colour and depth topics are there whose names tell no common camera, or nothing."""
    if not (colors and depths):
        return ""
    one, other = (" or ".join(sorted(topic for found in x.values() for topic in found)[:4]) for x in (colors, depths))
    return f", and the names do not tell which of {one} belongs to {other}"


def _foxglove(types: Mapping[str, str]) -> str:
    """Return which topics have schemas of Foxglove that are not read, with those that are, or nothing."""
    found = [
        f"{topic} ({kind})" for topic, kind in sorted(types.items()) if kind.startswith(("foxglove.", "foxglove_"))
    ]
    return f"; of Foxglove's schemas {FOXGLOVE_READ}, but not {clipped(', '.join(found[:4]))}" if found else ""


def _with_infos(camera: CameraTopics, types: Mapping[str, str]) -> CameraTopics:
    info = camera.info or _info_beside(camera.color, types)
    if not info:
        raise FileError(
            ErrorCode.TOPIC_UNKNOWN,
            f"no {INFO} lies beside {camera.color} (expected {_sibling(camera.color)}); "
            f"{describe(types)}. Name it with --topics ... info=...",
        )
    depth_info = camera.depth_info or (_info_beside(camera.depth, types) if camera.depth else "")
    return replace(camera, info=info, depth_info="" if depth_info == info else depth_info)


def _info_beside(image: str, types: Mapping[str, str]) -> str:
    beside, below = _tokens(image)[:-1], _tokens(image)
    named = ("/" + "/".join([*parts, name]) for name in _INFOS for parts in (beside, below))
    return next((topic for topic in named if types.get(topic) == INFO), "")


def _sibling(image: str) -> str:
    return "/" + "/".join([*_tokens(image)[:-1], _INFOS[0]])
