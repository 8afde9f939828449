"""Guessing of topics with the names that real drivers use."""

from __future__ import annotations

import pytest

from sparse_recon.bags.topics import (
    CLOUD,
    COMPRESSED,
    IMAGE,
    INFO,
    TRANSFORMS,
    CameraTopics,
    guess_cameras,
    is_rectified,
    named_cameras,
)
from sparse_recon.errors import ErrorCode, FileError

REALSENSE = {
    "/camera/camera/color/image_raw": IMAGE,
    "/camera/camera/color/image_raw/compressed": COMPRESSED,
    "/camera/camera/color/camera_info": INFO,
    "/camera/camera/depth/image_rect_raw": IMAGE,
    "/camera/camera/depth/camera_info": INFO,
    "/camera/camera/aligned_depth_to_color/image_raw": IMAGE,
    "/camera/camera/aligned_depth_to_color/image_raw/compressedDepth": COMPRESSED,
    "/camera/camera/aligned_depth_to_color/camera_info": INFO,
    "/camera/camera/infra1/image_rect_raw": IMAGE,
    "/camera/camera/infra1/camera_info": INFO,
    "/tf": TRANSFORMS,
    "/joint_states": "sensor_msgs/msg/JointState",
}
ORBBEC = {
    "/camera/color/image_raw": IMAGE,
    "/camera/color/camera_info": INFO,
    "/camera/depth/image_raw": IMAGE,
    "/camera/depth/camera_info": INFO,
    "/camera/ir/image_raw": IMAGE,
}
OPENNI = {
    "/camera/rgb/image_raw": IMAGE,
    "/camera/rgb/image_rect_color": IMAGE,
    "/camera/rgb/image_mono": IMAGE,
    "/camera/rgb/camera_info": INFO,
    "/camera/depth_registered/image_raw": IMAGE,
    "/camera/depth_registered/camera_info": INFO,
}
AZURE = {
    "/rgb/image_raw": IMAGE,
    "/rgb/camera_info": INFO,
    "/depth_to_rgb/image_raw": IMAGE,
    "/depth_to_rgb/camera_info": INFO,
    "/depth/image_raw": IMAGE,
    "/depth/camera_info": INFO,
    "/ir/image_raw": IMAGE,
}
ZED = {
    "/zed/zed_node/rgb/image_rect_color": IMAGE,
    "/zed/zed_node/rgb/camera_info": INFO,
    "/zed/zed_node/left/image_rect_color": IMAGE,
    "/zed/zed_node/left/camera_info": INFO,
    "/zed/zed_node/depth/depth_registered": IMAGE,
    "/zed/zed_node/depth/camera_info": INFO,
    "/zed/zed_node/confidence/confidence_map": IMAGE,
}
OAK = {
    "/oak/rgb/image_raw": IMAGE,
    "/oak/rgb/camera_info": INFO,
    "/oak/stereo/image_raw": IMAGE,
    "/oak/stereo/camera_info": INFO,
}
GAZEBO = {
    "/depth_camera/color/image_raw": IMAGE,
    "/depth_camera/color/camera_info": INFO,
    "/depth_camera/depth/image_raw": IMAGE,
    "/depth_camera/depth/camera_info": INFO,
}
COMPRESSED_ONLY = {
    "/camera/color/image_raw/compressed": COMPRESSED,
    "/camera/color/camera_info": INFO,
    "/camera/aligned_depth_to_color/image_raw/compressedDepth": COMPRESSED,
    "/camera/labels/image_raw": IMAGE,
}
ZED_5 = {
    **{
        f"/zed/zed_node/{side}/{shade}/{how}/{what}": kind
        for side in ("rgb", "left", "right")
        for shade in ("color", "gray")
        for how in ("rect", "raw")
        for what, kind in (("image", IMAGE), ("image/compressed", COMPRESSED), ("camera_info", INFO))
    },
    "/zed/zed_node/depth/depth_registered": IMAGE,
    "/zed/zed_node/depth/depth_registered/camera_info": INFO,
    "/zed/zed_node/depth/camera_info": INFO,
    "/zed/zed_node/confidence/confidence_map": IMAGE,
}
ZED_5_LEFT = {topic: kind for topic, kind in ZED_5.items() if "/rgb/" not in topic}
ALL_TRANSPORTS = {
    f"/camera/{stream}/image_raw{transport}": kind
    for stream in ("color", "aligned_depth_to_color")
    for transport, kind in (("/compressed", COMPRESSED), ("/compressedDepth", COMPRESSED))
} | {"/camera/color/camera_info": INFO}


@pytest.mark.parametrize(
    ("types", "color", "depth"),
    [
        (REALSENSE, "/camera/camera/color/image_raw", "/camera/camera/aligned_depth_to_color/image_raw"),
        (ORBBEC, "/camera/color/image_raw", "/camera/depth/image_raw"),
        (OPENNI, "/camera/rgb/image_rect_color", "/camera/depth_registered/image_raw"),
        (AZURE, "/rgb/image_raw", "/depth_to_rgb/image_raw"),
        (ZED, "/zed/zed_node/rgb/image_rect_color", "/zed/zed_node/depth/depth_registered"),
        (ZED_5, "/zed/zed_node/rgb/color/rect/image", "/zed/zed_node/depth/depth_registered"),
        (ZED_5_LEFT, "/zed/zed_node/left/color/rect/image", "/zed/zed_node/depth/depth_registered"),
        (
            ALL_TRANSPORTS,
            "/camera/color/image_raw/compressed",
            "/camera/aligned_depth_to_color/image_raw/compressedDepth",
        ),
        (OAK, "/oak/rgb/image_raw", "/oak/stereo/image_raw"),
        (GAZEBO, "/depth_camera/color/image_raw", "/depth_camera/depth/image_raw"),
        (
            COMPRESSED_ONLY,
            "/camera/color/image_raw/compressed",
            "/camera/aligned_depth_to_color/image_raw/compressedDepth",
        ),
    ],
    ids=[
        "realsense",
        "orbbec",
        "openni",
        "azure",
        "zed",
        "zed 5",
        "zed 5 left",
        "all transports",
        "oak",
        "gazebo",
        "compressed",
    ],
)
def test_drivers(types: dict[str, str], color: str, depth: str):
    (camera,) = guess_cameras(types)
    assert (camera.color, camera.depth) == (color, depth)
    assert types[camera.info] == INFO


def test_topics_without_messages_are_passed_over():
    types = ORBBEC | ALL_TRANSPORTS
    counts = {topic: 0 if kind == IMAGE else 5 for topic, kind in types.items()}
    (camera,) = guess_cameras(types, counts)
    assert camera.color == "/camera/color/image_raw/compressed" and camera.name == "camera"


def test_topics_of_which_nobody_knows_the_messages_are_used():
    (camera,) = guess_cameras(ORBBEC, dict.fromkeys(ORBBEC, -1))
    assert camera.depth == "/camera/depth/image_raw"


def test_empty_topics_are_told():
    counts = dict.fromkeys(ORBBEC, 7) | {"/camera/depth/image_raw": 0}
    with pytest.raises(FileError, match=r"/camera/depth/image_raw \(sensor_msgs/msg/Image, no messages\)"):
        guess_cameras(ORBBEC, counts)
    named = [CameraTopics("a", "/camera/color/image_raw", "", "/camera/depth/image_raw")]
    with pytest.raises(FileError, match="depth topic /camera/depth/image_raw was recorded without a message"):
        named_cameras(named, ORBBEC, counts)


ZIVID = {
    "/zivid/color/image_color": IMAGE,
    "/zivid/color/camera_info": INFO,
    "/zivid/points/xyz": CLOUD,
    "/zivid/points/xyzrgba": CLOUD,
}


def test_a_cloud_is_depth_where_there_is_no_depth_image():
    (camera,) = guess_cameras(ZIVID)
    assert (camera.name, camera.color, camera.depth) == ("zivid", "/zivid/color/image_color", "/zivid/points/xyz")
    both = {f"/{arm}{topic}": kind for arm in ("left", "right") for topic, kind in ZIVID.items()}
    assert [camera.depth for camera in guess_cameras(both)] == ["/left/zivid/points/xyz", "/right/zivid/points/xyz"]
    (camera,) = guess_cameras(ORBBEC | {"/camera/depth/points": CLOUD})
    assert camera.depth == "/camera/depth/image_raw"


def test_colour_and_depth_that_cannot_be_paired_are_told():
    types = ORBBEC | {"/arm/rgb/image_raw": IMAGE, "/base/depth/image_raw": IMAGE}
    types = {topic: kind for topic, kind in types.items() if topic != "/camera/depth/image_raw"}
    with pytest.raises(FileError, match=r"which of /arm/rgb/image_raw or .* belongs to /base/depth/image_raw"):
        guess_cameras(types)


def test_two_cameras():
    types = {f"/{side}{topic}": kind for side in ("left", "right") for topic, kind in ORBBEC.items()}
    assert [camera.name for camera in guess_cameras(types)] == ["left/camera", "right/camera"]


def test_labels_belong_to_their_camera():
    assert guess_cameras(COMPRESSED_ONLY)[0].labels == "/camera/labels/image_raw"


def test_two_equal_colour_topics_are_ambiguous():
    types = ORBBEC | {"/camera/color/image_color": IMAGE}
    with pytest.raises(FileError, match=r"image_color or .*image_raw.*--topics") as caught:
        guess_cameras(types)
    assert caught.value.code is ErrorCode.TOPIC_AMBIGUOUS


@pytest.mark.parametrize("types", [{}, {"/point_cloud": "sensor_msgs/msg/PointCloud2"}, {"/rgb/image_raw": IMAGE}])
def test_no_camera_lists_what_there_is(types: dict[str, str]):
    with pytest.raises(FileError) as caught:
        guess_cameras(types)
    assert caught.value.code is ErrorCode.TOPIC_UNKNOWN
    assert all(topic in caught.value.message for topic in types)


def test_named_topics_find_their_camera_info():
    (camera,) = named_cameras([CameraTopics("a", "/rgb/image_raw", "", "/depth/image_raw")], AZURE)
    assert (camera.info, camera.depth_info) == ("/rgb/camera_info", "/depth/camera_info")


@pytest.mark.parametrize(
    "topic", ["/cam/image_rect", "/cam/image_rect_raw", "/cam/rectified/image", "/c/rgb_rectified"]
)
def test_rectified_images_are_known_by_a_word(topic: str):
    assert is_rectified(topic)


@pytest.mark.parametrize(
    "topic", ["/direct_cam/image_raw", "/corrected/image", "/rectangle/image", "/cam/image_unrect"]
)
def test_other_words_with_these_letters_do_not_count(topic: str):
    assert not is_rectified(topic)


@pytest.mark.parametrize(
    ("camera", "word"),
    [
        (CameraTopics("a", "/rgb/image_rav", ""), "Did you mean /rgb/image_raw"),
        (CameraTopics("a", "/rgb/camera_info", ""), "has type"),
        (CameraTopics("a", "/rgb/image_raw", "/rgb/image_raw"), "accepted are sensor_msgs/msg/CameraInfo"),
    ],
)
def test_wrong_names_are_explained(camera: CameraTopics, word: str):
    with pytest.raises(FileError, match=word) as caught:
        named_cameras([camera], AZURE)
    assert caught.value.code is ErrorCode.TOPIC_UNKNOWN
