"""How long does the default model take? Nothing here is asserted.

    python benchmarks/default_model.py [--rounds 20] [--json FILE]

- network: one pass for 1, 4 and 8 samples, fp32 and, where the device multiplies it, bf16, and their ratio; median of
  the rounds after two warm ones.
- object: from frames in a session to the published object, one view of a simulated tabletop, models loaded: seconds to
  the first preview, of the stage `complete`, and in all, as median and 95th percentile; the same with `carve`.
- memory: peak resident memory of this process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparse_recon.complete.compact.sampling import Sampler
from sparse_recon.complete.compact.shipped import WEIGHTS_FILE
from sparse_recon.complete.compact.volumes import CHANNELS, GRID, EvidenceVolumes
from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.config.model_config import CompactConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.lab.simulate.recording import tabletop_recording
from sparse_recon.machine.processor import chosen_device, multiplies_bf16
from sparse_recon.machine.resident_memory import peak_bytes
from sparse_recon.machine.share import share_folder
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession


def network_times(rounds: int) -> dict[str, Any]:
    """Time passes over an empty cube: the work does not depend on what is in it."""
    evidence = EvidenceVolumes(np.zeros((len(CHANNELS), GRID, GRID, GRID), np.int8), np.ones(5, np.float32))
    device = chosen_device("auto")
    precisions = ["fp32", *(["bf16"] if multiplies_bf16(device) else [])]
    found: dict[str, Any] = {"device": device, "threads": torch.get_num_threads()}
    for precision in precisions:
        sampler = Sampler(load_weights(share_folder("models") / WEIGHTS_FILE).net, CompactConfig(precision=precision))
        for samples in (1, 4, 8):
            taken = []
            for _ in range(rounds + 2):
                started = time.perf_counter()
                sampler(evidence, range(samples), 1, lambda step, answer: None)
                taken.append(time.perf_counter() - started)
            found[f"{precision}_{samples}_ms"] = 1e3 * statistics.median(taken[2:])
    if len(precisions) == 2:
        found["bf16_times_faster"] = found["fp32_1_ms"] / found["bf16_1_ms"]
    return found


def object_times(model: str, rounds: int) -> dict[str, float]:
    """Time whole completions of the objects of a tabletop from one view."""
    session = CompletionSession(SessionConfig(model=model))
    session.load()
    recording = tabletop_recording(7, frames=1)
    session.add_frame(recording.frames[0])
    names = [candidate.object_id for candidate in session.objects()]
    first, stage, whole = [], [], []
    for number in range(rounds + len(names)):
        started = time.perf_counter()
        previews: list[float] = []

        def note(progress: Any, started: float = started, previews: list[float] = previews) -> None:
            if progress.preview is not None:
                previews.append(time.perf_counter() - started)

        result = session.complete(CompletionRequest(object_id=names[number % len(names)]), note)
        if number >= len(names):
            whole.append(time.perf_counter() - started)
            stage.append(result.quality.timings_s["complete"])
            first.append(previews[0])
    return {
        "objects": len(names),
        "first_preview_s": statistics.median(first),
        "complete_s": statistics.median(stage),
        "whole_s": statistics.median(whole),
        "whole_p95_s": sorted(whole)[min(len(whole) - 1, int(0.95 * len(whole)))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    report: dict[str, Any] = {"network": network_times(args.rounds)}
    report |= {model: object_times(model, args.rounds) for model in ("carve", "compact")}
    report["peak_memory_mb"] = peak_bytes() / 1e6
    print(json.dumps(report, indent=2))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
