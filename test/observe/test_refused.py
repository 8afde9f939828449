"""What was seen and is not listed is told with its place, its size and the reason."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import trimesh
from scenes import around, ball, block, two_objects

from sparse_recon.config.session_config import load_config
from sparse_recon.errors import EvidenceError
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.observe.catalog import ObjectCatalog
from sparse_recon.observe.regions import touches_border
from sparse_recon.requests import CompletionRequest, RejectedCandidate, RejectionReason, told_rejections
from sparse_recon.types import OrientedBox


def catalog_of(region: OrientedBox | None = None, **segment: object) -> ObjectCatalog:
    """Return a catalog that goes by gaps alone, so that what is found depends on no weights."""
    values = {"instances": "clusters", "min_score": 0.0, **segment}
    return ObjectCatalog(load_config({f"segment.{name}": value for name, value in values.items()}), region)


def looked_at(shapes, places, cameras=None):
    scene = scene_of(shapes, [pose(np.eye(3), place) for place in places])
    poses = around(3, distance_m=0.7) if cameras is None else cameras
    return record(
        scene, poses, sensor=exact(SENSORS["clean"]), intrinsics=depth_camera(320, 240), with_labels=False
    ).frames


@lru_cache(maxsize=1)
def in_a_crate():
    """A ball and a block in a crate without lid and front, 44 x 30 cm and 26 cm high."""
    boards = [
        ((0.44, 0.30, 0.004), (0, 0, 0.002)),
        ((0.004, 0.30, 0.26), (-0.22, 0, 0.13)),
        ((0.004, 0.30, 0.26), (0.22, 0, 0.13)),
        ((0.44, 0.004, 0.26), (0, 0.15, 0.13)),
    ]
    crate = trimesh.util.concatenate([trimesh.creation.box(size, pose(np.eye(3), centre)) for size, centre in boards])
    vertices = np.asarray(crate.vertices)
    shape = Shape("crate", vertices, np.asarray(crate.faces, np.int32), np.full((len(vertices), 3), 150, np.uint8))
    cameras = [look_at((x, -0.75, 0.45), (0, 0, 0.1)) for x in (-0.3, 0.0, 0.3)]
    return looked_at([ball(), block(), shape], [(-0.1, -0.02, 0.004), (0.1, -0.02, 0.004), (0, 0, 0)], cameras)


def test_a_crate_is_told_as_too_large_with_what_is_listed_in_it():
    catalog, frames = catalog_of(max_size_m=0.4), in_a_crate()
    assert len(catalog.objects(frames)) == 2
    crate = catalog.rejected[0]
    assert (crate.reason, crate.limit, crate.holds) == (RejectionReason.TOO_LARGE, 0.4, 2)
    np.testing.assert_allclose(crate.box.size_m, (0.44, 0.30, 0.26), atol=0.02)
    np.testing.assert_allclose(crate.box.T_world_box[:3, 3], (0, 0, 0.13), atol=0.02)
    assert crate.figure == pytest.approx(0.44, abs=0.01)
    assert set(crate.frames) == {(f.camera, f.stamp_ns) for f in frames}
    assert "spans 0.44 m, more than segment.max_size_m, 0.4 m; 2 listed object(s) lie in it" in crate.sentence


def test_what_is_listed_whole_is_not_told():
    catalog = catalog_of()
    assert len(catalog.objects(two_objects().frames)) == 2
    assert catalog.rejected == ()


def test_balls_that_touch_are_divided_where_they_are_too_large_together():
    frames = looked_at([ball(), ball()], [(-0.04, 0, 0), (0.04, 0, 0)])
    assert len(catalog_of().objects(frames)) == 1  # gaps alone see one
    catalog = catalog_of(max_size_m=0.12)
    x = sorted(float(f.candidate.box.T_world_box[0, 3]) for f in catalog.objects(frames))
    np.testing.assert_allclose(x, (-0.04, 0.04), atol=0.01)
    assert catalog.rejected == ()


def test_a_long_block_is_not_divided_but_told():
    frames = looked_at([block((0.3, 0.06, 0.08))], [(0, 0, 0)])
    catalog = catalog_of(max_size_m=0.2)
    assert catalog.objects(frames) == []
    (told,) = catalog.rejected
    assert (told.reason, told.holds) == (RejectionReason.TOO_LARGE, 0)
    with pytest.raises(EvidenceError, match=r"spans 0\.30 m, more than segment\.max_size_m, 0\.2 m"):
        catalog.resolve(CompletionRequest(), frames)


def test_what_hangs_is_told_with_its_height():
    catalog = catalog_of()
    assert len(catalog.objects(looked_at([ball(), ball(0.02)], [(0, 0, 0), (0.1, 0, 0.25)]))) == 1
    (told,) = catalog.rejected
    assert told.reason is RejectionReason.HANGS
    assert told.figure == pytest.approx(0.25, abs=0.02)


def test_too_few_pixels_are_told_with_their_number():
    frames = two_objects().frames
    larger, smaller = (f.candidate.points for f in catalog_of().objects(frames))
    catalog = catalog_of(min_points=(larger + smaller) // 2)
    assert len(catalog.objects(frames)) == 1
    (told,) = catalog.rejected
    assert (told.reason, told.figure, told.points) == (RejectionReason.TOO_FEW_PIXELS, smaller, smaller)


def test_what_has_no_sure_score_is_told():
    catalog = catalog_of(min_score=1.0)
    assert catalog.objects(two_objects().frames) == []
    assert {told.reason for told in catalog.rejected} == {RejectionReason.NO_OBJECT}
    assert all(0.0 < told.figure < told.limit == 1.0 for told in catalog.rejected)


def test_labels_are_told_that_have_few_pixels_or_no_depth():
    frame = two_objects(with_labels=True).frames[0]
    labels = np.where(frame.labels == 1, 1, 0).astype(np.int32)
    rows, columns = np.nonzero(frame.labels == 2)
    labels[rows[:4], columns[:4]] = 4
    depth_m = np.where(frame.labels == 2, np.float32(np.nan), frame.depth_m)
    labels[rows[100:400], columns[100:400]] = 5
    depth_m[rows[:4], columns[:4]] = frame.depth_m[rows[:4], columns[:4]]
    catalog = catalog_of()
    assert [f.candidate.label for f in catalog.objects([replace(frame, labels=labels, depth_m=depth_m)])] == [1]
    told = {item.label: item for item in catalog.rejected}
    assert told[4].reason is RejectionReason.TOO_FEW_PIXELS and told[4].figure <= 4
    assert told[5].reason is RejectionReason.UNPLACED and told[5].box is None
    assert told[5].sentence.startswith("label 5 has no depth")


def test_boxes_of_a_detector_are_told_that_are_empty_or_outside_of_the_region():
    here = OrientedBox(pose(np.eye(3), (-0.08, 0, 0.05)), np.full(3, 0.12))
    empty = OrientedBox(pose(np.eye(3), (0, 0, 0.4)), np.full(3, 0.1))
    outside = OrientedBox(pose(np.eye(3), (0.9, 0, 0.05)), np.full(3, 0.1))
    catalog = catalog_of(OrientedBox(np.eye(4), np.full(3, 1.0)))
    catalog.suggest([here, empty, outside])
    assert len(catalog.objects(two_objects().frames)) == 1
    assert [item.reason for item in catalog.rejected] == [RejectionReason.EMPTY, RejectionReason.OUTSIDE]
    assert catalog.rejected[1].figure == pytest.approx(0.4)


def shifted_views():
    """A view whose right border cuts the block, and one that has it whole."""
    return looked_at([block()], [(0, 0, 0)], [look_at((x, -0.6, 0.4), (x, 0, 0.03)) for x in (-0.32, 0.0)])


def test_what_the_border_cuts_in_every_frame_that_shows_it_is_marked():
    cut, whole = shifted_views()
    assert [f.candidate.cut_by_image for f in catalog_of().objects([cut])] == [True]
    assert [f.candidate.cut_by_image for f in catalog_of().objects([whole])] == [False]
    assert [f.candidate.cut_by_image for f in catalog_of().objects([cut, whole])] == [False]


def test_the_border_is_that_of_the_depth():
    _, whole = shifted_views()
    columns = np.arange(whole.depth_m.shape[1])
    narrow = replace(whole, depth_m=np.where(columns < 160, whole.depth_m, np.float32(np.nan)))
    assert [f.candidate.cut_by_image for f in catalog_of().objects([narrow])] == [True]


def test_what_stands_before_a_background_that_is_too_far_is_not_cut():
    frame = two_objects(with_labels=True).frames[0]
    assert frame.labels is not None and frame.depth_m is not None
    block = frame.labels == frame.labels.max()
    rows, columns = np.nonzero(block)
    v, u = np.indices(block.shape)
    table = v > int(rows.mean())  # what is above has no depth but where the block is
    far = replace(frame, depth_m=np.where(table | block, frame.depth_m, np.float32(np.nan)))
    assert not touches_border(block, far)
    band = (u >= columns.min()) & (table | block)  # the left of the image has no depth at all
    assert touches_border(block, replace(frame, depth_m=np.where(band, frame.depth_m, np.float32(np.nan))))


def test_without_a_support_plane_small_things_are_listed():
    frame = two_objects(with_labels=True).frames[0]
    assert frame.labels is not None and frame.depth_m is not None
    held = replace(frame, depth_m=np.where(frame.labels == 1, frame.depth_m, np.float32(np.nan)), labels=None)
    assert 120 < np.sum(held.depth_m > 0) < 4000
    assert len(catalog_of(min_score=0.6, plane_tilt_deg=1.0).objects([held])) == 1


def test_the_largest_are_told_and_the_others_counted():
    sizes = np.linspace(0.1, 0.3, 12)
    many = [
        RejectedCandidate(RejectionReason.HANGS, OrientedBox(np.eye(4), np.full(3, size)), 100, 0.2, 0.03)
        for size in sizes
    ]
    told = told_rejections(many)
    assert len(told) == 11
    assert told[0].startswith("a thing of 0.30 x 0.30 x 0.30 m at (0.00, 0.00, 0.00) m ends 0.20 m from")
    assert told[-1] == "2 smaller ones (2 x hangs)"


@pytest.mark.parametrize("reason", RejectionReason)
def test_every_reason_has_a_sentence(reason):
    item = RejectedCandidate(reason, OrientedBox(np.eye(4), np.ones(3)), 50, 0.25, 0.5)
    assert "{" not in item.sentence and item.sentence.startswith("a thing of 1.00 x 1.00 x 1.00 m at (")
