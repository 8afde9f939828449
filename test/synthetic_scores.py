"""Made-up scores that look like those of a real evaluation: hard and easy objects, better and worse methods."""

from __future__ import annotations

import hashlib

import numpy as np

from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.evaluate.results import ObjectRecord, Results, Score

# Error of the inferred surface in % of the diameter at one view, and how much of it each doubling of views leaves.
METHODS = {
    "observed": (9.0, 0.60),
    "tsdf": (8.5, 0.60),
    "hull": (4.2, 0.75),
    "carved_hull": (3.1, 0.65),
    "poisson": (6.0, 0.62),
    "mirror": (5.0, 0.70),
    "carve": (2.6, 0.60),
    "compact": (1.9, 0.62),
    "truth": (0.25, 1.0),
}
CLAIMS = {"carve": 0.03, "compact": 0.12}
FASTER = {"observed": 0.02, "tsdf": 0.3, "hull": 0.1, "compact": 1.4, "truth": 0.01}


def objects(count: int) -> dict[str, ObjectRecord]:
    names = [f"{kind}_{i:02d}" for i, kind in enumerate(("mug", "can", "box", "drill", "bowl", "toy") * 20)][:count]
    return {n: ObjectRecord(hashlib.sha256(n.encode()).hexdigest(), 80.0 + 7 * i, "ycb") for i, n in enumerate(names)}


def results(
    count: int = 24,
    *,
    methods: tuple[str, ...] = tuple(METHODS),
    conditions: tuple[str, ...] = ("clean", "noisy"),
    views: tuple[int, ...] = (1, 2, 4),
    seed: int = 0,
    repeats: int = 1,
    refusals: float = 0.04,
    factors: dict[str, float] | None = None,
) -> Results:
    """Return seeded results; `factors` multiply the error of a method, by name."""
    found = objects(count)
    scores = [
        score(name, found[name].diameter_mm, condition, number, seed + repeat, method, refusals, (factors or {}))
        for name in found
        for condition in conditions
        for number in views
        for repeat in range(repeats)
        for method in methods
    ]
    protocol = Protocol(views=views, conditions=conditions, seed=seed, repeats=repeats).as_dict()
    return Results(protocol, found, tuple(scores), {"sparse_recon": "0.1.0"}, {"cpu": "a processor", "cores": 2})


def score(
    name: str,
    diameter_mm: float,
    condition: str,
    views: int,
    seed: int,
    method: str,
    refusals: float = 0.0,
    factors: dict[str, float] | None = None,
) -> Score:
    difficulty = np.exp(0.5 * stream(name).normal())
    rng = stream(name, condition, views, seed, method)
    if method in ("tsdf", "carve") and rng.random() < refusals / views:
        return Score(name, condition, views, seed, method, "OBJECT_TOO_SMALL", "too few points; move closer")
    base, left = METHODS[method]
    inferred = base * left ** np.log2(views) * (1.25 if condition != "clean" else 1.0)
    inferred *= (factors or {}).get(method, 1.0) * (1.0 if method == "truth" else difficulty)
    inferred *= np.exp(0.08 * rng.normal())
    observed = (0.3 if condition == "clean" else 0.6) * np.exp(0.05 * rng.normal())
    everything = 0.55 * inferred + 0.45 * min(observed, inferred)
    metrics = {
        "chamfer_pct": everything,
        "chamfer_mm": everything * diameter_mm / 100,
        "chamfer_pct_inferred": inferred,
        "chamfer_mm_inferred": inferred * diameter_mm / 100,
        "chamfer_mm_observed": observed * diameter_mm / 100,
        "f_2pct": 100 * np.exp(-0.12 * everything),
        "f_5mm": 100 * np.exp(-0.02 * everything * diameter_mm / 100),
        "iou_pct": np.nan if method in ("observed", "tsdf", "poisson") else 100 * np.exp(-0.11 * inferred),
        "in_empty_pct": max(0.0, 0.2 * rng.normal()) if method not in ("hull", "poisson") else 2.0 * difficulty,
        "seconds": FASTER.get(method, 0.6) * views**0.4 * np.exp(0.1 * rng.normal()),
        "peak_memory_mb": 400 + 20 * rng.random(),
    }
    bins = None
    if method in CLAIMS:
        bins, ece = reliability(rng, CLAIMS[method])
        metrics |= {"ece": ece, "coverage90_pct": min(100.0, 90 - 100 * CLAIMS[method] + 3 * rng.normal())}
        metrics |= {"missed_pct": max(0.0, 0.8 * rng.normal()), "wasted_pct": 12 * difficulty / views}
    stages = {"complete": 0.7 * metrics["seconds"], "fuse": 0.3 * metrics["seconds"]}
    return Score(
        name, condition, views, seed, method, metrics=metrics, timings_s=stages, reliability=bins and tuple(bins)
    )


def reliability(rng: np.random.Generator, over: float) -> tuple[list[tuple[float, ...]], float]:
    """Return bins of points that claim `over` too much, and their calibration error."""
    claimed = rng.beta(2.5, 1.5, size=600)
    right = rng.random(600) < np.clip(claimed - over, 0, 1)
    index = np.minimum((15 * claimed).astype(int), 14)
    bins = np.stack([np.bincount(index, weights=w, minlength=15) for w in (np.ones(600), claimed, right)], axis=1)
    return [tuple(row) for row in bins.tolist()], float(np.abs(bins[:, 1] - bins[:, 2]).sum() / 600)


def stream(*parts: object) -> np.random.Generator:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
