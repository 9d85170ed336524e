"""The number of the version that was loaded last, in memory that workers share: a new worker tries it first."""

import ctypes
import mmap
from typing import Self


class LastVersion(ctypes.Structure):
    """The number that one process sets and all processes forked later see; 0 if none has loaded a version.

    Numbers have at most 18 digits (version_list.py), so they fit.
    """

    _fields_ = (("number", ctypes.c_int64),)
    number: int

    @classmethod
    def create(cls) -> Self:
        """Create it before the processes that share it are forked."""
        return cls.from_buffer(mmap.mmap(-1, ctypes.sizeof(cls)))
