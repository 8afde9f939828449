"""Which objects pictures are taken of, and which of them are held out; never one that evaluation scores."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparse_recon.errors import ConfigError
from sparse_recon.lab.evaluate.objects import SCORED, UNSCORED, is_scored
from sparse_recon.lab.simulate.household import KINDS, make_shape
from sparse_recon.lab.simulate.shapes import scanned_shape
from sparse_recon.lab.training.pack import PackedShape, load_packed, packed_shapes
from sparse_recon.lab.training.scans import scan_paths
from sparse_recon.lab.training.views.bodies import Body, colored_body, painted_body, varied
from sparse_recon.lab.training.views.config import ViewDataConfig

# Made-up household objects of evaluation have small seeds.
_HOUSEHOLD_SEED = 5_000_000
_STRETCH = 0.08
_COLOURS = ("red", "green", "blue", "yellow", "white", "black", "purple", "silver", "gold", "orange", "pink", "brown")
_SIZES = ("small", "medium", "large", "extra", "mini")
_LEFT_OUT = frozenset((*_COLOURS, *_SIZES, "grey", "and", "with", "striped"))


@dataclass(frozen=True)
class Entry:
    """One object: a shape of a pack, a scan, or a household shape by kind; `draw` numbers its variations."""

    name: str
    origin: PackedShape | Path | str
    draw: int = 0

    def held_out(self, every: int) -> bool:
        """Whether the object, in all its variations, is one of those never learned from."""
        return zlib.crc32(self.name.encode()) % every == 0

    def load(self, seed: int) -> Body:
        """Return the coloured mesh; the same seed gives the same.

        Raises
        ------
        FileError
            If its file cannot be read.
        """
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode()), self.draw])
        if isinstance(self.origin, str):
            # Household shapes differ by their seed alone.
            return varied(colored_body(make_shape(self.origin, rng)), rng, 0.0)
        if isinstance(self.origin, Path):
            body = colored_body(scanned_shape(self.origin, self.name))
            return varied(body, rng, 0.0 if self.draw == 0 else _STRETCH)
        return varied(painted_body(self.name, *load_packed(self.origin), rng), rng, _STRETCH)


def entries(config: ViewDataConfig, scans: Sequence[Path], pack: Path | None) -> list[Entry]:
    """Return the objects of a config in a fixed order, mixed so that every stretch of it is alike.

    Parameters
    ----------
    scans : folders of the meshes that `config.scans` names; none leaves them out.
    pack : folder of the shapes that `config.shapes` names; None leaves them out.

    Raises
    ------
    ConfigError
        If a scan is scored by evaluation, or is another colour or size of one that is.
    FileError
        INPUT_MISSING if a mesh is not there.
    """
    refuse_scored(config.scans)
    found = [
        Entry(f"household_{k}", KINDS[k % len(KINDS)])
        for k in range(_HOUSEHOLD_SEED, _HOUSEHOLD_SEED + config.household)
    ]
    if scans and config.scans:
        paths = scan_paths(scans, config.scans)
        found += [
            Entry(name, path, draw)
            for name, path in zip(config.scans, paths, strict=True)
            for draw in range(config.scan_draws)
        ]
    if pack is not None:
        shapes = packed_shapes(pack, config.shapes, config.without)
        found += [Entry(shape.name, shape, draw) for draw in range(config.shape_draws) for shape in shapes]
    order = np.random.default_rng(config.seed).permutation(len(found))
    return [found[k] for k in order]


def refuse_scored(names: Sequence[str]) -> None:
    """Raise ConfigError if a name is that of an object which evaluation scores, or of a variant of one."""
    if scored := [name for name in names if is_scored(name) or is_variant_of_scored(name)]:
        raise ConfigError(
            f"data.scans names {', '.join(scored)}, which are test objects of the evaluation or other colours or "
            "sizes of such; remove them from data.scans"
        )


def is_variant_of_scored(name: str) -> bool:
    """Whether a name differs from one of the `SCORED` list in number, letter, colour or size alone."""
    last = [part for part in Path(name).parts if part not in (".", "/")]
    if name in UNSCORED:
        return False
    return bool({_product(part) for part in last} & {_product(scored) for scored in SCORED})


def _product(name: str) -> str:
    words = re.sub(r"^(ycb|gso)_", "", name.lower())
    words = re.sub(r"^\d+(-[a-z])?_", "", words)
    return " ".join(word for word in re.split(r"[_\s-]+", words) if word not in _LEFT_OUT)
