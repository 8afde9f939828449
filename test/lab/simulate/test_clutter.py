"""Clutter lies as things do: on the table or on each other, at rest, inside its container."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.lab.simulate.clutter import PaintedRenderer, clutter_cameras, draw_clutter, package, stretched
from sparse_recon.lab.simulate.paint import ground_paint, object_paint

pytest.importorskip("mujoco")


def drawn(seed: int, count: int = 6):
    rng = np.random.default_rng(seed)
    return draw_clutter([package(rng) for _ in range(count)], rng)


@pytest.mark.parametrize("seed", range(4))
def test_things_lie_on_the_table_or_on_each_other(seed):
    clutter = drawn(seed)
    assert len(clutter.scene.objects) >= 4
    lowest = [o.vertices_world[:, 2].min() for o in clutter.scene.objects]
    assert min(lowest) == pytest.approx(0.0, abs=0.004)
    for o, low in zip(clutter.scene.objects, lowest, strict=True):
        others = [p.vertices_world for p in clutter.scene.objects if p is not o]
        under = [v for v in others if v[:, 2].min() < low and np.ptp(v[:, 2]) > 0]
        assert low < 0.006 or any(v[:, 2].max() > low - 0.01 for v in under), o.name


def test_the_same_seed_gives_the_same_clutter():
    a, b = drawn(3), drawn(3)
    for left, right in zip(a.scene.objects, b.scene.objects, strict=True):
        assert np.array_equal(left.T_world_obj, right.T_world_obj)


def test_every_pixel_of_a_thing_has_its_label_and_paint():
    clutter = drawn(1)
    rng = np.random.default_rng(0)
    (camera, T_world_cam), *_ = clutter_cameras(clutter, 3, rng, 160, 120)
    view = PaintedRenderer(clutter).render(camera, T_world_cam, shadows=False)
    assert set(np.unique(view.labels)) <= {0, *(o.label for o in clutter.scene.objects)}
    flat = PaintedRenderer(clutter).render(camera, T_world_cam, lit=False)
    for o, paint in zip(clutter.scene.objects, clutter.paints, strict=True):
        v, u = np.nonzero(view.labels == o.label)
        if len(v):
            i = len(v) // 2
            ray = np.array([(u[i] - camera.cx) / camera.fx, (v[i] - camera.cy) / camera.fy, 1.0])
            point = T_world_cam[:3, :3] @ (ray * view.depth_m[v[i], u[i]]) + T_world_cam[:3, 3]
            local = (point - o.T_world_obj[:3, 3]) @ o.T_world_obj[:3, :3]
            expected = np.clip(paint(local[None]), 0, 1)[0] * 255
            near = flat.rgb[max(v[i] - 1, 0) : v[i] + 2, max(u[i] - 1, 0) : u[i] + 2].reshape(-1, 3)
            assert np.abs(near - expected).max(axis=1).min() < 4, o.name


def test_stretched_things_keep_their_outside_out():
    rng = np.random.default_rng(5)
    for _ in range(6):  # some are mirrored
        shape = stretched(package(rng), rng)
        a, b, c = (shape.vertices_obj[shape.faces[:, i]] for i in range(3))
        assert np.einsum("nd,nd->n", a, np.cross(b, c)).sum() / 6 > 0
        assert 0.02 < shape.size_m.max() < 0.5


def test_paints_give_colours_for_every_point():
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.3, 0.3, (500, 3))
    for _ in range(20):
        for paint in (object_paint(rng, 0.1), ground_paint(rng)):
            colors = paint(points)
            assert colors.shape == (500, 3) and np.isfinite(colors).all()
