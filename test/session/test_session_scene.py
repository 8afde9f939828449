"""What a session looks for: in a region, in suggested boxes, with other parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes import recording, two_objects
from sessions import CONFIG, digest, session_of

from sparse_recon.complete.compact.shipped import WEIGHTS_FILE
from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ErrorCode, EvidenceError, ModelError
from sparse_recon.geometry.poses import pose
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import OrientedBox


def box(x: float, size_m=(0.12, 0.12, 0.14), z: float = 0.05) -> OrientedBox:
    """Return a box around the ball at x = -0.08 or the block at x = +0.08."""
    return OrientedBox(pose(np.eye(3), (x, 0, z)), np.array(size_m, float))


BALL, BLOCK = box(-0.08), box(0.08)
NOWHERE = box(0.0, z=1.0)


def places(session: CompletionSession) -> dict[str, float]:
    return {o.object_id: round(float(o.box.T_world_box[0, 3]), 2) for o in session.objects()}


def table_of(with_labels: bool = False) -> CompletionSession:
    return session_of(two_objects(with_labels=with_labels).frames)


# Region


@pytest.mark.parametrize("with_labels", [False, True])
def test_objects_are_looked_for_only_in_the_region(with_labels):
    session = table_of(with_labels)
    assert sorted(places(session).values()) == [-0.08, 0.08]
    session.set_region(box(-0.08, (0.14, 0.4, 0.6)))
    assert list(places(session).values()) == [-0.08]
    result = session.complete(CompletionRequest())
    assert abs(result.box.T_world_box[0, 3] + 0.08) < 0.01 and result.points_world[:, 0].max() < 0
    session.set_region(None)
    assert session.region is None and len(places(session)) == 2


def test_support_plane_is_found_from_all_points():
    session = table_of()
    session.set_region(OrientedBox(pose(np.eye(3), (-0.08, 0, 0.105)), np.array([0.14, 0.4, 0.15])))
    result = session.complete(CompletionRequest())  # the region begins 3 cm above the table
    assert abs(result.nominal.vertices_world[:, 2].min()) < 0.004


@pytest.mark.parametrize("with_labels", [False, True])
def test_points_outside_the_region_belong_to_no_object(with_labels):
    session = table_of(with_labels)
    whole = next(o for o in session.objects() if o.box.T_world_box[0, 3] > 0)
    session.set_region(box(0.155, (0.14, 0.4, 0.6)))  # from x = 0.085 on: half of the block
    (half,) = session.objects()
    assert half.points < 0.75 * whole.points
    assert half.box.size_m[0] < 0.65 * whole.box.size_m[0]
    assert abs(half.box.size_m[1] - whole.box.size_m[1]) < 0.015


def test_region_outlasts_a_reset():
    session = table_of()
    session.set_region(BALL)
    assert session.reset() == 4 and session.region is BALL
    for frame in two_objects().frames:
        session.add_frame(frame)
    assert list(places(session).values()) == [-0.08]


def test_boxes_that_are_named_are_not_limited_by_the_region():
    session = table_of()
    session.set_region(BALL)
    result = session.complete(CompletionRequest(box=BLOCK))
    assert result.object_id == "box_0" and abs(result.box.T_world_box[0, 3] - 0.08) < 0.01
    assert session.complete(CompletionRequest(object_id="box_0")).object_id == "box_0"


def test_names_outlast_a_change_of_the_region():
    session = table_of()
    before = places(session)
    session.set_region(BLOCK)
    assert places(session).items() < before.items()


@pytest.mark.parametrize("with_labels", [False, True])
def test_refusals_mention_the_region(with_labels):
    session = table_of(with_labels)
    session.set_region(NOWHERE)
    assert session.objects() == ()
    requests = [CompletionRequest(), CompletionRequest(object_id="object_0")]
    for request in [*requests, *([CompletionRequest(label=1)] if with_labels else [])]:
        with pytest.raises(EvidenceError, match="region"):
            session.complete(request)


# Suggestions


def test_suggested_boxes_are_the_objects_until_they_are_taken_back():
    session = table_of()
    session.suggest([BLOCK, BALL])
    assert places(session) == {"detection_0": 0.08, "detection_1": -0.08}
    result = session.complete(CompletionRequest(object_id="detection_1"))
    assert result.object_id == "detection_1" and abs(result.box.T_world_box[0, 3] + 0.08) < 0.01
    session.suggest(None)
    assert set(places(session)) == {"object_0", "object_1"}


def test_no_suggested_box_means_that_nothing_is_there():
    session = table_of()
    session.suggest([])
    assert places(session) == {}


def test_suggested_boxes_and_those_of_requests_never_share_a_name():
    session = table_of()
    session.suggest([BALL])
    assert session.complete(CompletionRequest(box=BALL)).object_id == "box_0"
    assert places(session) == {"detection_0": -0.08}


def test_suggested_box_without_points_is_left_out():
    session = table_of()
    session.suggest([NOWHERE, BALL])
    assert places(session) == {"detection_1": -0.08}
    assert session.complete(CompletionRequest()).object_id == "detection_1"


def test_suggested_boxes_keep_their_names_while_they_move_a_little():
    session = table_of()
    session.suggest([BALL, BLOCK])
    session.suggest([box(0.09), box(-0.07)])
    assert places(session) == {"detection_1": 0.09, "detection_0": -0.07}
    session.suggest([box(-0.08)])
    assert places(session) == {"detection_0": -0.08}


def test_suggestions_outside_the_region_are_left_out():
    session = table_of()
    session.set_region(BALL)
    session.suggest([BALL, BLOCK])
    assert places(session) == {"detection_0": -0.08}


def test_label_can_be_named_while_boxes_are_suggested():
    session = table_of(with_labels=True)
    session.suggest([BLOCK])
    assert session.complete(CompletionRequest(label=1)).box.T_world_box[0, 3] < 0


def test_suggestions_and_names_are_forgotten_at_a_reset():
    session = table_of()
    session.suggest([BLOCK])
    session.reset()
    for frame in two_objects().frames:
        session.add_frame(frame)
    assert set(places(session)) == {"object_0", "object_1"}
    session.suggest([BALL])
    assert places(session) == {"detection_0": -0.08}


# Parameters


def test_new_parameters_count_from_the_next_search_on_and_the_rest_stays():
    session = table_of()
    before = places(session)
    session.configure(load_config({"segment.max_size_m": 0.09, "world_frame": "map"}, CONFIG))
    (small,) = session.objects()  # the block is larger
    assert places(session).items() < before.items()
    assert session.complete(CompletionRequest(object_id=small.object_id)).frame_id == "map"
    session.configure(CONFIG)
    assert places(session) == before and len(session.frames) == 4
    assert session.config is CONFIG


def test_configured_session_gives_what_a_new_one_gives():
    frames = recording("ball", 2).frames
    config = load_config({"seed": 5, "fusion.point_spacing_m": 0.004}, CONFIG)
    session = session_of(frames)
    session.complete(CompletionRequest())
    session.configure(config)
    expected = session_of(frames, config).complete(CompletionRequest())
    assert digest(session.complete(CompletionRequest())) == digest(expected)


def test_loaded_models_stay_when_parameters_change():
    session = table_of()
    session.load()
    loaded = dict(session._completers)
    session.configure(load_config({"seed": 3}, CONFIG))
    session.load()
    assert session._completers == loaded


def test_other_weights_are_loaded_and_other_steps_are_not(tmp_path):
    """A copy of the weights that ship is taken, then one that is damaged: only what was loaded anew can tell."""
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    good.write_bytes((Path(__file__).parents[2] / "models" / WEIGHTS_FILE).read_bytes())
    bad.write_bytes(b"no weights")
    session = CompletionSession(load_config({"model": "compact"}))
    session.load()
    loaded = session._completers["compact"]
    session.configure(load_config({"model": "compact", "compact.steps": 3}))
    session.load()
    assert session._completers["compact"] is loaded
    session.configure(load_config({"model": "compact", "compact.weights": str(good)}))
    session.load()
    assert session._completers["compact"] is not loaded
    session.configure(load_config({"model": "compact", "compact.weights": str(bad)}))
    with pytest.raises(ModelError) as caught:
        session.load()
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID


@pytest.mark.parametrize(("name", "value"), [("precision", "fp32"), ("device", "cpu")])
def test_another_precision_or_device_loads_the_model_anew(name, value):
    session = CompletionSession(load_config({"model": "compact"}))
    session.load()
    loaded = session._completers["compact"]
    session.configure(load_config({"model": "compact", f"compact.{name}": value}))
    session.load()
    assert session._completers["compact"] is not loaded
