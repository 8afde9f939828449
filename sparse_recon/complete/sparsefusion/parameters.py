"""Parameters of SparseFusion; imported by `config`, so that nothing else of this folder is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparse_recon.config.model_config import device_parameter, precision_parameter
from sparse_recon.config.parameters import Checked, doc


@dataclass(frozen=True)
class SparseFusionConfig(Checked):
    """SparseFusion, a few posed images to views of any camera."""

    weights: str = field(
        default="",
        metadata=doc(
            "Path of the weights: the folder with the authors' files of one category, or the file that `sparse_recon "
            "weights convert` made of it. mini takes the small networks that ship with the package.",
            live=False,
        ),
    )
    generator: str = field(
        default="vldm",
        metadata=doc(
            "What draws the views: vldm, the diffusion model, or eft, the blurred colours of the network that it is "
            "conditioned on, which takes a small part of the time.",
            choices=("vldm", "eft"),
        ),
    )
    geometry: str = field(
        default="fit",
        metadata=doc(
            "How geometry is made. fit: a radiance field is fitted to views of a ring, seconds instead of an hour. "
            "distill: a field is distilled towards what the model takes its renderings for, the published method; "
            "generator, views, sampler, steps and guidance have no say in it.",
            choices=("fit", "distill"),
            live=False,
        ),
    )
    iterations: int = field(
        default=3000,
        metadata=doc(
            "Number of iterations of a distillation; in the first third the feature network alone leads.",
            low=2,
            high=1_000_000,
        ),
    )
    lpips: str = field(
        default="",
        metadata=doc(
            "Path of a folder with vgg16-397923af.pth of torchvision and vgg.pth of LPIPS 0.1, the perceptual term of "
            "a distillation as published. Empty takes distances of features of the autoencoder that ships with the "
            "package.",
            live=False,
        ),
    )
    context_views: int = field(
        default=8, metadata=doc("Largest number of images that the model is conditioned on.", low=1, high=8)
    )
    views: int = field(default=16, metadata=doc("Number of views drawn on a ring around the object.", low=5, high=64))
    sampler: str = field(
        default="ancestral",
        metadata=doc(
            "Sampler of the diffusion model: ancestral, the authors' for views, or multistep, the authors' for "
            "distillation, which remembers noise that is gone and leaves some in the images.",
            choices=("ancestral", "multistep"),
        ),
    )
    steps: int = field(
        default=50, metadata=doc("Number of denoising steps of each view. The authors take 500.", low=1, high=1000)
    )
    guidance: float = field(
        default=1.0,
        metadata=doc(
            "Classifier-free guidance scale. 1, the authors' setting, turns guidance off.", low=1.0, high=50.0
        ),
    )
    authors_mode: bool = field(
        default=False,
        metadata=doc(
            "Whether the feature network runs as in training, with dropout and with statistics of the images at hand. "
            "The authors run it so; then results depend on the seed more."
        ),
    )
    at_once: int = field(
        default=4,
        metadata=doc(
            "Number of views in one pass of the denoiser; the result does not depend on it. Halved automatically where "
            "memory runs out.",
            low=1,
            high=64,
        ),
    )
    device: str = device_parameter("the model")
    precision: str = precision_parameter("auto", "fp32", "bf16", "fp16")
