"""Maps of the network become instances: by centre, by connection where a centre was missed, by size."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.lab.training.segmenter.samples import target
from sparse_recon.observe.segmenter.decoding import Instances, decoded, enlarged
from sparse_recon.observe.segmenter.layout import OFFSET_PX


def maps_of(labels: np.ndarray, missed: tuple[int, ...] = ()) -> np.ndarray:
    """Return what a perfect network says of labels; it sees no centre of those in `missed`."""
    said = target(labels)
    centre = said.centre if not missed else target(np.where(np.isin(labels, missed), 0, labels)).centre
    maps = [20.0 * said.thing - 10.0, 20.0 * centre - 10.0, *said.offset]
    return np.stack(maps).astype(np.float32)


def two_touching() -> np.ndarray:
    labels = np.zeros((96, 128), np.int32)
    labels[30:60, 20:50] = 1
    labels[30:60, 50:90] = 2
    return labels


def test_things_that_touch_are_told_apart_exactly():
    labels = two_touching()
    found = decoded(maps_of(labels))
    assert found.labels.max() == 2
    for value in (1, 2):
        (own,) = np.unique(found.labels[labels == value])
        assert np.array_equal(found.labels == own, labels == value)
    assert found.score == pytest.approx([1.0, 1.0], abs=1e-3)


def test_a_thing_whose_centre_was_missed_is_one_of_its_own():
    labels = np.zeros((96, 128), np.int32)
    labels[10:40, 10:40], labels[60:80, 90:120] = 1, 2
    found = decoded(maps_of(labels, missed=(2,)))
    assert found.labels.max() == 2
    assert np.array_equal(found.labels > 0, labels > 0)


def test_specks_are_no_things():
    labels = np.zeros((96, 128), np.int32)
    labels[10:40, 10:40], labels[70:74, 100:104] = 1, 2
    assert decoded(maps_of(labels)).labels.max() == 1


def test_a_fragment_belongs_to_what_it_touches_most():
    labels = two_touching()
    labels[57:60, 50:62] = 3  # cut out of the second thing, 36 pixels
    found = decoded(maps_of(labels))
    assert found.labels.max() == 2
    assert found.labels[58, 55] == found.labels[45, 80] != found.labels[45, 30]


def test_a_small_thing_that_touches_nothing_stays():
    labels = two_touching()
    labels[5:11, 110:116] = 3
    assert decoded(maps_of(labels)).labels.max() == 3


@pytest.mark.parametrize(("doubt", "filled"), [(0.3, True), (0.03, False)])
def test_a_doubtful_hole_is_the_floor_of_a_bowl_and_a_clear_one_is_the_table(doubt, filled):
    labels = np.zeros((96, 128), np.int32)
    labels[20:70, 20:70] = 1
    ring = labels.copy()
    ring[38:52, 38:52] = 0
    maps = maps_of(ring)
    maps[0, 38:52, 38:52] = np.log(doubt / (1 - doubt))
    found = decoded(maps)
    assert np.array_equal(found.labels > 0, (labels if filled else ring) > 0)
    assert (enlarged(found, 192, 256).labels[90, 90] > 0) == filled


def test_nothing_is_found_in_nothing():
    empty = decoded(maps_of(np.zeros((96, 128), np.int32)))
    assert empty.labels.max() == 0 and len(empty.score) == 0


def test_larger_images_keep_outlines_where_the_probability_is_half():
    thing = np.zeros((48, 64), np.float32)
    thing[:, 20:40] = 1.0
    labels = (thing > 0.5).astype(np.int32)
    large = enlarged(Instances(labels, thing, np.ones(1, np.float32)), 96, 128)
    assert large.labels.shape == (96, 128)
    columns = np.nonzero(large.labels.any(axis=0))[0]
    assert columns.min() == pytest.approx(40, abs=1) and columns.max() == pytest.approx(79, abs=1)
    assert set(np.unique(large.labels)) == {0, 1}


def test_offsets_point_to_the_middle_in_their_unit():
    said = target(two_touching())
    assert OFFSET_PX * said.offset[0][45, 20] == pytest.approx(34.5 - 20)
    assert OFFSET_PX * said.offset[1][30, 70] == pytest.approx(44.5 - 30)
