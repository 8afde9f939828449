"""Time of the Stable Diffusion family's denoiser: views in batches, bf16, channels last, against the plain loop.

    python benchmarks/latent.py                       # full size, random weights: about 7 GB of memory
    python benchmarks/latent.py --views 4 --repeats 2
    python benchmarks/latent.py --model syncdreamer --views 1 --repeats 1     # a step of all sixteen views

The plain loop is what examples with diffusers do: one view at a time, fp32, two passes of guidance in one batch, plain
attention. Both have the same weights and draw the same noise; how far their answers differ is given in units of the
spread of the answer. The floor is 176.3 GFLOP a view and pass (UNet with 8 input channels on 32 x 32 latents) at the
rate at which this device multiplies square matrices of the same type.

With `--model syncdreamer` a step is one shared volume and sixteen views with guidance, `--views` of them timed in one
pass; its floor counts every product of the networks (PyTorch's counter).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from sparse_recon.complete.latent.architectures import unet
from sparse_recon.complete.latent.attention import attend_to_one_token
from sparse_recon.complete.syncdreamer.network import Conditions, Shared, SyncDreamerNetwork
from sparse_recon.complete.syncdreamer.sizes import SyncDreamerSize
from sparse_recon.complete.zero123.weights import Zero123Size
from sparse_recon.machine.processor import chosen_device, chosen_dtype

GFLOP_PER_VIEW = 176.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=8, help="views in a batch (default 8)")
    parser.add_argument(
        "--model", choices=("zero123", "syncdreamer"), default="zero123", help="whose (default zero123)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="timed calls; the fastest counts (default 3)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch; 0: all cores")
    parser.add_argument("--compile", action="store_true", help="also the compiled network, on CUDA with graphs")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = chosen_device(args.device)
    dtype = chosen_dtype("auto", device)
    if args.model == "syncdreamer":
        return _syncdreamer(args.views, args.repeats, device, dtype)
    size = Zero123Size().unet
    torch.manual_seed(0)
    net = unet(size).eval().requires_grad_(False).to(device)

    generator = torch.Generator().manual_seed(0)
    shape = (args.views, size.in_channels, size.sample, size.sample)
    latents = torch.randn(shape, generator=generator).to(device)
    context = torch.randn((args.views, 1, size.context), generator=generator).to(device)

    @torch.inference_mode()
    def plain() -> torch.Tensor:
        times = torch.full((2,), 500, device=device)
        return torch.cat(
            [
                _guided(net, torch.cat([x[None]] * 2), times, torch.cat([torch.zeros_like(c[None]), c[None]]))
                for x, c in zip(latents, context, strict=True)
            ]
        )

    wanted, plain_s = plain(), _fastest(plain, args.repeats, device)
    net = net.to(dtype=dtype, memory_format=torch.channels_last)
    attend_to_one_token(net)

    @torch.inference_mode()
    def batched() -> torch.Tensor:
        x = torch.cat([latents] * 2).to(dtype).contiguous(memory_format=torch.channels_last)
        told = torch.cat([torch.zeros_like(context), context]).to(dtype)
        return _guided(ours, x, torch.full((len(x),), 500, device=device), told)

    rows = [("plain loop, fp32", plain_s, torch.float32, wanted)]
    ours: Callable[..., object] = net
    rows.append(
        (f"batched, {str(dtype).removeprefix('torch.')}", _fastest(batched, args.repeats, device), dtype, batched())
    )
    if args.compile:
        ours = torch.compile(net, mode="reduce-overhead" if device == "cuda" else "default")
        batched()
        rows.append(("batched, compiled", _fastest(batched, args.repeats, device), dtype, batched()))

    print(f"{device}, {torch.get_num_threads()} threads, {args.views} views a batch, guidance in the same pass")
    print(f"{'':22} {'s per view':>10} {'ratio':>6} {'x floor':>8} {'GFLOP/s':>8} {'difference':>10}")
    for name, seconds, kind, found in rows:
        per_view = seconds / args.views
        floor_s = 2 * GFLOP_PER_VIEW / _matmul_gflops(device, kind)
        off = float((found.float() - wanted).std() / wanted.std())
        print(
            f"{name:22} {per_view:10.4f} {plain_s / seconds:6.2f} {per_view / floor_s:8.2f} "
            f"{2 * GFLOP_PER_VIEW / per_view:8.0f} {off:10.1e}"
        )
    for steps in (49, 20):
        print(f"a view of {steps} denoising steps: {steps * rows[-1][1] / args.views:.1f} s, without the decoder")
    if device == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")


def _syncdreamer(views: int, repeats: int, device: str, dtype: torch.dtype) -> None:
    """Print what a step of all views takes, from its shared volume and `views` of them in one pass."""
    from torch.utils.flop_counter import FlopCounterMode

    size = SyncDreamerSize()
    torch.manual_seed(0)
    net = SyncDreamerNetwork(size).eval().requires_grad_(False)
    del net.image_encoder
    net.to(device=device)
    for name, tensor in net.state_dict().items():
        net.get_parameter(name).data = tensor.to(dtype)
    net.unet.to(memory_format=torch.channels_last)
    latents = torch.randn(1, size.volume.views, 4, 32, 32, device=device)
    given = Conditions(
        torch.randn(1, 1, size.clip.projection, device=device).to(dtype),
        torch.randn(1, 4, 32, 32, device=device).to(dtype),
        net.view_tokens(torch.zeros(1, device=device)),
    )
    asked = torch.arange(views, device=device)[None]
    t = torch.full((1,), 500, device=device)

    @torch.inference_mode()
    def shared() -> Shared:
        return net.shared(latents, t, given)

    volume = shared()

    @torch.inference_mode()
    def drawn() -> torch.Tensor:
        return net.view_noise(latents[:, :views], volume, given, asked, guidance=2.0)

    counts = []
    for call in (shared, drawn):
        with FlopCounterMode(display=False) as counter:
            call()
        counts.append(counter.get_total_flops())
    parts = size.volume.views / views
    seconds = _fastest(shared, repeats, device) + parts * _fastest(drawn, repeats, device)
    gflop = (counts[0] + parts * counts[1]) / 1e9
    floor_s = gflop / _matmul_gflops(device, dtype)
    print(f"{device}, {torch.get_num_threads()} threads, {str(dtype).removeprefix('torch.')}, {views} views in a pass")
    print(f"a step of {size.volume.views} views: {gflop / 1e3:.2f} TFLOP, what is shared {counts[0] / 1e12:.2f} of it")
    print(f"{seconds:.2f} s a step, {seconds / floor_s:.2f} times the floor; {50 * seconds:.0f} s for 50 steps")


def _guided(net: Callable[..., object], x: torch.Tensor, times: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    without, given = net(x, times, encoder_hidden_states=told, return_dict=False)[0].chunk(2)  # type: ignore[index]
    return without + 3.0 * (given - without)


def _fastest(call: Callable[[], object], repeats: int, device: str) -> float:
    best = float("inf")
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best


def _matmul_gflops(device: str, dtype: torch.dtype) -> float:
    n = 8192 if device == "cuda" else 2048
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    a @ b
    return 2 * n**3 / _fastest(lambda: a @ b, 3, device) / 1e9


if __name__ == "__main__":
    main()
