"""Parameters of what comes in: depth images, messages, the robot itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparse_recon.config.parameters import Checked, doc


@dataclass(frozen=True)
class DepthConfig(Checked):
    """How depth images are read."""

    unit_m: float = field(
        default=0.0,
        metadata=doc(
            "Metres a count of depth images. 0 goes by the encoding (REP 118): 16UC1 is millimetres, 32FC1 metres. "
            "Sensors of 0.25 mm a count need 0.00025, of 0.1 mm 0.0001, float millimetres 0.001.",
            unit="m",
            low=0.0,
            high=1.0,
            live=False,
        ),
    )
    near_m: float = field(
        default=0.15,
        metadata=doc("Smallest valid depth. Pixels nearer to the camera are ignored.", unit="m", low=0.01, high=10.0),
    )
    far_m: float = field(
        default=3.0,
        metadata=doc(
            "Largest valid depth. Pixels farther from the camera are ignored.", unit="m", low=0.05, high=100.0
        ),
    )
    sigma_base_m: float = field(
        default=0.0012,
        metadata=doc("Standard deviation of the depth noise at a depth of 0.4 m.", unit="m", low=0.0, high=0.1),
    )
    sigma_quadratic: float = field(
        default=0.0019,
        metadata=doc(
            "Quadratic growth of the depth noise: sigma = depth.sigma_base_m + depth.sigma_quadratic * (z - "
            "0.4 m)^2 (Nguyen 2012).",
            unit="1/m",
            high=1.0,
            low=0.0,
        ),
    )
    sensor: str = field(
        default="auto",
        metadata=doc(
            "Kind of the depth camera. Errors that are alike over many pixels are measured on the support plane and "
            "make confidence smaller; they grow with the square of the depth for `stereo` and `structured` and stay "
            "the same for `tof`. Where no support plane is in view, figures that are usual for the kind count. "
            "`auto`: as for stereo, but nothing counts where no plane is in view.",
            choices=("auto", "stereo", "structured", "tof"),
        ),
    )
    pose_sigma_m: float = field(
        default=0.001,
        metadata=doc(
            "Standard deviation of the camera position, added to the depth noise in quadrature.",
            unit="m",
            low=0.0,
            high=0.1,
        ),
    )
    edge_jump_m: float = field(
        default=0.02,
        metadata=doc(
            "Smallest depth step between neighbouring pixels that counts as an edge. Flying pixels between "
            "the two sides of an edge are dropped; 0 keeps all pixels.",
            unit="m",
            low=0.0,
            high=1.0,
        ),
    )
    average_frames: int = field(
        default=16,
        metadata=doc(
            "Largest number of depth images of a camera that stands still that are averaged before an object is "
            "completed from them. Pixels that flicker are dropped; what changed meanwhile is not averaged. 1 averages "
            "none.",
            low=1,
            high=64,
        ),
    )


@dataclass(frozen=True)
class AssemblyConfig(Checked):
    """How messages become frames, and how long one waits for another."""

    stamp_tolerance_s: float = field(
        default=0.02,
        metadata=doc(
            "Largest difference between the stamps of the colour, depth and label images that are matched to "
            "one frame.",
            unit="s",
            low=0.0,
            high=1.0,
            live=False,
        ),
    )
    tf_timeout_s: float = field(
        default=5.0,
        metadata=doc(
            "How long a frame waits for its transform and camera info, measured in stamps: it is rejected "
            "when an image newer by more than this has come.",
            unit="s",
            low=0.0,
            high=60.0,
            live=False,
        ),
    )
    order_timeout_s: float = field(
        default=0.5,
        metadata=doc(
            "How long a frame waits for an earlier frame of another camera, measured in stamps, so that "
            "frames are used in stamp order.",
            unit="s",
            low=0.0,
            high=10.0,
            live=False,
        ),
    )
    jump_back_s: float = field(
        default=1.0,
        metadata=doc(
            "Largest step back in time that is taken for a late message. An image older than the newest of "
            "its stream by up to this much is rejected. An image older by more, or all moving transforms of a "
            "camera together, restart the input, as when a recording loops: stored frames, waiting images and "
            "moving transforms are discarded. A transform of one link older by more is ignored.",
            unit="s",
            low=0.01,
            high=60.0,
            live=False,
        ),
    )
    max_ahead_s: float = field(
        default=10.0,
        metadata=doc(
            "Largest lead of a stamp over what all other messages say the time is. A transform or image that is "
            "further ahead is left out, unless others, or the next ones of its kind, follow it there.",
            unit="s",
            low=1.0,
            high=3600.0,
            live=False,
        ),
    )
    depth_is_registered: bool = field(
        default=False,
        metadata=doc(
            "Whether depth images are registered to colour whatever frame they name. false goes by the transforms: "
            "depth from elsewhere than colour needs a camera info of its own, and without one it is refused.",
            live=False,
        ),
    )
    queue_size: int = field(
        default=48,
        metadata=doc(
            "Largest number of messages kept per stream, and of matched frames that wait for a transform or "
            "camera info.",
            low=2,
            high=1000,
            live=False,
        ),
    )
    max_gap_s: float = field(
        default=1.0,
        metadata=doc(
            "Largest time between two transforms that are interpolated whatever lies between them. A larger gap "
            "is bridged only where the link moved by less than 0.1 m and 0.1 rad over it and usually is as slow, as "
            "localisation every few seconds; a frame whose stamp falls into another one is rejected.",
            unit="s",
            low=0.01,
            high=60.0,
            live=False,
        ),
    )
    history_s: float = field(
        default=30.0,
        metadata=doc(
            "How long transforms are kept, measured back from the newest one.",
            unit="s",
            low=1.0,
            high=3600.0,
            live=False,
        ),
    )


@dataclass(frozen=True)
class RobotConfig(Checked):
    """What of the images is the robot itself."""

    description: str = field(
        default="",
        metadata=doc(
            "URDF of the robot, as a file or as text (robot_description): pixels on the boxes around its collision "
            "geometries are taken out of depth and label images. Empty takes nothing out.",
            live=False,
        ),
    )
    padding_m: float = field(
        default=0.02,
        metadata=doc("By how much these boxes grow on each side.", unit="m", low=0.0, high=0.2, live=False),
    )
    left_in: tuple[str, ...] = field(
        default=(),
        metadata=doc("Links that stay in the images, such as a table that is part of the description.", live=False),
    )
    label: int = field(
        default=0,
        metadata=doc(
            "Value of the robot in label images; its pixels are taken out too. 0 means that it has none.",
            low=0,
            high=2**31 - 1,
            live=False,
        ),
    )
