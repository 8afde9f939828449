"""Views of an object from any cameras, each drawn alone from what all pictures tell of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sparse_recon.complete.latent.samplers import seeded_noise
from sparse_recon.complete.latent.view_sampler import BatchSize, OnStep, decoded_bytes
from sparse_recon.complete.sparsefusion.cameras import NdcCameras, depth_range
from sparse_recon.complete.sparsefusion.model import ShownPictures, SparseFusionModel, ToldViews
from sparse_recon.complete.sparsefusion.parameters import SparseFusionConfig
from sparse_recon.complete.sparsefusion.sizes import MODEL
from sparse_recon.complete.sparsefusion.vldm_samplers import ancestral, multistep
from sparse_recon.types import UInt8


class ViewSampler:
    """Draws views with a loaded model; where memory runs out, fewer go through the denoiser at once from then on."""

    def __init__(self, model: SparseFusionModel, config: SparseFusionConfig) -> None:
        self._model, self._batch = model, BatchSize(MODEL, config.at_once)

    def generate(
        self,
        pictures: Tensor,
        cameras: NdcCameras,
        queries: NdcCameras,
        seeds: Sequence[int],
        config: SparseFusionConfig,
        on_step: OnStep,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> UInt8:
        """Return the images (V, P, P, 3) uint8, on black, that other cameras take of an object.

        Parameters
        ----------
        pictures : (N, 3, P, P) in [0, 1], on black.
        cameras, queries : N that took them, V that are asked for; in one scene, the object around its origin.
        seeds : of each view.
        on_step : counts views that were told of, then the steps of all batches.

        Raises
        ------
        ModelError
            MODEL_FAILED if an image has NaN or infinite values.
        MemoryError, torch.OutOfMemoryError
            If memory does not suffice for a single view.
        """
        model, count = self._model, len(queries)
        model.checkpoint = checkpoint
        try:
            shown = model.shown(pictures, cameras)
            views = self._told(shown, queries, seeds, on_step, self._steps(count, config))
            if config.generator == "eft":
                # Rays reach from corner pixel to corner pixel.
                large = functional.interpolate(views.rgb, model.size.image_side, mode="bilinear", align_corners=True)
                return decoded_bytes(lambda rgb: rgb, large, MODEL)

            def draw(at_once: int) -> UInt8:
                latents = self._latents(views.features, seeds, config, at_once, on_step)
                return decoded_bytes(model.decode_latents, latents, MODEL)

            return self._batch.draw(count, config.at_once, draw)
        finally:
            model.checkpoint = lambda: None

    def _told(
        self, shown: ShownPictures, queries: NdcCameras, seeds: Sequence[int], on_step: OnStep, steps: int
    ) -> ToldViews:
        depths = depth_range(shown.cameras)
        told = []
        for k, seed in enumerate(seeds):
            told.append(self._model.told(shown, queries[k : k + 1], depths, seed))
            on_step(k + 1, steps, told[-1].rgb)
        return ToldViews(torch.cat([t.features for t in told]), torch.cat([t.rgb for t in told]))

    def _latents(
        self, features: Tensor, seeds: Sequence[int], config: SparseFusionConfig, at_once: int, on_step: OnStep
    ) -> Tensor:
        model, total = self._model, self._steps(len(features), config, at_once)
        drawn: list[Tensor] = []
        for number, rows in enumerate(slice(k, k + at_once) for k in range(0, len(features), at_once)):
            noise = seeded_noise(seeds[rows], model.latent_shape, model.device)

            def predict(latents: Tensor, ratio: Tensor, rows: slice = rows) -> Tensor:
                return model.predict_noise(latents, ratio, features[rows], config.guidance)

            def report(step: int, steps: int, clean: Tensor, number: int = number) -> None:
                on_step(len(features) + number * steps + step, total, clean)

            if config.sampler == "ancestral":
                drawn.append(ancestral(predict, noise, config.steps, report))
            else:
                drawn.append(multistep(predict, noise, steps=config.steps, on_step=report))
        return torch.cat(drawn)

    def _steps(self, count: int, config: SparseFusionConfig, at_once: int | None = None) -> int:
        if config.generator == "eft":
            return count
        return count + -(-count // (at_once or self._batch.views)) * config.steps
