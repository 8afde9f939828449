"""Checkpoints that flood, lie or unpack to gigabytes are refused with a code before anything is believed."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from fuzz.bounded import ANSWER_S  # noqa: E402
from fuzz.ingest_world import memory_growth  # noqa: E402
from processor_time import processor_time_below  # noqa: E402

from sparse_recon.complete.latent import pickle_scan  # noqa: E402
from sparse_recon.complete.latent.pickle_scan import MAX_OPCODES, named_classes  # noqa: E402
from sparse_recon.complete.latent.tensor_files import open_tensors  # noqa: E402
from sparse_recon.errors import ErrorCode, ModelError  # noqa: E402


def archive(data: bytes, compression: int = zipfile.ZIP_STORED, more: int = 0) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr("archive/data.pkl", data)
            file.writestr("archive/version", b"3\n")
            for k in range(more):
                file.writestr(f"archive/data/{k}", b"")

    return write


def alone(path: Path) -> bytearray:
    """Write an archive of a pickle and nothing else, and return its bytes."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    return bytearray(path.read_bytes())


def beyond_its_end(path: Path) -> None:
    """Write an archive whose entry states more bytes than are left, though no more than the file has."""
    data = alone(path)
    for mark, at in ((b"PK\x03\x04", 18), (b"PK\x01\x02", 20)):  # sizes: of the entry, in the directory
        begin = data.rindex(mark)
        struct.pack_into("<II", data, begin + at, len(data), len(data))
    path.write_bytes(data)


def encrypted(path: Path) -> None:
    """Write an archive whose entry says that it is encrypted."""
    data = alone(path)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(mark) + at] |= 1
    path.write_bytes(data)


def nested(levels: int) -> bytes:
    """Return a pickle whose key is a tuple of 2^levels values, which is hashed one by one."""
    out = b"\x80\x02}(K\x01q\x00"
    for k in range(levels):
        out += b"h%ch%c\x86q%c0" % (k, k, k + 1)
    return out.replace(b"K\x01q\x00h", b"K\x01q\x000h", 1) + b"h%cK\x01u." % levels


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "marks": (archive(b"\x80\x02" + b"(" * 300_000 + b"."), "instructions"),
    "memo": (archive(b"\x80\x02}" + b"q\x00" * 150_000 + b"."), "instructions"),
    "pops": (archive(b"\x80\x02" + b"N0" * 150_000 + b"N."), "instructions"),
    "tuples": (archive(nested(100)), "tuple"),
    "classes": (archive(b"\x80\x02" + b"".join(b"cm\nc%d\n0" % k for k in range(5000)) + b"N."), "classes"),
    "takes more than it holds": (archive(b"\x80\x02\x86."), "more than it holds"),
    "deflated": (archive(b"N" * 300_000_000, zipfile.ZIP_DEFLATED), "compressed"),
    "entries": (archive(b"N.", more=1001), "entries"),
    "older form": (lambda path: path.write_bytes(b"\x80\x02" + b"N0" * 150_000 + b"N."), "instructions"),
    "older form, length": (lambda path: path.write_bytes(b"\x80\x02\x8e" + b"\x7f" * 8), "a value of"),
    "older form, cut": (lambda path: path.write_bytes(pickle.dumps(1, 2)), "."),
    "words": (lambda path: path.write_bytes(b"no checkpoint at all"), "."),
    "beyond its end": (beyond_its_end, "damaged"),
    "encrypted": (encrypted, "damaged"),
    "nothing": (lambda path: path.write_bytes(b""), "."),
}


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoint_is_refused_soon_and_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.setattr(pickle_scan, "MAX_OPCODES", 100_000)
    monkeypatch.setattr(pickle_scan, "MAX_ENTRIES", 1000)
    write, word = KINDS[kind]
    path = tmp_path / "hostile.ckpt"
    write(path)
    with processor_time_below(2 * ANSWER_S), memory_growth() as growth, pytest.raises(ModelError, match=word) as caught:
        open_tensors(path)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID and len(caught.value.message) < 500
    assert growth[0] < 300_000_000


def test_real_checkpoint_is_far_below_the_bounds(tmp_path: Path):
    state = {f"layer.{k}.weight": torch.zeros(2) for k in range(3000)}
    torch.save({"state_dict": state, "step": 1}, tmp_path / "real.ckpt")
    torch.save({"state_dict": state}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    for name in ("real.ckpt", "old.ckpt"):
        assert named_classes(tmp_path / name) >= {("torch._utils", "_rebuild_tensor_v2")}
        assert len(open_tensors(tmp_path / name).shapes) == 3000
    assert MAX_OPCODES == 1_000_000


def header(value: object, size: int = 0) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", size or len(text)) + text


LIES = {
    "longer than the file": header(b"{}", 1 << 40),
    "longer than any": header(b"{" + b" " * 17_000_000 + b"}"),
    "tensor beyond the end": header({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4 << 40]}}),
    "shape of other bytes": header({"a": {"dtype": "F32", "shape": [100], "data_offsets": [0, 4]}}) + bytes(4),
    "overflow": header({"a": {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 0]}}),
    "nested": header(b"[" * 1_000_000),
    "no JSON": header(b"words"),
    "empty": b"",
}


@pytest.mark.parametrize("kind", LIES)
def test_safetensors_that_lie_are_refused(tmp_path: Path, kind: str):
    path = tmp_path / "lies.safetensors"
    path.write_bytes(LIES[kind])
    with processor_time_below(ANSWER_S), memory_growth() as growth, pytest.raises(ModelError) as caught:
        open_tensors(path)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID and len(caught.value.message) < 500
    assert growth[0] < 300_000_000
