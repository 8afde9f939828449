"""One worker completes while other threads add, ask and forget."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from scenes import around, recording
from sessions import CONFIG, completed, digest, session_of

from sparse_recon.config.session_config import load_config
from sparse_recon.errors import EvidenceError
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CameraIntrinsics, Frame


def test_sessions_in_two_threads_do_not_disturb_each_other():
    expected = {kind: digest(completed(kind, 2)) for kind in ("ball", "block")}
    found = {}

    def work(kind: str) -> None:
        found[kind] = digest(session_of(recording(kind, 2).frames).complete(CompletionRequest()))

    threads = [threading.Thread(target=work, args=(kind,)) for kind in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert found == expected


class Meanwhile:
    """Lets another thread do something once a stage has begun, and waits until it is done."""

    def __init__(self, stage: str, work) -> None:
        self._stage, self._begin, self.done = stage, threading.Event(), threading.Event()
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        assert self._begin.wait(600)
        self._work()
        self.done.set()

    def on_progress(self, progress) -> None:
        if progress.stage == self._stage:
            self._begin.set()
            assert self.done.wait(600)

    def join(self) -> None:
        self._thread.join(600)


@pytest.mark.parametrize("stage", ["observe", "evidence", "complete", "points"])
def test_frames_added_while_completing_are_for_the_next_completion(stage):
    first, *more = recording("ball", 4).frames
    session = session_of([first])
    alone = digest(session_of([first]).complete(CompletionRequest()))
    meanwhile = Meanwhile(stage, lambda: [session.add_frame(f) for f in more])
    result = session.complete(CompletionRequest(), meanwhile.on_progress)
    meanwhile.join()
    if stage != "observe":  # which frames there are is settled right after that stage began
        assert digest(result) == alone
    assert len(session.frames) == 4
    assert session.complete(CompletionRequest()).quality.views_used == 4


@pytest.mark.parametrize("stage", ["evidence", "complete", "mesh", "points"])
def test_reset_while_completing_lets_it_finish_on_what_it_had(stage):
    session = session_of(recording("ball", 2).frames)
    meanwhile = Meanwhile(stage, session.reset)
    result = session.complete(CompletionRequest(), meanwhile.on_progress)
    meanwhile.join()
    assert digest(result) == digest(completed("ball", 2))
    assert session.frames == () and session.objects() == ()
    session.add_frame(recording("block", 1).frames[0])
    assert [o.object_id for o in session.objects()] == ["object_0"]


def small(frame: Frame) -> Frame:
    """Return every second pixel of a frame: adding and completing many must be quick."""
    intrinsics, K = frame.intrinsics, frame.intrinsics.K.copy()
    K[:2] /= 2
    size = CameraIntrinsics(intrinsics.width // 2, intrinsics.height // 2, K)
    return replace(frame, rgb=frame.rgb[::2, ::2], depth_m=frame.depth_m[::2, ::2], labels=None, intrinsics=size)


def test_many_threads_at_once_keep_the_session_whole():
    config = load_config({"keyframes.max_frames": 12, "segment.min_points": 30, "evidence.grid": 32}, CONFIG)
    session, views = CompletionSession(config), [small(f) for f in recording("ball", 4).frames]
    stop, failures, turns = threading.Event(), [], {"add": 0, "look": 0, "forget": 0, "search": 0, "complete": 0}

    def repeat(name: str, work) -> None:
        rng = np.random.default_rng(len(name))
        try:
            while not stop.is_set():
                work(rng)
                turns[name] += 1
        except Exception as error:
            failures.append(error)
            stop.set()

    def add(rng) -> None:
        time.sleep(0.002)
        frame = views[rng.integers(len(views))]
        stamp_ns = time.monotonic_ns()
        if session.wants("camera", frame.T_world_cam, stamp_ns) or rng.random() < 0.5:
            report = session.add_frame(replace(frame, stamp_ns=stamp_ns))
            assert report.accepted and 1 <= report.kept_frames <= 12

    def look(rng) -> None:
        time.sleep(0.001)
        kept = session.frames
        assert len(kept) <= 12 and len({f.stamp_ns for f in kept}) == len(kept)
        assert 0 <= session.kept_bytes <= 12 * views[0].nbytes

    def forget(rng) -> None:
        time.sleep(0.05)
        session.shrink(int(rng.integers(1, 12)) * views[0].nbytes)
        if rng.random() < 0.3:
            assert session.reset() <= 12

    def search(rng) -> None:
        try:
            for candidate in session.objects():
                session.complete(CompletionRequest(object_id=candidate.object_id))
                turns["complete"] += 1
        except EvidenceError:
            pass  # forgotten meanwhile

    jobs = [("add", add), ("add", add), ("look", look), ("forget", forget), ("search", search)]
    threads = [threading.Thread(target=repeat, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    least_s, most_s = time.monotonic() + 3.0, time.monotonic() + 120.0
    while not stop.wait(0.1) and (time.monotonic() < least_s or min(turns.values()) == 0):
        assert time.monotonic() < most_s, turns
    stop.set()
    for thread in threads:
        thread.join(600)
    assert failures == [] and not any(thread.is_alive() for thread in threads)
    assert min(turns.values()) > 0
    session.reset()
    for frame in recording("ball", 2).frames:
        session.add_frame(frame)
    assert session.complete(CompletionRequest()).quality.nominal_watertight


def test_the_lock_is_not_held_while_pixels_are_filtered():
    session = CompletionSession(load_config({"keyframes.max_frames": 4}))
    frame = recording("ball", 1).frames[0]
    K = frame.intrinsics.K * np.array([[9.0], [9.0], [1.0]])
    large = replace(
        frame,
        rgb=np.zeros((2160, 2880, 3), np.uint8),
        depth_m=np.full((2160, 2880), 0.6, np.float32),
        labels=None,
        intrinsics=CameraIntrinsics(2880, 2160, K),
    )
    took, waited, stop = [], [], threading.Event()

    def add() -> None:
        for i, T in enumerate(around(3)):
            started = time.perf_counter()
            session.add_frame(replace(large, T_world_cam=T, stamp_ns=frame.stamp_ns + i))
            took.append(time.perf_counter() - started)
        stop.set()

    thread = threading.Thread(target=add)
    thread.start()
    while not stop.is_set():
        started = time.perf_counter()
        session.wants("camera", frame.T_world_cam, frame.stamp_ns)
        waited.append(time.perf_counter() - started)
        time.sleep(0.002)
    thread.join()
    assert np.median(waited) < 0.25 * np.median(took)
    assert len(waited) > 3
