"""JSON as its standard has it (RFC 8259), of bounded cost."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

from sparse_recon.errors import clipped, quoted

_MAX_DIGITS = 300  # of a whole number: float64 has room for it, and Python needs quadratic time


class NotJson(ValueError):
    """The text is no JSON, or none that is accepted; the message is one line."""


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Raises
    ------
    NotJson
        If it is no JSON or no UTF-8, repeats a name in one object, is nested too deeply, or holds a number that is none
        (NaN, infinities, beyond float64) or has hundreds of digits.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(
            decoded,
            parse_constant=_refuse_constant,
            parse_int=_whole,
            parse_float=_finite,
            object_pairs_hook=_without_repeats,
        )
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except ValueError as error:  # of the text, or of its encoding
        raise NotJson(clipped(str(error))) from None


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON")


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise NotJson(f"it holds a number of {len(digits)} digits, accepted are {_MAX_DIGITS}")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise NotJson(f"it holds {clipped(digits)}, which is beyond float64")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise NotJson(f"the name {quoted(twice)} is given twice in one object; keep one")
    return found
