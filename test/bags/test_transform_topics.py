"""Which topics of transforms a recording is read with."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.bags.topics import TRANSFORMS
from sparse_recon.bags.transform_topics import Links, TransformTopics, choose

STILL = np.eye(4)
ELSEWHERE = np.diag([1.0, -1.0, -1.0, 1.0])


def chosen(says: dict[str, list[tuple]], camera: str = "/camera/image", optical: str = "optical") -> TransformTopics:
    """Choose among topics that say (parent, child) or, of static ones, (parent, child, T)."""

    def links(topic: str) -> Links:
        return Links({link[1]: (link[0], link[2] if len(link) > 2 else None) for link in says[topic]})

    return choose(
        dict.fromkeys(says, TRANSFORMS) | {camera: "sensor_msgs/msg/Image"}, [camera], lambda: [optical], links
    )


def test_one_namespace_is_read_whatever_it_is_and_nothing_is_asked():
    def never(*_: object) -> Links:
        raise AssertionError

    for namespace in ("", "/robot", "/a/b"):
        topics = [f"{namespace}/tf", f"{namespace}/tf_static"]
        assert choose(dict.fromkeys(topics, TRANSFORMS), [], never, never).used == tuple(topics)
    assert choose({"/transforms": TRANSFORMS}, [], never, never).used == ("/transforms",)
    assert choose({}, [], never, never).used == ()


def test_driver_and_robot_in_two_namespaces_are_one_tree():
    says = {
        "/tf_static": [("camera_link", "optical", STILL)],
        "/a200/tf": [("odom", "base"), ("base", "arm")],
        "/a200/tf_static": [("arm", "camera_link", STILL)],
    }
    found = chosen(says)
    assert found.used == ("/a200/tf", "/a200/tf_static", "/tf_static") and not found.left_out


def test_trees_meet_in_any_order():
    says = {"/tf_static": [("link", "optical", STILL)], "/a/tf": [("map", "base")], "/b/tf": [("base", "link")]}
    assert chosen(says).used == ("/a/tf", "/b/tf", "/tf_static")


@pytest.mark.parametrize(("camera", "own"), [("/r1/camera/image", "/r1"), ("/r2/camera/image", "/r2")])
def test_of_two_robots_alike_the_one_whose_namespace_the_camera_is_in_is_read(camera: str, own: str):
    robot = [("odom", "base"), ("base", "optical")]
    found = chosen({"/r1/tf": robot, "/r2/tf": robot, "/tf": [("map", "odom")]}, camera)
    assert found.used == (f"{own}/tf", "/tf")
    ((topic, why),) = found.left_out.items()
    assert topic != f"{own}/tf" and "base, optical" in why


def test_tree_without_the_camera_is_left_out_and_says_so():
    found = chosen({"/tf": [("odom", "base"), ("base", "optical")], "/other/tf": [("map", "cart")]})
    assert found.used == ("/tf",)
    assert found.left_out == {"/other/tf": "they name no frame of the tree of /tf"}


def test_the_global_topics_do_not_win_where_they_do_not_know_the_camera():
    found = chosen({"/tf": [("map", "cart")], "/robot/tf": [("odom", "optical")]})
    assert found.used == ("/robot/tf",) and list(found.left_out) == ["/tf"]


@pytest.mark.parametrize(("T", "read"), [(STILL, True), (ELSEWHERE, False)])
def test_static_link_in_two_namespaces_is_no_contradiction_where_both_say_the_same(T: np.ndarray, read: bool):
    says = {
        "/tf_static": [("link", "optical", STILL)],
        "/robot/tf_static": [("link", "optical", T)],
        "/robot/tf": [("odom", "link")],
    }
    assert ("/robot/tf" in chosen(says).used) == read


def test_copy_of_tf_under_another_name_is_left_out():
    tree = [("odom", "base"), ("base", "optical")]
    found = chosen({"/tf": tree, "/tf_throttled": tree})
    assert found.used == ("/tf",) and "/tf_throttled" in found.left_out
