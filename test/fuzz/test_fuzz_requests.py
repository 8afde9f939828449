"""Whatever a goal, a region or a detector asks for ends with a result, or with a code and a sentence."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")
pytest.importorskip("sparse_recon.msg", reason="the interfaces are not built, or the workspace is not sourced")

import rclpy
from fuzz.ingest_world import CONFIG, World, good_transform, stamped
from fuzz.wild_messages import float64, names, wild_stamps
from geometry_msgs.msg import PoseStamped, TransformStamped, Vector3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import two_objects
from sparse_recon.action import CompleteObject
from tf2_msgs.msg import TFMessage

from sparse_recon.errors import ErrorCode, SparseReconError
from sparse_recon.frames.incoming import box_of, stamp_ns_of
from sparse_recon.ros import completions as module
from sparse_recon.ros.completions import Completions
from sparse_recon.ros.events import DetectionsArrived
from sparse_recon.ros.goals import request_of
from sparse_recon.ros.node_config import load_node_config
from sparse_recon.ros.outputs import Outputs
from sparse_recon.ros.worker import Job

SEEDED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
COARSE = {"evidence.grid": 32, "evidence.fine_grid": 48, "fusion.max_points": 2000, "fusion.max_faces": 1000}
ANSWER_S = 120.0
frames = st.sampled_from(["world", "base", "camera_optical", "/world", "nowhere"]) | names
metres = st.sampled_from([0.0, 0.08, 0.1, 0.3]) | float64
places = st.sampled_from([0.0, 0.0, -0.08, 0.08, 0.04, 5.0, -1e6, 1e30, 1.7e308])
edges = st.sampled_from([0.05, 0.1, 0.2, 0.4, 3.0, 1e6, 1.7e308, 1e-3, 1e-9, 5e-324])


@pytest.fixture(scope="module")
def completions():
    """Make a session with frames of two objects, and everything that a node has around it but the node."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("requests", context=context, enable_rosout=False)
    config = load_node_config(COARSE, CONFIG)
    made = Completions(config, Outputs(node), now_s=lambda: 0.0, why_no_frames=lambda: "none were sent")
    with World(config) as world:
        base = stamped(TransformStamped(child_frame_id="base"), 0, "world")
        world.say_all([("tf_static", TFMessage(transforms=[base])), ("tf", good_transform(1))])
        for frame in two_objects(views=3, with_labels=True).frames:
            assert made.session.add_frame(frame).accepted
        made.ingest = world.ingest
        yield made
        assert made.worker.stop(ANSWER_S)
        assert not world.mistakes
    node.destroy_node()
    rclpy.shutdown(context=context)


def outcome(completions: Completions, run) -> SparseReconError | None:
    """Let the worker do something; a mistake in the software is none of the answers."""
    ended, errors = threading.Event(), []

    def done(result, error):
        errors.append(error)
        ended.set()

    completions.worker.submit(Job("fuzz", run, done))
    assert ended.wait(ANSWER_S)
    assert errors[0] is None or (errors[0].code is not ErrorCode.INTERNAL and errors[0].message)
    return errors[0]


@st.composite
def posed(draw):
    """Draw a PoseStamped; half of them are somewhere."""
    target = PoseStamped()
    p, q = target.pose.position, target.pose.orientation
    if draw(st.booleans()):
        target.header.frame_id = "world"
        p.x, p.y, p.z = draw(places), draw(places), draw(places)
        q.z, q.w = draw(st.sampled_from([(0.0, 1.0), (1.0, 0.0), (0.6, 0.8)]))
        return target
    target.header.frame_id = draw(frames)
    if draw(st.booleans()):
        target.header.stamp.sec, target.header.stamp.nanosec = draw(wild_stamps)
    for axis in draw(st.sets(st.sampled_from("xyz"))):
        setattr(p, axis, draw(metres))
    for axis in draw(st.sets(st.sampled_from("xyzw"), max_size=2)):
        setattr(q, axis, draw(float64))
    return target


@st.composite
def sizes(draw):
    """Draw a Vector3; half of them are positive."""
    number = edges if draw(st.booleans()) else metres
    return Vector3(x=draw(number), y=draw(number), z=draw(number))


@st.composite
def goals(draw):
    """Draw a goal of any fields."""
    goal = CompleteObject.Goal(select_by=draw(st.sampled_from([0, 1, 2, 2, 2, 3, 4, 255])))
    goal.object_id = draw(st.sampled_from(["object_0", "box_0", ""]) | names)
    goal.box_pose, goal.box_size_m = draw(posed()), draw(sizes())
    goal.label = draw(st.sampled_from([0, 1, 2, -1, 2**31 - 1, -(2**31)]))
    goal.model = draw(st.sampled_from(["", "", "", "carve", "../../etc/passwd", "\0"]))
    goal.seed = draw(st.sampled_from([-1, -1, 0, 7, 2**63 - 1, -(2**63)]))
    goal.max_views = draw(st.sampled_from([0, 1, 2**32 - 1]))
    goal.deadline_s = draw(
        st.sampled_from([0.0, 0.0, 0.0, 1e-300, 0.02, 30.0, 1.7e308, -1.0, float("nan"), float("inf")])
    )
    return goal


@settings(SEEDED, max_examples=80)
@given(goals())
def test_any_goal_ends_with_an_object_or_a_sentence(completions, goal):
    def run(job):
        request = request_of(goal, lambda box, frame, stamp_ns: completions.in_world(job, box, frame, stamp_ns))
        return completions.complete(job, request, lambda progress: None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TRANSFORM_WAIT_S", 0.0)
        outcome(completions, run)


@settings(SEEDED, max_examples=120)
@given(posed(), sizes(), st.booleans())
def test_any_region_is_set_or_refused_with_a_sentence(completions, pose, size, look):
    def run(job):
        completions.set_region(job, pose.header.frame_id, stamp_ns_of(pose), box_of(pose.pose, size))
        return completions.objects(job) if look else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TRANSFORM_WAIT_S", 0.0)
        outcome(completions, run)
    completions.session.set_region(None)


@settings(SEEDED, max_examples=60)
@given(st.data())
def test_any_boxes_of_a_detector_are_used_or_left_out(completions, data):
    detections = []
    for _ in range(data.draw(st.integers(0, 4))):
        box = SimpleNamespace(center=data.draw(posed()).pose, size=data.draw(sizes()))
        detections.append(SimpleNamespace(bbox=box))
    header = data.draw(posed()).header
    completions.post(DetectionsArrived("camera", SimpleNamespace(header=header, detections=detections)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TRANSFORM_WAIT_S", 0.0)
        outcome(completions, completions.objects)
    completions.session.suggest(None)
