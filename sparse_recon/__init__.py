"""Complete objects from a few posed camera frames: observed and imagined views fused into metric geometry."""

from pkgutil import extend_path

# The modules sparse_recon.msg, .srv and .action that colcon generates are found beside a checkout or a pip install too.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
