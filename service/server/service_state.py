"""What the arbiter and its workers know of the service, in memory that they share."""

import ctypes
import mmap
from typing import Self


class ServiceState(ctypes.Structure):
    """Flags that one process sets and all processes forked later see.

    Attributes:
        is_stopping: the whole service stops: nothing will accept from its listening sockets afterwards.
        shares_sockets: another service may accept from the listening sockets: gunicorn's SIGUSR2, or systemd.
        was_ready: a worker has started. From then on, a worker that cannot start is tried again.
    """

    _fields_ = (
        ("is_stopping", ctypes.c_bool),
        ("shares_sockets", ctypes.c_bool),
        ("was_ready", ctypes.c_bool),
    )
    is_stopping: bool
    shares_sockets: bool
    was_ready: bool

    @classmethod
    def create(cls) -> Self:
        """Create the state, all flags false, before the processes that share it are forked."""
        return cls.from_buffer(mmap.mmap(-1, ctypes.sizeof(cls)))

    def stop(self) -> None:
        """Set `is_stopping`."""
        self.is_stopping = True
