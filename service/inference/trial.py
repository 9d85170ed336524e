"""A trial of a network in a process of its own, before it is loaded into one that serves.

A network with changed bytes can end the process that runs it: of 22,480 TFLite models with one changed word or byte
outside of the weights, 3 did so by SIGSEGV, and 23 took 0.3 to 1 GB of memory. A checksum does not help: a manifest can
list that of the changed file. In the arbiter such a network would end the service, in a worker the worker, again and
again.

The process runs the same warm-up, with limits on CPU time, wall time and memory. It is a new one, not a fork, because
workers have threads. It takes 0.2 s of CPU time with LiteRT; with TensorFlow most of the time is its import.
"""

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from service.inference.predictions import Predictions
from service.inference.rejection import ModelRejected, one_line
from service.inference.runtimes import LiteRT, Runtime, TensorFlow
from service.inference.warm_up import warm_up

SECONDS = 60
"""CPU time and wall time of a trial; importing TensorFlow takes most of it on a busy machine."""
MEMORY_BYTES = {"litert": 256 << 20, "tensorflow": 4 << 30}
"""How much the address space of the process may grow, by runtime, besides MEMORY_FACTOR times the network's size."""
MEMORY_FACTOR = 8
"""The network's file, its weights as the runtime packs them, and the same for a second interpreter."""
NICE = 10
PR_SET_PDEATHSIG = 1

BOOTSTRAP = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from service.inference import trial; trial.main()"


def try_network(network: bytes | Path, size: int) -> None:
    """Load and warm up a network in another process.

    Args:
        network: the content of a `.tflite` file for LiteRT, or the directory of a SavedModel for TensorFlow.
        size: the size of the network in bytes.

    Raises:
        ModelRejected: it cannot be loaded or run, or ends the process, or takes too much time or memory.
    """
    runtime = "tensorflow" if isinstance(network, Path) else "litert"
    limit = MEMORY_BYTES[runtime] + MEMORY_FACTOR * size
    arguments = [json.dumps(sys.path), runtime, str(limit), str(network) if isinstance(network, Path) else ""]
    content = network if isinstance(network, bytes) else b""
    try:
        done = subprocess.run(
            [sys.executable, "-c", BOOTSTRAP, *arguments],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"MALLOC_ARENA_MAX": "1"},  # each arena would reserve 64 MiB of address space
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelRejected("crash", f"the model takes over {SECONDS} s to load and run", transient=True) from None
    except OSError as error:
        message = f"the process to try the model in cannot be started: {one_line(error)}"
        raise ModelRejected("error", message, transient=True) from error
    _check_result(done)


def _check_result(done: "subprocess.CompletedProcess[bytes]") -> None:
    """Raise what the process reported, or how it ended."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        transient = name == "SIGKILL"  # the kernel, for lack of memory, or an operator
        raise ModelRejected("crash", f"the model ends the process that runs it by {name}", transient=transient)
    try:
        rejection = json.loads(done.stdout)
    except ValueError:
        message = f"the process that tried the model ended with exit code {done.returncode}"
        raise ModelRejected("crash", message) from None
    if rejection:
        raise ModelRejected(rejection["reason"], rejection["message"])


def main() -> NoReturn:
    """Try the network of `sys.argv`, and write the rejection as JSON to standard output; {} if there is none."""
    runtime, limit, directory = sys.argv[2:]
    output = os.dup(1)
    os.dup2(2, 1)  # libraries write there
    _limit_process(runtime, int(limit))
    rejection = {}
    try:
        network: Runtime = TensorFlow(Path(directory)) if runtime == "tensorflow" else LiteRT(sys.stdin.buffer.read())
        warm_up(lambda batch: Predictions.from_probabilities(network(batch), 0.0))
    except ModelRejected as error:
        rejection = {"reason": error.reason, "message": str(error)}
    except MemoryError:
        rejection = {"reason": "crash", "message": f"the model takes over {int(limit) >> 20} MiB of memory"}
    except Exception as error:  # noqa: BLE001 - libraries raise it for a network that they cannot run
        rejection = {"reason": "signature", "message": f"the model cannot be run: {one_line(error)}"}
    os.write(output, json.dumps(rejection).encode())
    os._exit(0)  # without the destructors of a network that may be damaged


def _limit_process(runtime: str, growth: int) -> None:
    """End with the parent, leave the cores to others, and limit CPU time and memory."""
    with contextlib.suppress(AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # a thread for each core would need memory, too
    os.nice(NICE)
    if runtime == "tensorflow":
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorflow")  # before the memory is limited
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    with contextlib.suppress(OSError, ValueError):  # no /proc, or a lower hard limit
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + growth
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
