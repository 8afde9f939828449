"""Pictures for view models: where things are in them, which objects they show, and that runs repeat and go on."""

from __future__ import annotations

import numpy as np
import pytest
from cubes import CUBE, CUBE_FACES

pytest.importorskip("open3d")

from sparse_recon.complete.latent.cameras import SphericalCamera, model_intrinsics
from sparse_recon.errors import ConfigError, ErrorCode, FileError
from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.lab.evaluate.objects import SCORED, UNSCORED
from sparse_recon.lab.training.generate import HELD_OUT
from sparse_recon.lab.training.pack import packed_shapes
from sparse_recon.lab.training.views.bodies import Body, painted_body, to_unit, varied
from sparse_recon.lab.training.views.cameras import POLICIES
from sparse_recon.lab.training.views.catalogue import entries, is_variant_of_scored, refuse_scored
from sparse_recon.lab.training.views.config import ViewDataConfig
from sparse_recon.lab.training.views.generate import generate_views, taken
from sparse_recon.lab.training.views.materials import parts_of
from sparse_recon.lab.training.views.raycast import pictures
from sparse_recon.lab.training.views.shards import list_views, read_views, view_shards, write_views
from sparse_recon.lab.training.views.sheet import write_sheet

SIDE = 32
SMALL = ViewDataConfig(side=SIDE, household=3, shapes=("cc0",), objects_per_shard=2, held_out_every=3, cameras="ring16")


def marked_cube(at: tuple[float, float, float]) -> Body:
    """Return a dark cube on which everything near one place is red."""

    def colors(face, uv, points):
        near = np.linalg.norm(points - at, axis=1) < 0.15
        return np.where(near[:, None], (1.0, 0.0, 0.0), (0.1, 0.1, 0.1))

    return Body("cube", to_unit(CUBE.astype(float)), CUBE_FACES.astype(np.int32), colors)


@pytest.mark.parametrize("place", [(0.5, 0.2, 0.3), (0.5, -0.3, -0.2)])
def test_a_mark_is_seen_where_its_camera_projects_it(place):
    camera = SphericalCamera(1.2, 0.3, 1.9)
    seen = pictures(marked_cube(place), [camera], 64, np.random.default_rng(0))

    red = (seen.rgb[0, ..., 0].astype(int) - seen.rgb[0, ..., 1]) > 60
    middle = np.argwhere(red).mean(axis=0)[::-1]
    in_camera = transform_points(inverse(camera.T_obj_cam()), np.array([place]))
    expected = project_points(in_camera, model_intrinsics(64))[0]
    assert np.abs(middle - expected).max() < 1.0
    u, v = np.round(expected).astype(int)
    assert seen.depth[0, v, u] == pytest.approx(in_camera[0, 2], abs=0.03)


def test_beside_the_object_is_white_and_nowhere_and_outlines_are_soft():
    seen = pictures(marked_cube((0.5, 0, 0)), [SphericalCamera(1.0, 0.4, 2.0)], SIDE, np.random.default_rng(0))

    assert (seen.rgb[0][seen.mask[0] == 0] == 255).all() and np.isinf(seen.depth[0][seen.mask[0] == 0]).all()
    assert np.isfinite(seen.depth[0][seen.mask[0] == 255]).all()
    assert ((seen.mask[0] > 0) & (seen.mask[0] < 255)).any()


def test_the_policy_of_syncdreamer_is_sixteen_azimuths_at_thirty_degrees_and_as_many_inputs():
    cameras = POLICIES["ring16"].draw(np.random.default_rng(1))

    assert [round(np.rad2deg(c.elevation_rad), 3) for c in cameras[:16]] == [30.0] * 16
    assert np.allclose([c.azimuth_rad for c in cameras[:16]], np.arange(16) * np.pi / 8)
    assert np.allclose([c.azimuth_rad for c in cameras[16:]], np.arange(16) * np.pi / 8)
    elevations = np.rad2deg([c.elevation_rad for c in cameras[16:]])
    assert elevations.min() >= -10 and elevations.max() <= 40 and np.ptp(elevations) > 20
    assert {c.radius for c in cameras} == {1.5}


def test_the_policy_of_zero123_covers_the_sphere():
    cameras = [c for seed in range(40) for c in POLICIES["sphere"].draw(np.random.default_rng(seed))]

    centres = np.array([c.centre() / c.radius for c in cameras])
    assert np.abs(centres.mean(axis=0)).max() < 0.1 and np.allclose(centres.var(axis=0), 1 / 3, atol=0.06)
    assert min(c.radius for c in cameras) >= 1.5 and max(c.radius for c in cameras) <= 2.2


def test_a_cube_has_the_parts_that_its_creases_make():
    parts = parts_of(to_unit(CUBE.astype(float)), CUBE_FACES.astype(np.int32))

    # The first face is the largest part; the five others, of the same area, share a number.
    assert sorted(np.bincount(parts).tolist()) == [2, 10]


def test_a_variation_keeps_its_colours_on_the_surface():
    body = marked_cube((0.5, 0.0, 0.0))
    for seed in range(6):
        other = varied(body, np.random.default_rng(seed), 0.1)
        assert np.ptp(other.vertices, axis=0).max() == pytest.approx(1.0)
        face = np.arange(12, dtype=np.int32)
        uv = np.tile(np.float32((0.2, 0.3)), (12, 1))

        def colors_at(b, face=face, uv=uv):
            c = b.vertices[b.faces]
            return b.colors(face, uv, c[:, 0] * 0.5 + c[:, 1] * 0.2 + c[:, 2] * 0.3)

        corner = body.vertices[body.faces]
        on_it = corner[:, 0] * 0.5 + corner[:, 1] * 0.2 + corner[:, 2] * 0.3
        mirrored = not np.array_equal(other.faces, body.faces)
        if not mirrored:
            assert np.allclose(colors_at(other), body.colors(face, uv, on_it))
        normals = np.cross(*(other.vertices[other.faces][:, k] - other.vertices[other.faces][:, 0] for k in (1, 2)))
        assert (np.einsum("nc,nc->n", normals, other.vertices[other.faces].mean(axis=1)) > 0).all(), "inside out"


def test_pictures_depend_on_seed_and_name_alone(pack):
    found = entries(SMALL, (), pack)
    first = {e.name: taken(e, SMALL) for e in found}
    again = taken(found[-1], SMALL)
    other = taken(found[-1], ViewDataConfig(**{**SMALL.__dict__, "seed": 2}))

    assert np.array_equal(again.rgb, first[found[-1].name].rgb)
    assert not np.array_equal(other.rgb, again.rgb)


def test_a_stopped_generation_goes_on_and_no_object_is_on_both_sides(pack, tmp_path):
    whole, half = tmp_path / "whole", tmp_path / "half"
    generate_views(whole, SMALL, (), pack)

    class Stopped(Exception):
        pass

    def stop(done, count):
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        generate_views(half, SMALL, (), pack, stop)
    assert len(view_shards(half)) < len(view_shards(whole))
    generate_views(half, SMALL, (), pack)

    for a, b in zip(sorted(whole.rglob("*.views")), sorted(half.rglob("*.views")), strict=True):
        assert a.read_bytes() == b.read_bytes()
    learned = {s.name for s in list_views(view_shards(whole))}
    held_out = {s.name for s in list_views(view_shards(whole / HELD_OUT))}
    assert learned and held_out and not learned & held_out
    assert learned | held_out == {e.name for e in entries(SMALL, (), pack)}


def test_shards_give_back_what_was_written(tmp_path):
    body = painted_body("cube", CUBE.astype(float), CUBE_FACES.astype(np.int32), np.random.default_rng(3))
    seen = pictures(body, POLICIES["upper"].draw(np.random.default_rng(3)), SIDE, np.random.default_rng(3))
    path = tmp_path / "a.views"
    write_views(path, [("cube", seen), ("again", seen)])

    back = read_views(list_views([path])[1])
    for name in ("rgb", "mask", "depth", "cameras"):
        assert np.array_equal(getattr(back, name), getattr(seen, name))
    write_sheet(tmp_path / "sheet.png", list_views([path]))
    assert (tmp_path / "sheet.png").stat().st_size > 1000

    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(FileError, match="damaged"):
        read_views(list_views([path])[1])


def test_what_evaluation_scores_is_refused_and_so_are_its_variants():
    refuse_scored(UNSCORED)
    for name in (
        *SCORED,
        "003_cracker_box",
        "ycb_072-c_toy_airplane",
        "gso_black_tape",
        "ycb/050_small_clamp/textured",
    ):
        with pytest.raises(ConfigError, match="test objects") as caught:
            refuse_scored([name])
        assert caught.value.code is ErrorCode.CONFIG_INVALID
    assert not is_variant_of_scored("gso_c_clamp") and not is_variant_of_scored("ycb/025_mug/google_16k/textured")


def test_a_folder_that_is_no_pack_is_told(tmp_path, pack):
    with pytest.raises(FileError, match=r"manifest\.csv"):
        packed_shapes(tmp_path, ("cc0",))
    with pytest.raises(FileError, match="lists no ccby; it lists cc0"):
        packed_shapes(pack, ("ccby",))
    assert [s.name for s in packed_shapes(pack, ("cc0",), ("brick",))] == ["cube"]
