"""Paths as people type them."""

from __future__ import annotations

import os
from pathlib import Path

from sparse_recon.errors import ErrorCode, InputError, quoted

_NAME_BYTES = 255  # NAME_MAX of Linux
_PATH_BYTES = 4096 - 256  # PATH_MAX, with room for the names of what is written there


def path_of(text: str) -> Path:
    """Return a path whose leading `~` or `~user` is that home.

    Raises
    ------
    InputError
        USAGE if it is empty, holds a NUL or what no file name can hold, is too long, or there is no such user.
    """
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:
        raise InputError(ErrorCode.USAGE, f"the path {quoted(text)} holds what is no character; name another") from None
    if not text or "\0" in text:
        raise InputError(ErrorCode.USAGE, f"the path {quoted(text)} is empty or holds a NUL; name another")
    longest = max(map(len, raw.split(b"/")))
    if longest > _NAME_BYTES or len(raw) > _PATH_BYTES:
        raise InputError(
            ErrorCode.USAGE,
            f"the path {quoted(text)} has {len(raw)} bytes, and names of up to {longest}; accepted are {_PATH_BYTES} "
            f"in all and {_NAME_BYTES} a name: shorten it",
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = text.split("/")[0]
        raise InputError(
            ErrorCode.USAGE,
            f"the path {quoted(text)} begins with {quoted(user)}, a home that there is not; name another",
        ) from None
