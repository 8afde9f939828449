"""What the node publishes, and completed objects as messages of an action result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparse_recon.messages import completed_object_fields
from sparse_recon.ros.convert import to_message
from sparse_recon.types import CompletedObject

if TYPE_CHECKING:
    from sparse_recon.msg import CompletedObject as CompletedObjectMessage


def completed_object_message(obj: CompletedObject) -> CompletedObjectMessage:
    """Return an object as the rclpy message that an action or service answers with.

    It takes about a quarter of a second for 20 000 faces and lets other threads run meanwhile; deserialising the same
    message from CDR takes as long and keeps them out of the interpreter.
    """
    from sparse_recon.msg import CompletedObject as CompletedObjectMessage

    return to_message(CompletedObjectMessage, completed_object_fields(obj))
