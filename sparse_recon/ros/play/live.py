"""A recording completed by the real node: node and player as processes, and a client that asks for every object."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparse_recon.bags.topics import CameraTopics
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode
from sparse_recon.machine.children import end_with_parent, python_child
from sparse_recon.ros.play.live_client import PATIENCE_S, START_S, Arrival, Client, GoalOutcome
from sparse_recon.ros.play.player import make_room_for_images, ros_node

_RATE = 2.0
_FIRST_DOMAIN, _DOMAINS = 215, 18  # the upper end of what Linux can use, where hardly any robot is
_END_S = 120.0


@dataclass(frozen=True)
class LiveOutcome:
    """What the node gave; `clouds` are the bytes of the points of each object as they were published."""

    domain_id: int
    frames: int
    goals: tuple[GoalOutcome, ...]
    arrivals: tuple[Arrival, ...]
    clouds: Mapping[str, bytes]
    node_exit_code: int
    seconds: float


def why_not_here() -> str:
    """Return why nodes cannot run here and what to do about it, or an empty string."""
    cures = {
        "rclpy": "source /opt/ros/<distro>/setup.bash",
        "tf2_msgs.msg": "sudo apt install ros-<distro>-tf2-msgs",
        "sparse_recon.action": "build this package with colcon and source install/setup.bash",
    }
    for module, cure in cures.items():
        try:
            importlib.import_module(module)
        except ImportError:
            return f"{module} cannot be imported: {cure}; or in a checkout: make setup && source ws/env.sh"
    return ""


def run_live(
    bag: Path,
    camera: CameraTopics,
    config: SessionConfig,
    object_ids: Sequence[str],
    newest_ns: int,
    patience_s: float = PATIENCE_S,
) -> LiveOutcome:
    """Start the node, play the recording to it, ask for every object, and end all processes.

    Everything happens on a domain of its own, which no robot near by takes part in.

    Parameters
    ----------
    config : parameters of the node.
    newest_ns : stamp of the last frame of the recording; no goal is sent before the node has it.
    patience_s : how long there may be no progress during a step; see `Client`.

    Raises
    ------
    SparseReconError
        DEADLINE if something did not happen and nothing got on, with what the node says of itself; INTERNAL if a
        process failed.
    """
    began = time.monotonic()
    domain_id = _FIRST_DOMAIN + os.getpid() % _DOMAINS
    make_room_for_images()
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sparse_recon_live_")))
        node = stack.enter_context(_process(_node_command(camera, config, folder), domain_id, folder / "node.log"))
        words = ["play", str(bag), "--clock", "--rate", str(_RATE), "--wait-for-subscribers", str(START_S)]
        player = stack.enter_context(_process(["sparse_recon.cli.main", *words], domain_id, folder / "player.log"))
        client = Client(
            stack.enter_context(ros_node("sparse_recon_client", domain_id)),
            {"node": node, "player": player},
            patience_s,
        )
        client.wait_for_node()
        client.wait_for_frame(newest_ns)
        goals = [client.complete(object_id) for object_id in object_ids]
        done = [goal.object_id for goal in goals if goal.code == ErrorCode.OK]
        client.wait_for_objects(done)
        node.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            node.wait(_END_S)
        return LiveOutcome(
            domain_id,
            client.frames,
            tuple(goals),
            client.arrivals(),
            client.clouds(),
            node.returncode if node.returncode is not None else -signal.SIGKILL,
            time.monotonic() - began,
        )


def _node_command(camera: CameraTopics, config: SessionConfig, folder: Path) -> list[str]:
    """Return the module and arguments of the node; its parameters are those that differ from the defaults."""
    import yaml

    values = _changed(asdict(config), asdict(SessionConfig()))
    parameters = {"use_sim_time": True, "diagnostics_period_s": 0.2, **values}
    path = folder / "parameters.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}), encoding="utf-8")
    remaps = {"image": camera.color, "depth": camera.depth, "camera_info": camera.info}
    words = [word for name, topic in remaps.items() for word in ("-r", f"{name}:={topic}")]
    return ["sparse_recon.ros.completion_node", "--ros-args", *words, "--params-file", str(path)]


def _changed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            if inner := _changed(value, defaults[name]):
                changed[name] = inner
        elif value != defaults[name]:
            changed[name] = list(value) if isinstance(value, tuple) else value
    return changed


# Of a module, its name and arguments, what python -m does. Output comes line by line, for the log is looked at.
_RUN_MODULE = """
import runpy
sys.stdout.reconfigure(line_buffering=True)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@contextmanager
def _process(words: Sequence[str], domain_id: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module of this package in a process that ends with this block, or with this process at the latest."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            python_child(_RUN_MODULE, *words),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=end_with_parent,
        )
    process.log = log  # type: ignore[attr-defined]
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
        if process.poll() is None:
            process.kill()
            process.wait()
