"""Runs on pictures with real, tiny networks: they learn, go on where they were killed, and ship what can be loaded."""

from __future__ import annotations

import csv

import pytest

torch = pytest.importorskip("torch")
for library in ("open3d", "diffusers", "transformers"):
    pytest.importorskip(library)

from sparse_recon.cli.main import main  # noqa: E402
from sparse_recon.complete.latent.architectures import vae  # noqa: E402
from sparse_recon.complete.latent.mini import SIZES, read_mini  # noqa: E402
from sparse_recon.complete.syncdreamer.sizes import VolumeSize  # noqa: E402
from sparse_recon.config.parameters import nested  # noqa: E402
from sparse_recon.errors import ConfigError, ModelError  # noqa: E402
from sparse_recon.lab.training.checkpoints import MODEL_FILE, STATE_FILE, read_state, write_state  # noqa: E402
from sparse_recon.lab.training.run import HELD_OUT_FILE, METRICS_FILE  # noqa: E402
from sparse_recon.lab.training.views.generate import generate_views  # noqa: E402
from sparse_recon.lab.training.views.latents import Autoencoder, latents_of  # noqa: E402
from sparse_recon.lab.training.views.shards import view_shards  # noqa: E402
from sparse_recon.lab.training.views.systems import config_of, run_of  # noqa: E402
from sparse_recon.lab.training.views.view_set import ViewSet, to_signed  # noqa: E402

DATA = {"side": 32, "household": 0, "shapes": ["cc0"], "shape_draws": 4, "objects_per_shard": 4, "cameras": "ring16"}
COMMON = {
    "steps": 4,
    "warmup_steps": 1,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
    "measure_every": 100,
    "measure_samples": 1,
    "gate_step": 0,
    "data": {**DATA, "held_out_every": 3},
}
NETWORK = {
    "batch_size": 2,
    "width": 16,
    "multipliers": [1, 2],
    "groups": 8,
    "heads": 2,
    "context": 16,
    "clip_width": 16,
    "clip_layers": 1,
    "clip_heads": 2,
    "clip_patch": 16,
    "clip_side": 32,
    "measure_steps": 2,
}
POSED = {
    "batch_size": 2,
    "backbone": [8, 8, 8],
    "features": 16,
    "points": 6,
    "layers": 1,
    "rays": 12,
    "draws": 2,
    "width": 16,
    "multipliers": [1, 2],
    "heads": 2,
    "head_width": 8,
    "kernels": [3, 5],
    "measure_steps": 2,
}
VOLUME = {"views_per_object": 2, "features": 8, "vertices": 8, "planes": 8, "volume_widths": [8, 16], "volume_time": 16}


@pytest.fixture(scope="module")
def data(pack, tmp_path_factory):
    """Pictures of two boxes: one is learned from, the other held out."""
    folder = tmp_path_factory.mktemp("pictures")
    generate_views(folder, config_of("autoencoder", COMMON).data, (), pack)
    return folder


@pytest.fixture(scope="module")
def autoencoder(data, tmp_path_factory):
    """The folder of a short run of the autoencoder."""
    out = tmp_path_factory.mktemp("autoencoder")
    run_of("autoencoder", autoencoder_config(steps=30), data, out, False).train()
    return out


def autoencoder_config(**values):
    return config_of(
        "autoencoder", {**COMMON, "width": 8, "multipliers": [1, 2, 2], "groups": 4, "batch_size": 4, **values}
    )


def system_config(system, autoencoder, **values):
    own = POSED if system == "sparsefusion" else {**NETWORK, **(VOLUME if system == "syncdreamer" else {})}
    return config_of(system, {**COMMON, **own, "autoencoder": str(autoencoder / MODEL_FILE), **values})


def column(path, name):
    with path.open() as file:
        return [row[name] for row in csv.DictReader(file)]


def test_the_autoencoder_learns(autoencoder):
    losses = [float(v) for v in column(autoencoder / METRICS_FILE, "loss")]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_weights_leave_with_white_latents_and_the_same_pictures(autoencoder, data):
    images = to_signed(ViewSet(view_shards(data / "held_out"), 1).rgb[0])
    shipped = Autoencoder(str(autoencoder / MODEL_FILE), "cpu")
    latents = shipped.encode(images)
    flat = latents.transpose(0, 1).flatten(1)
    assert flat.mean(dim=1).abs().max() < 0.1 and (torch.cov(flat) - torch.eye(4)).abs().max() < 0.1

    trained = vae(shipped.size)
    averages = {k[8:]: t for k, t in read_state(autoencoder / STATE_FILE)[0].items() if k.startswith("average.")}
    trained.load_state_dict(averages)
    with torch.no_grad():
        before = trained.decode(trained.encode(images).latent_dist.mode()).sample.clamp(-1, 1)
    assert (shipped.decode(latents) - before).abs().max() < 0.02  # half precision


class Killed(Exception):
    pass


@pytest.mark.parametrize("system", ["zero123", "syncdreamer", "sparsefusion"])
def test_a_killed_run_goes_on_with_the_same_curve(system, data, autoencoder, tmp_path):
    config = system_config(system, autoencoder)

    def kill(progress):
        if progress.step == 2:
            raise Killed

    run_of(system, config, data, tmp_path / "whole", False).train()
    with pytest.raises(Killed):
        run_of(system, config, data, tmp_path / "half", False).train(kill)
    run_of(system, config, data, tmp_path / "half", True).train()

    assert column(tmp_path / "whole" / METRICS_FILE, "loss") == column(tmp_path / "half" / METRICS_FILE, "loss")
    (ours, _), (theirs, _) = (read_state(tmp_path / name / STATE_FILE) for name in ("half", "whole"))
    assert ours.keys() == theirs.keys()
    # The last bits of what is sampled from volumes differ from call to call, and Muon makes much of little gradients.
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-2 if system == "syncdreamer" else 0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("system", ["zero123", "syncdreamer"])
def test_every_network_learns(system, precision, data, autoencoder, tmp_path):
    run = run_of(system, system_config(system, autoencoder, steps=3, precision=precision), data, tmp_path, False)
    exact = dict(run.net.named_buffers())
    assert all(torch.equal(exact[name], buffer) for name, buffer in run.compute_net.named_buffers())
    assert any(b.is_floating_point() for b in exact.values()) == (system == "syncdreamer")
    before = {name: w.clone() for name, w in run.net.state_dict().items()}
    run.train()

    after = run.net.state_dict()
    parts = {name.split(".")[0] for name in before}
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == parts >= {"unet", "image_encoder", "cc_projection"}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_posed_pictures_teach_is_what_is_learned(precision, data, autoencoder, tmp_path):
    """First the transformer, then the denoiser that looks at its features, which stay; or both at once."""
    common = {"steps": 3, "precision": precision}
    first = system_config("sparsefusion", autoencoder, learns="transformer", **common)
    run_of("sparsefusion", first, data, tmp_path / "first", False).train()
    weights = str(tmp_path / "first" / MODEL_FILE)
    for learns in ("denoiser", "both"):
        config = system_config("sparsefusion", autoencoder, learns=learns, begin_from=weights, **common)
        run = run_of("sparsefusion", config, data, tmp_path / learns, False)
        before = {name: w.clone() for name, w in run.net.state_dict().items()}
        run.train()
        after = run.net.state_dict()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert any(name.startswith("vldm.") for name in changed)
        # Averages that normalisation keeps are learned where the transformer is, whatever products are made in.
        for name in ("eft.t1.pre.0.weight", "eft.encoder_model.bn1.running_mean"):
            assert (name in changed) == (learns == "both")
    wider = system_config("sparsefusion", autoencoder, begin_from=weights, features=24)
    with pytest.raises(ConfigError, match="of the same sizes"):
        run_of("sparsefusion", wider, data, tmp_path / "other", False)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_normalisation_keeps_goes_on_where_a_run_was_killed(precision, data, autoencoder, tmp_path):
    config = system_config("sparsefusion", autoencoder, learns="transformer", precision=precision)

    def kill(progress):
        if progress.step == 2:
            raise Killed

    run_of("sparsefusion", config, data, tmp_path / "whole", False).train()
    with pytest.raises(Killed):
        run_of("sparsefusion", config, data, tmp_path / "half", False).train(kill)
    run_of("sparsefusion", config, data, tmp_path / "half", True).train()
    (ours, _), (theirs, _) = (read_state(tmp_path / name / STATE_FILE) for name in ("half", "whole"))
    kept = [name for name in ours if "running_" in name]
    assert kept and all(torch.equal(ours[name], theirs[name]) for name in kept)


def test_weights_that_do_not_serve_to_begin_with_are_refused(data, autoencoder, tmp_path):
    config = system_config("sparsefusion", autoencoder, learns="transformer", steps=1)
    run_of("sparsefusion", config, data, tmp_path / "first", False).train()
    tensors, about = read_state(tmp_path / "first" / MODEL_FILE)
    write_state(tmp_path / "part.safetensors", {n: t for n, t in tensors.items() if ".t2." not in n}, about)
    for path, error, sentence in (
        (str(tmp_path / "part.safetensors"), ModelError, "lacks"),
        ("", ConfigError, "begin_from is empty"),
    ):
        config = system_config("sparsefusion", autoencoder, learns="denoiser", begin_from=path)
        with pytest.raises(error, match=sentence):
            run_of("sparsefusion", config, data, tmp_path / "then", False)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"fewest": 6, "most": 2}, "fewest is 6 and most 2"),
        ({"most": 8, "data.cameras": "unposed"}, "most 8"),
        ({"backbone": [8, 8]}, "2 levels"),
        ({"kernels": [4]}, "odd numbers"),
    ],
)
def test_parameters_that_do_not_fit_together_are_refused(values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config_of("sparsefusion", nested(values))


def test_latents_are_kept_for_the_pictures_that_they_are_of(data, autoencoder, tmp_path):
    encoder, kept = Autoencoder(str(autoencoder / MODEL_FILE), "cpu"), tmp_path / "latents.safetensors"
    white, black = (ViewSet(view_shards(data), on_black=on_black) for on_black in (False, True))
    first = latents_of(white, encoder, kept=kept)
    assert torch.equal(latents_of(white, encoder, prepared=torch.zeros_like, kept=kept), first)  # as they were
    assert not torch.equal(latents_of(black, encoder, kept=kept), first)


def test_syncdreamer_begins_with_zero123_and_keeps_it_where_frozen(data, autoencoder, tmp_path):
    run_of("zero123", system_config("zero123", autoencoder, steps=2), data, tmp_path / "first", False).train()
    first = tmp_path / "first" / MODEL_FILE
    config = system_config("syncdreamer", autoencoder, steps=2, begin_from=str(first), frozen=True)
    run = run_of("syncdreamer", config, data, tmp_path / "then", False)
    run.train()

    after = run.net.state_dict()
    assert all(torch.equal(after[name], w) for name, w in read_mini(first).tensors.items())
    assert read_mini(tmp_path / "then" / MODEL_FILE, {**SIZES, "volume": VolumeSize}).sizes["volume"].vertices == 8
    wider = system_config("syncdreamer", autoencoder, begin_from=str(first), width=32)
    with pytest.raises(ConfigError, match="of the same sizes"):
        run_of("syncdreamer", wider, data, tmp_path / "other", False)


def test_the_gate_stops_a_run_that_is_worse_than_its_input(data, autoencoder, tmp_path):
    config = system_config("zero123", autoencoder, gate_step=1)
    with pytest.raises(ModelError, match="the input image itself"):
        run_of("zero123", config, data, tmp_path, False).train()
    row = {name: float(column(tmp_path / HELD_OUT_FILE, name)[0]) for name in ("psnr_db", "input_db")}
    assert row["psnr_db"] < row["input_db"]


def test_the_command_makes_pictures_trains_and_ships(pack, tmp_path, capsys):
    sets = ["steps=2", "batch_size=2", "gate_step=0", "threads=1", "width=8", "multipliers=[1, 2, 2]", "groups=4"]
    sets += ["data.side=32", "data.household=0", "data.shapes=[cc0]", "data.shape_draws=4", "data.held_out_every=3"]
    data, out, shipped = (str(tmp_path / name) for name in ("data", "run", "shipped.safetensors"))
    common = ["train", "--model", "autoencoder", "--data", data, "--out", out]
    given = ["--set", *sets[:3], "--set", *sets[3:]]  # more than once: the later ones add
    assert main([*common, "--generate", "--shapes", str(pack), *given]) == 0
    assert main([*common, "--sheet", str(tmp_path / "sheet.png"), "--count", "2"]) == 0
    assert main([*common, *given]) == 0
    assert main([*common, "--set", *sets]) == 1  # a run is there already
    assert main([*common, "--ship", shipped, "--count", "1"]) == 0

    assert read_mini(tmp_path / "shipped.safetensors").about["held_out"]["objects"] == 1
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    net = Autoencoder(shipped, "cpu")
    assert net.decode(net.encode(images) * net.size.latent_scale).shape == images.shape
    assert main([*common, "--begin-from", shipped]) == 2
