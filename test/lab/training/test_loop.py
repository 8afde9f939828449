"""A run goes on where it was killed, refuses what would change it, and stops where it will not make it."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
import torch

from sparse_recon.complete.compact.parameter_names import file_name
from sparse_recon.errors import ConfigError, ErrorCode, FileError, ModelError
from sparse_recon.lab.training.checkpoints import MODEL_FILE, STATE_FILE, read_state
from sparse_recon.lab.training.loop import Run
from sparse_recon.lab.training.run import HELD_OUT_FILE, METRICS_FILE, learning_rate_factor


def curve(folder) -> list[tuple[str, str]]:
    with (folder / METRICS_FILE).open() as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


class Killed(Exception):
    pass


def kill_after(step):
    def on_step(progress):
        if progress.step == step:
            raise Killed

    return on_step


@pytest.fixture(scope="module")
def whole(data, config, tmp_path_factory):
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    Run(config, data, out, resume=False).train()
    return out


def test_killed_run_goes_on_with_the_same_curve(data, config, whole, tmp_path):
    with pytest.raises(Killed):
        Run(config, data, tmp_path, resume=False).train(kill_after(2))
    Run(config, data, tmp_path, resume=True).train()
    assert curve(tmp_path) == curve(whole)
    (ours, _), (theirs, _) = read_state(tmp_path / STATE_FILE), read_state(whole / STATE_FILE)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_steps_after_the_checkpoint_are_taken_again(data, config, whole, tmp_path):
    with pytest.raises(Killed):
        Run(config, data, tmp_path, resume=False).train(kill_after(2))
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write("3,99,0,0,0,0,0,0,0\n")  # of a step that was not saved
    Run(config, data, tmp_path, resume=True).train()
    assert curve(tmp_path) == curve(whole)


def test_averaged_weights_leave_as_half_precision(whole):
    tensors, about = read_state(whole / MODEL_FILE)
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert about["architecture"]["width"] == 32 and about["step"] == 4


def test_begins_with_the_weights_of_an_earlier_run(data, config, whole, tmp_path):
    run = Run(config, data, tmp_path / "next", resume=False, initial_weights=whole / MODEL_FILE)

    tensors, _ = read_state(whole / MODEL_FILE)
    assert all(torch.equal(w, tensors[file_name(name)].float()) for name, w in run.net.state_dict().items())
    assert all(torch.equal(run.ema_weights[name], w) for name, w in run.net.state_dict().items())
    run.train()
    assert len(curve(tmp_path / "next")) == config.steps
    larger = replace(config, model=replace(config.model, blocks=config.model.blocks + 1))
    with pytest.raises(ConfigError, match="this run's network is"):
        Run(larger, data, tmp_path / "other", resume=False, initial_weights=whole / MODEL_FILE)


def test_other_parameters_than_it_was_begun_with_are_refused(data, config, whole):
    with pytest.raises(ConfigError, match="learning_rate"):
        Run(replace(config, learning_rate=1e-5), data, whole, resume=True)


def test_nothing_to_resume(data, config, tmp_path):
    with pytest.raises(FileError, match="not a checkpoint") as caught:
        Run(config, data, tmp_path, resume=True)
    assert caught.value.code == ErrorCode.INPUT_MISSING


def test_no_samples(config, tmp_path):
    with pytest.raises(FileError, match="--generate"):
        Run(config, tmp_path, tmp_path / "out", resume=False)


def test_gate_stops_a_run_that_is_worse_than_carve(data, config, tmp_path):
    run = Run(replace(config, gate_step=1, learning_rate=1.0), data, tmp_path, resume=False)
    with torch.no_grad():
        run.net.out.bias[:8] = 3.0
        run.ema_weights["out.bias"][:8] = 3.0
    with pytest.raises(ModelError, match="gate") as caught:
        run.train()
    assert caught.value.code == ErrorCode.MODEL_FAILED
    with (tmp_path / HELD_OUT_FILE).open() as file:
        row = next(csv.DictReader(file))
    assert float(row["model_pct"]) > float(row["carve_pct"])


def test_loss_that_is_no_number_stops_the_run(data, config, tmp_path):
    run = Run(config, data, tmp_path, resume=False)
    with torch.no_grad():
        run.net.out.bias[0] = torch.nan
    with pytest.raises(ModelError, match="NaN or infinite"):
        run.train()


def test_rate_rises_stays_and_falls(config):
    run = replace(config, steps=100, warmup_steps=10, cooldown_share=0.2)
    assert learning_rate_factor(0, run) == pytest.approx(0.1)
    assert learning_rate_factor(50, run) == 1.0
    assert learning_rate_factor(90, run) == pytest.approx(0.5)
