"""Votes of views on each other's points, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from analytic import EYES, OBJECT_FRAME, ball_view, with_depth

from sparse_recon.evidence import without_outliers
from sparse_recon.types import ObjectViews

STRAY = (slice(35, 40), slice(44, 49))  # pixels amid the ball, as large as the window of a vote


def with_stray(view):
    """Return the view with a patch that hangs 6 cm before the ball."""
    depth_m = view.frame.depth_m.copy()
    depth_m[STRAY] -= 0.06
    return with_depth(view, depth_m)


def elsewhere():
    """Return a view that looks at the table beside the ball and has no say on it."""
    return ball_view(EYES[1], 3.0 * EYES[1] * (1, 1, 0))


@pytest.mark.parametrize(
    ("confirm", "look_through", "dropped"),
    [(0, 1, False), (0, 2, True), (1, 1, False), (1, 2, True), (2, 2, False), (2, 3, True)],
)
def test_a_point_goes_when_two_views_and_as_many_as_confirm_it_look_through_it(confirm, look_through, dropped):
    sharing = [with_stray(ball_view(EYES[0])) for _ in range(1 + confirm)]
    against = [ball_view(eye) for eye in EYES[1 : 1 + look_through]]
    views = ObjectViews("ball", (*sharing, *against, elsewhere(), elsewhere()), OBJECT_FRAME)
    cleaned, share = without_outliers(views)
    kept = cleaned.views[0]
    assert np.all(kept.mask[STRAY] != dropped) and np.all(np.isnan(kept.frame.depth_m[STRAY]) == dropped)
    masked = sum(int(view.mask.sum()) for view in views.views)
    assert share == pytest.approx(25 * (1 + confirm) * dropped / masked)
    assert all(a is b for a, b in zip(cleaned.views[1 + confirm :], views.views[1 + confirm :], strict=True))
