"""The shipped weights know more than carving does."""

from __future__ import annotations

from sparse_recon.complete.compact.shipped import NANO_FILE, WEIGHTS_FILE
from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.lab.training.measure import measure, summary
from sparse_recon.lab.training.samples import samples_of
from sparse_recon.lab.training.shards import list_samples, write_shard
from sparse_recon.machine.share import share_folder


def test_objects_of_another_stream_come_out_nearer_to_the_truth_than_carved(tmp_path):
    # Eight objects of a stream of their own, one view or several: a tenth nearer at least, a quarter is usual.
    path = tmp_path / "00000.samples"
    write_shard(path, (sample for number in range(8) for sample in samples_of(91, number, 1)))
    found = {
        name: summary(measure(load_weights(share_folder("models") / name).net, list_samples([path])))
        for name in (WEIGHTS_FILE, NANO_FILE)
    }
    assert found[WEIGHTS_FILE]["model_pct"] < 0.9 * found[WEIGHTS_FILE]["carve_pct"]
    assert found[NANO_FILE]["model_pct"] < found[NANO_FILE]["carve_pct"]
