"""A tiny run of the segmenter: views are made, faults are drawn, losses fall, a stopped run goes on, weights ship."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sparse_recon.cli.main import main
from sparse_recon.lab.training.segmenter import scenes
from sparse_recon.lab.training.segmenter.faults import seen_color, seen_depth
from sparse_recon.lab.training.segmenter.loop import SegmenterRun, SegmenterTraining
from sparse_recon.lab.training.segmenter.samples import ClutterSamples, drawn_sample
from sparse_recon.observe.segmenter.weights import load_segmenter_net

pytest.importorskip("mujoco")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with one file of nine views, and three that are held out."""
    folder = tmp_path_factory.mktemp("views")
    scenes.generate(folder, [], 1, seed=1, scenes=3)
    scenes.generate(folder / "held_out", [], 1, seed=2, scenes=1)
    return folder


def first_view(data):
    views = scenes.shard_views(data / "00000.npy")
    return next(view for view in map(scenes.read_view, views) if (view.labels > 0).sum() > 500)


def test_views_hold_a_table_where_the_plane_says_it_is(data):
    view = first_view(data)
    v, u = np.nonzero((view.labels == 0) & (view.depth_m > 0))
    rays = np.stack([(u - view.K[2]) / view.K[0], (v - view.K[3]) / view.K[1], np.ones(len(u))], axis=1)
    height_m = (rays * view.depth_m[v, u, None]) @ view.plane_cam[:3] - view.plane_cam[3]
    assert np.mean(np.abs(height_m) < 1e-3) > 0.2


def test_views_that_are_there_are_not_made_again(data):
    path = data / "00000.npy"
    before = path.stat().st_mtime_ns
    scenes.generate(data, [], 1, seed=1, scenes=3)
    assert path.stat().st_mtime_ns == before


def test_faults_are_those_of_cameras_and_drawn_from_the_seed(data):
    view = first_view(data)
    shares, errors = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        seen = seen_depth(view.depth_m, view.rgb, view.labels, float(view.K[0]), rng)
        again = seen_depth(view.depth_m, view.rgb, view.labels, float(view.K[0]), np.random.default_rng(seed))
        assert np.array_equal(seen, again, equal_nan=True)
        both = (seen > 0) & (view.depth_m > 0) & (view.depth_m < 1.5)
        shares.append(np.mean(~(seen[view.depth_m < 1.5] > 0)))
        errors.append(np.median(np.abs(seen - view.depth_m)[both]))
    assert 0.01 < np.median(shares) < 0.5  # holes
    assert 0.0003 < np.median(errors) < 0.006  # metres
    assert seen_color(view.rgb, np.random.default_rng(0)).dtype == np.uint8


def test_a_mirrored_sample_is_that_of_a_mirrored_world(data):
    view = first_view(data)
    for seed in range(6):
        sample = drawn_sample(view, np.random.default_rng(seed), None)
        v, u = np.nonzero(((sample["labels"] == 0) & (sample["depth_m"] > 0)).numpy())
        fx, fy, cx, cy = sample["K"].tolist()
        rays = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(len(u))], axis=1)
        points = rays * sample["depth_m"].numpy()[v, u, None]
        height_m = points @ sample["plane_cam"].numpy()[:3] - sample["plane_cam"].numpy()[3]
        assert np.mean(np.abs(height_m) < 0.03) > 0.2


def test_samples_are_drawn_from_their_number(data):
    one, other = (ClutterSamples([data / "00000.npy"], seed=4)[2] for _ in range(2))
    assert all(torch.equal(one[name].nan_to_num(), other[name].nan_to_num()) for name in one)


def test_a_run_learns_stops_goes_on_and_ships(data, tmp_path, capsys):
    config = SegmenterTraining(steps=12, batch_size=3, warmup_steps=2)
    whole = SegmenterRun(config, data, tmp_path / "whole")
    whole.train()
    first = SegmenterRun(config, data, tmp_path / "run")
    first.config = SegmenterTraining(steps=6, batch_size=3, warmup_steps=2)
    first.train()
    resumed = SegmenterRun(config, data, tmp_path / "run")
    assert resumed.step == 6
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.net.state_dict().values(), resumed.net.state_dict().values(), strict=True)
    )
    resumed.train()
    assert resumed.step == 12
    words = ["train-segmenter", "--data", str(data), "--out", str(tmp_path / "run"), "--views", "3", "--json"]
    assert main([*words, "--ship", str(tmp_path / "w.safetensors")]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["step"] == 12 and outcome["things"] >= 1
    net = load_segmenter_net(tmp_path / "w.safetensors", outcome["sha256"])
    assert all(torch.isfinite(p).all() for p in net.parameters())
    assert main([*words, "--measure", str(tmp_path / "w.safetensors")]) == 0


def test_losses_fall_on_one_batch(data):
    from sparse_recon.lab.training.segmenter.loop import inputs_of, losses_of
    from sparse_recon.observe.segmenter.layout import Widths
    from sparse_recon.observe.segmenter.network import SegmenterNet

    torch.manual_seed(0)
    batch = torch.utils.data.default_collate([ClutterSamples([data / "00000.npy"], seed=1)[i] for i in range(3)])
    net = SegmenterNet(Widths(8, 12, 16, 24, 4))
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    totals = []
    for _ in range(15):
        total = sum(losses_of(net(inputs_of(batch)), batch).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total))
    assert totals[-1] < 0.7 * totals[0]


def test_a_folder_without_views_is_refused(tmp_path, capsys):
    assert main(["train-segmenter", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "make some with --generate" in capsys.readouterr().err


def test_unknown_parameters_are_refused(tmp_path, capsys):
    assert main(["train-segmenter", "--set", "stepps=3", "--out", str(tmp_path / "run")]) == 2
    assert "one of steps" in capsys.readouterr().err
