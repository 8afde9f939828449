"""What a mesh file says it holds, held against its size, before a library makes room for it."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

from sparse_recon.inputs.json_text import NotJson, parse_json

_HEADER_BYTES, _MAX_JSON_BYTES = 65536, 64_000_000
_PLY_BYTES = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "float": 4, "double": 8}
_PLY_BYTES |= {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "float32": 4, "float64": 8}
_GLTF_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_GLTF_NUMBERS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
MAX_GLTF_NUMBERS = 20_000_000  # of all meshes as often as nodes show them


def lie_of(path: Path) -> str:
    """Return what a mesh file says of itself that cannot be; empty where nothing was found, as in unknown formats."""
    size_bytes, suffix = path.stat().st_size, path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        if suffix == ".glb":
            length = int.from_bytes(head[12:16], "little")
            if head[:4] != b"glTF" or length > min(size_bytes, _MAX_JSON_BYTES):
                return f"its first part would have {length} of its {size_bytes} bytes" if head[:4] == b"glTF" else ""
            file.seek(20)
            return _gltf(file.read(length), size_bytes)
        if suffix == ".gltf" and size_bytes <= _MAX_JSON_BYTES:
            file.seek(0)
            return _gltf(file.read(), size_bytes)
    if suffix == ".ply":
        return _ply(head, size_bytes)
    if suffix == ".off":
        return _off(head, size_bytes)
    return _stl(head, size_bytes) if suffix == ".stl" else ""


def _ply(head: bytes, size_bytes: int) -> str:
    text, mark, _ = head.partition(b"end_header")
    if not mark:
        return f"its header does not end within {_HEADER_BYTES} bytes"
    is_text, least = b"format ascii" in text, 0
    for element in text.split(b"element ")[1:]:
        words = element.split()
        count = int(words[1]) if len(words) > 1 and words[1].isdigit() and len(words[1]) < 20 else 0
        kinds = re.findall(rb"property (?:list )?(\w+)", element)  # of a list, that of its length: it may be empty
        each = 2 * len(kinds) if is_text else sum(_PLY_BYTES.get(kind.decode(), 1) for kind in kinds)
        least += count * each
    return _too_much(least, size_bytes)


def _off(head: bytes, size_bytes: int) -> str:
    lines = (line.partition(b"#")[0] for line in head.split(b"\n"))
    words = b" ".join(lines).upper().removeprefix(b"\xef\xbb\xbf").split()
    counts = [int(word) for word in words[1:3] if word.isdigit() and len(word) < 20]
    return _too_much(6 * sum(counts[:1]) + 4 * sum(counts[1:]), size_bytes)


def _stl(head: bytes, size_bytes: int) -> str:
    if head[:5].lower() == b"solid" or len(head) < 84:
        return ""
    return _too_much(84 + 50 * struct.unpack_from("<I", head, 80)[0], size_bytes)


def _gltf(text: bytes, size_bytes: int) -> str:
    try:
        found = parse_json(text)
        numbers = [_numbers(item) for item in found.get("accessors", [])]
        packed = [item for item in found.get("accessors", []) if "bufferView" in item]
        least = max((_numbers(item) * _GLTF_BYTES[item["componentType"]] for item in packed), default=0)
        meshes = [sum(numbers[k] for part in mesh["primitives"] for k in _used(part)) for mesh in found["meshes"]]
        shown = sum(meshes[node["mesh"]] for node in found["nodes"] if "mesh" in node)
    except (NotJson, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ""  # the library says what is wrong
    if max(shown, sum(numbers)) > MAX_GLTF_NUMBERS:
        return f"its nodes show {max(shown, sum(numbers))} numbers, accepted are {MAX_GLTF_NUMBERS}"
    files = any("uri" in buffer for buffer in found.get("buffers", []))
    return "" if files else _too_much(least, size_bytes)


def _used(part: dict[str, Any]) -> list[int]:
    return [*part["attributes"].values(), *([part["indices"]] if "indices" in part else [])]


def _numbers(accessor: dict[str, Any]) -> int:
    return int(accessor["count"]) * _GLTF_NUMBERS[accessor["type"]]


def _too_much(least_bytes: int, size_bytes: int) -> str:
    return f"it would need {least_bytes} bytes and has {size_bytes}" if least_bytes > size_bytes else ""
