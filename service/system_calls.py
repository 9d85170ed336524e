"""System calls of Linux and functions of glibc that Python does not have; without effect on other systems."""

import ctypes
import resource
import signal
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
"""Options of prctl(2)."""

_LIBC = ctypes.CDLL(None)
_STATM = Path("/proc/self/statm")


def kill_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it ends. One that has ended before is not noticed."""
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)


def name_process(name: bytes) -> None:
    """Name this process, in at most 15 bytes, for ps and top."""
    _call("prctl", PR_SET_NAME, name)


def trim_memory() -> None:
    """Return the free memory of the heap to the system (malloc_trim(3))."""
    _call("malloc_trim", 0)


def set_malloc_option(option: int, value: int) -> None:
    """Set an option of mallopt(3)."""
    _call("mallopt", option, value)


def measure_memory() -> tuple[int, int]:
    """The bytes of this process's address space, and those that are resident; 0 where /proc does not exist."""
    if not _STATM.exists():
        return 0, 0
    size, resident = _STATM.read_text().split()[:2]
    return int(size) * resource.getpagesize(), int(resident) * resource.getpagesize()


def limit_memory(growth: int) -> None:
    """Let the address space of this process grow by so many bytes (RLIMIT_AS).

    Raises:
        OSError, ValueError: the limit is over the hard limit of the process.
    """
    size, _ = measure_memory()
    if size:
        resource.setrlimit(resource.RLIMIT_AS, (size + growth, size + growth))


def _call(name: str, *arguments: int | bytes) -> None:
    function = getattr(_LIBC, name, None)
    if function is not None:
        function(*arguments)
