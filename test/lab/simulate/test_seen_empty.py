"""Space that images show to be empty, judged from the images alone."""

from dataclasses import replace

import numpy as np
from scenes import recording

from sparse_recon.lab.simulate.truth import seen_empty


def test_space_before_a_surface_is_seen_empty_and_space_behind_it_is_not():
    frame = recording("ball", 1).frames[0]
    camera = frame.T_world_cam[:3, 3]
    centre = np.array([0.0, 0.0, 0.04])
    towards = (camera - centre) / np.linalg.norm(camera - centre)
    points = np.array([centre + towards * d for d in (0.0, 0.03, 0.06, 0.2)] + [camera + 0.1 * towards], np.float32)
    assert seen_empty(points, [frame], 0.005).tolist() == [False, False, True, True, False]


def test_pixels_without_depth_show_nothing():
    frame = recording("ball", 1).frames[0]
    camera = frame.T_world_cam[:3, 3]
    halfway = (0.5 * (camera + np.array([0.0, 0.0, 0.04]))).astype(np.float32)[None]
    blind = replace(frame, depth_m=np.full_like(frame.depth_m, np.nan))
    assert seen_empty(halfway, [frame], 0.005).all() and not seen_empty(halfway, [blind], 0.005).any()
