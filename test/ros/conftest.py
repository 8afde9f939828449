from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")
pytest.importorskip(
    "sparse_recon.msg", reason="the interfaces are not built, or the workspace is not sourced: make test"
)

from domains import held_domain, new_domain
from rig import NodeProcess, Robot, parameter_arguments
from sparse_recon.srv import Reset, SetRegion

from sparse_recon.lab.simulate.recording import tabletop_recording

# Coarse enough to complete in a second beside other work; what is tested here is the node, not the surface. The default
# model is tested in test_node_model.py.
FAST = {
    "model": "carve",
    "evidence.grid": 32,
    "evidence.fine_grid": 48,
    "fusion.max_points": 4000,
    "fusion.max_faces": 2000,
    "transform_source": "tree",
    "diagnostics_period_s": 0.2,
}


@pytest.fixture(scope="session")
def recording():
    """Five frames of three objects on a table."""
    return tabletop_recording(7, with_labels=True)


@pytest.fixture(scope="module")
def shared_node():
    """Start one node with default behaviour for the tests of a module; return its process and domain."""
    with held_domain() as domain, NodeProcess(domain, parameter_arguments(**FAST)) as node:
        yield node, domain


@pytest.fixture
def robot(shared_node):
    """Put a robot around the shared node, which has forgotten everything."""
    node, domain = shared_node
    with Robot(domain) as companion:
        companion.process = node
        companion.wait_for_node()
        assert companion.ask(Reset, "reset").success
        assert companion.ask(SetRegion, "set_region").success
        companion.spin_until(lambda: companion.figure("memory", "frames") == 0, what="the forgetting")
        yield companion


@pytest.fixture
def started():
    """Start nodes and robots; end them, see that they end well, and show the log where something failed."""
    things = []

    def start(domain=None, *, namespace="", arguments=(), robot=None, **parameters):
        domain = domain or new_domain()
        given = [*parameter_arguments(**{**FAST, **parameters}), *arguments]
        if namespace:
            given += ["-r", f"__ns:={namespace}"]
        node = NodeProcess(domain, given)
        things.append(node)
        companion = Robot(domain, namespace=namespace, **(robot or {}))
        things.append(companion)
        companion.process = node
        return companion

    yield start
    for thing in reversed(things):
        if isinstance(thing, Robot):
            thing.close()
    codes = [(thing.end(), thing.log) for thing in things if isinstance(thing, NodeProcess)]
    for code, text in codes:
        print(text)
        assert code == 0
        assert "Traceback" not in text
