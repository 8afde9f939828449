"""Transforms on their way into a source: late ones are set aside, and what tf2 would do otherwise is told."""

from __future__ import annotations

from collections.abc import Callable, Set
from contextlib import suppress
from functools import partial

import numpy as np

from sparse_recon.errors import ErrorCode, SparseReconError, clipped
from sparse_recon.frames.ahead import TRANSFORMS, AheadMessage, AheadMessages
from sparse_recon.frames.late_transforms import LateTransform, LateTransforms
from sparse_recon.frames.lazy_transforms import LazyTransforms
from sparse_recon.frames.rejections import Rejection, Rejections
from sparse_recon.frames.transform_bytes import TransformBytes, pose_of
from sparse_recon.frames.transform_notes import TransformNotes
from sparse_recon.geometry.transforms import MAX_FRAMES, MAX_NAME_LENGTH, TransformSource, check_link, without_slash
from sparse_recon.types import Float64

_SAME = 1e-6  # metres, and entries of rotations: what differs by less was published twice


class TransformIntake:
    """Takes the transforms of /tf and /tf_static.

    - A transform older than the newest one of its link by more than `jump_back_s`, and as much older than the newest
      image or most other links, is late: it is set aside, counted and told. tf2 would sort it in, or from 10 s on
      ignore it. One that is late only beside a post-dated transform of its link, as AMCL's are, is sorted in.
    - A transform far ahead of its link, of the images and of all other links is left out, unless time goes on there
      (`AheadMessages`). tf2 would forget all that is older than it by 10 s. Where the newest of a link turns out to be
      such a one, it is forgotten.
    - A static link that is also published on /tf with the very same value stays static. tf2 would make it a moving one
      with a single sample, and answer nothing before and after. With another value it moves from then on, as in tf2.

    Parameters
    ----------
    source : what answers; `transforms` is asked in its place.
    rejections : counts what was refused.
    late_s : `assembly.jump_back_s`.
    ahead : judges stamps that run ahead.
    jump_back : told which links are late whenever one is; where time has jumped back, it calls `restart` and returns
        True.
    """

    def __init__(
        self,
        source: TransformSource,
        rejections: Rejections,
        late_s: float,
        ahead: AheadMessages,
        jump_back: Callable[[Set[str]], bool],
    ) -> None:
        self.transforms = LazyTransforms(source, late_s * 1e9, ahead)
        self.notes = TransformNotes()
        self._late_ns = late_s * 1e9
        self._ahead = ahead
        self._rejections = rejections
        self._jump_back = jump_back
        self._late = LateTransforms()
        self._static: dict[str, tuple[str, Float64]] = {}  # parent and T_parent_child by child

    def push(
        self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, static: bool, now_ns: int
    ) -> Rejection | None:
        """Take one transform; `now_ns` is the stamp of the newest image, 0 before there is one."""
        parent, child = without_slash(parent), without_slash(child)
        try:
            if not static and self._repeats_static(parent, child, T_parent_child):
                return None
            newest_ns = None if static else self.transforms.newest_ns(child)
            if newest_ns is not None and newest_ns - stamp_ns > self._late_ns:
                if self._past(child, stamp_ns, now_ns):
                    return self._set_aside(LateTransform(parent, child, stamp_ns, T_parent_child), newest_ns)
                self._forget_strays(parent, child, stamp_ns, newest_ns)
            if not static and self._runs_ahead(child, stamp_ns):
                check_link(parent, child, T_parent_child)
                self._put_ahead(parent, child, stamp_ns, T_parent_child, newest_ns)
                return None
            self._add(parent, child, stamp_ns, T_parent_child, static)
        except SparseReconError as error:
            return self._rejections.add(error.code, error.message, "", stamp_ns)
        self._ahead.in_time(_source(child))
        return None

    def _add(self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, static: bool = False) -> None:
        self._note_change(parent, child, T_parent_child, static)
        self.transforms.add(parent, child, stamp_ns, T_parent_child, static)
        self._late.forget(child)

    def push_message(self, data: bytes, static: bool, now_ns: int) -> bool:
        """Take a serialised TFMessage; links that no path needs stay packed.

        Returns
        -------
        Whether anything was unpacked, so that frames that wait may go on.

        Raises
        ------
        Unreadable
            If the bytes are no TFMessage; what was read before has been used.
        """
        message = TransformBytes(data)
        unpacked = False
        for parent, child, stamp_ns, at in message:
            if not static and self.transforms.keep((parent, child), stamp_ns, message, at):
                continue
            unpacked = True
            try:
                names = parent.decode(), child.decode()
                T_parent_child = pose_of(message.numbers(at), message.little_endian)
            except (SparseReconError, UnicodeDecodeError) as error:
                self._refuse(parent, child, stamp_ns, clipped(str(error)))
                continue
            self.push(*names, stamp_ns, T_parent_child, static, now_ns)
        if (left_out := message.count - len(message)) > 0:
            text = f"a message has {message.count} transforms, {left_out} more than are used"
            self._rejections.add(ErrorCode.FRAME_INVALID, text, "", 0)
        return unpacked

    def restart(self) -> None:
        """Forget all moving transforms but those that were set aside: they belong to the time that begins anew."""
        self.transforms.clear()
        for item in self._late.take():
            with suppress(SparseReconError):  # it was counted when it came
                self.transforms.add(item.parent, item.child, item.stamp_ns, item.T_parent_child)

    def _runs_ahead(self, child: str, stamp_ns: int) -> bool:
        beside, own = self.transforms.latest_beside_ns, self.transforms.time_of
        return self._ahead.is_ahead(stamp_ns, lambda: own(child), lambda: beside(child))

    def _put_ahead(
        self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, newest_ns: int | None
    ) -> None:
        """Set a transform aside; a link with a time of its own is not believed against the time of others."""
        others_ns = max(self._ahead.image_now_ns, self.transforms.latest_beside_ns(child))
        lead_s = (stamp_ns - max(others_ns, newest_ns or 0)) * 1e-9

        def use() -> None:
            with suppress(SparseReconError):
                self._add(parent, child, stamp_ns, T_parent_child)

        def leave_out() -> None:
            self.notes.add("ahead", child, partial(_left_out, parent, child, stamp_ns, lead_s))

        item = AheadMessage(_source(child), TRANSFORMS, stamp_ns, self._ahead.arrived_ns, use, leave_out)
        self._ahead.put(item, by_itself=newest_ns is None or not others_ns)

    def _forget_strays(self, parent: str, child: str, stamp_ns: int, newest_ns: int) -> None:
        """Forget what runs ahead of the time of others, where a transform of that time has come."""
        others_ns = max(self._ahead.image_now_ns, self.transforms.time_beside_ns(child))
        if others_ns and newest_ns - self._ahead.max_ahead_ns > others_ns >= stamp_ns - self._ahead.max_ahead_ns:
            self.transforms.forget_after(child, stamp_ns)
            lead_s = (newest_ns - others_ns) * 1e-9
            self.notes.add("ahead", child, partial(_left_out, parent, child, newest_ns, lead_s))

    def _past(self, child: str, stamp_ns: int, now_ns: int) -> bool:
        """Return whether a stamp is of the past for images or most of the other links; not where there are none."""
        now_ns = max(now_ns, self.transforms.now_beside_ns(child))
        return now_ns > 0 and now_ns - stamp_ns > self._late_ns

    def _set_aside(self, late: LateTransform, newest_ns: int) -> Rejection | None:
        self._late.add(late)
        if self._jump_back(self._late.children):
            return None
        self.notes.add("late", late.child, lambda count: f"{count} x {late.refusal(newest_ns)}")
        return self._rejections.add(ErrorCode.STAMP_ORDER, late.refusal(newest_ns), "", late.stamp_ns)

    def _repeats_static(self, parent: str, child: str, T_parent_child: Float64) -> bool:
        known = self._static.get(child)
        if known is None or known[0] != parent or not _same(known[1], T_parent_child):
            return False
        self.notes.add(
            "both",
            child,
            lambda count: (
                f"static transform {parent} -> {child} came {count} x as a moving one too, which is ignored; publish "
                "it on one of /tf and /tf_static"
            ),
        )
        return True

    def _note_change(self, parent: str, child: str, T_parent_child: Float64, static: bool) -> None:
        known = self._static.get(child)
        if known is not None and not static:
            del self._static[child]
            self.notes.add(
                "moves",
                child,
                lambda count: (
                    f"static transform {known[0]} -> {child} was published as a moving one with another value, {count} "
                    "x in all, and moves from then on; publish it on one of /tf and /tf_static"
                ),
            )
        elif known is not None and not (known[0] == parent and _same(known[1], T_parent_child)):
            self.notes.add(
                "static",
                child,
                lambda count: (
                    f"static transform {known[0]} -> {child} was published again with another parent or value, "
                    f"{count} x in all; the newest holds from then on"
                ),
            )
        if static and (known is not None or len(self._static) < MAX_FRAMES):
            self._static[child] = parent, np.array(T_parent_child)

    def _refuse(self, parent: bytes, child: bytes, stamp_ns: int, why: str) -> None:
        names = " -> ".join(name[:MAX_NAME_LENGTH].decode(errors="replace") for name in (parent, child))
        self._rejections.add(ErrorCode.FRAME_INVALID, f"a transform {names} is skipped: {why}", "", stamp_ns)


def _source(child: str) -> str:
    return f"link {child}"


def _left_out(parent: str, child: str, stamp_ns: int, lead_s: float, count: int) -> str:
    return (
        f"{count} x transform {parent} -> {child} runs ahead, the last by {lead_s:.3f} s (at {stamp_ns * 1e-9:.3f} s), "
        "and is left out; check the clocks of its publishers"
    )


def _same(T_a: Float64, T_b: Float64) -> bool:
    return T_a.shape == T_b.shape and bool(np.abs(T_a - T_b).max() < _SAME)
