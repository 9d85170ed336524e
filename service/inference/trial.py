"""A trial of a network in a process of its own, before it is loaded into one that serves.

A network with changed bytes can end the process that runs it: of 22,480 TFLite models with one changed word or byte
outside of the weights, 3 did so by SIGSEGV, and 23 took 0.3 to 1 GB of memory. A checksum does not help: a manifest can
list that of the changed file. In the arbiter such a network would end the service, in a worker the worker, again and
again.

The process runs the same warm-up, with limits on CPU time, wall time and memory. The arbiter forks it, which takes 20
ms. A process with threads must not fork, so a worker starts a new one: 0.2 s of CPU time with LiteRT; with TensorFlow
most of the time is its import.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple, NoReturn

from service.inference.predictions import Predictions
from service.inference.rejection import ModelRejected, one_line
from service.inference.runtimes import LiteRT, Runtime, TensorFlow
from service.inference.warm_up import warm_up
from service.system_calls import kill_with_parent, limit_memory, set_malloc_option

SECONDS = {"litert": 20, "tensorflow": 60}
"""CPU time and wall time of a trial, by runtime: a hundred times what it takes, but for the import of TensorFlow."""
MEMORY_BYTES = {"litert": 256 << 20, "tensorflow": 4 << 30}
"""How much the address space of the process may grow, by runtime, besides MEMORY_FACTOR times the network's size."""
MEMORY_FACTOR = 8
"""The network's file, its weights as the runtime packs them, and the same for a second interpreter."""
NICE = 10
M_ARENA_MAX = -8

BOOTSTRAP = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from service.inference import trial; trial.main()"


class Outcome(NamedTuple):
    """How the process of a trial ended: exit code or -signal as in subprocess, and the rejection as JSON."""

    code: int
    output: bytes


def try_network(network: bytes | Path, size: int) -> None:
    """Load and warm up a network in another process.

    Args:
        network: the content of a `.tflite` file for LiteRT, or the directory of a SavedModel for TensorFlow.
        size: the size of the network in bytes.

    Raises:
        ModelRejected: it cannot be loaded or run, or ends the process, or takes too much time or memory.
    """
    runtime = "tensorflow" if isinstance(network, Path) else "litert"
    growth = MEMORY_BYTES[runtime] + MEMORY_FACTOR * size
    try:
        if isinstance(network, bytes) and may_fork():
            outcome = _fork(network, growth)
        else:
            outcome = _spawn(runtime, network, growth)
    except TimeoutError:
        raise ModelRejected(
            "crash", f"the model takes over {SECONDS[runtime]} s to load and run", transient=True
        ) from None
    except OSError as error:
        message = f"the process to try the model in cannot be started: {one_line(error)}"
        raise ModelRejected("error", message, transient=True) from error
    _check(outcome)


def may_fork() -> bool:
    """Whether this process has a single thread; those of TensorFlow are none of Python's."""
    return threading.active_count() == 1 and "tensorflow" not in sys.modules


def _fork(content: bytes, growth: int) -> Outcome:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _try_and_exit("litert", content, growth, writer)
    os.close(writer)
    try:
        in_time = bool(select.select([reader], [], [], SECONDS["litert"])[0])
        output = os.read(reader, 1 << 16) if in_time else b""
    finally:
        os.close(reader)
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not in_time:
        raise TimeoutError
    return Outcome(code, output)


def _spawn(runtime: str, network: bytes | Path, growth: int) -> Outcome:
    directory, content = (str(network), b"") if isinstance(network, Path) else ("", network)
    command = [sys.executable, "-c", BOOTSTRAP, json.dumps(sys.path), runtime, str(growth), directory]
    try:
        done = subprocess.run(
            command,
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS[runtime],
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return Outcome(done.returncode, done.stdout)


def _check(outcome: Outcome) -> None:
    """Raise what the process reported, or how it ended."""
    if outcome.code < 0:
        name = signal.Signals(-outcome.code).name
        transient = name == "SIGKILL"  # the kernel, for lack of memory, or an operator
        raise ModelRejected("crash", f"the model ends the process that runs it by {name}", transient=transient)
    try:
        rejection = json.loads(outcome.output)
    except ValueError:
        message = f"the process that tried the model ended with exit code {outcome.code}"
        raise ModelRejected("crash", message) from None
    if rejection:
        raise ModelRejected(rejection["reason"], rejection["message"])


def main() -> NoReturn:
    """Try the network of `sys.argv` and standard input, and write the rejection as JSON to standard output."""
    runtime, growth, directory = sys.argv[2:]
    network = Path(directory) if runtime == "tensorflow" else sys.stdin.buffer.read()
    _try_and_exit(runtime, network, int(growth), os.dup(1))


def _try_and_exit(runtime: str, network: bytes | Path, growth: int, output: int) -> NoReturn:
    """Try a network in this process, write the rejection as JSON to a descriptor, {} if there is none, and exit."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)  # libraries write there
        faulthandler.disable()  # a crash is reported by the other process, in one line
        _limit_process(runtime, growth)
        os.write(output, json.dumps(_try(network, growth)).encode())
        code = 0
    finally:
        os._exit(code)  # without the destructors of a network that may be damaged


def _try(network: bytes | Path, growth: int) -> dict[str, str]:
    """Load and warm up a network; return the reason and the message of its rejection, {} if there is none."""
    try:
        run: Runtime = TensorFlow(network) if isinstance(network, Path) else LiteRT(network)
        warm_up(lambda batch: Predictions.from_probabilities(run(batch), 0.0))
    except ModelRejected as error:
        return {"reason": error.reason, "message": str(error)}
    except MemoryError:
        return {"reason": "crash", "message": f"the model takes over {growth >> 20} MiB of memory"}
    except Exception as error:  # noqa: BLE001 - libraries raise it for a network that they cannot run
        return {"reason": "signature", "message": f"the model cannot be run: {one_line(error)}"}
    return {}


def _limit_process(runtime: str, growth: int) -> None:
    """End with the parent, leave the cores to others, and limit CPU time and memory."""
    kill_with_parent()
    set_malloc_option(M_ARENA_MAX, 1)  # one for each thread would reserve 64 MiB of address space each
    with contextlib.suppress(AttributeError):  # not on Linux
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # large batches start a thread for each core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes: the parent decides
    os.nice(NICE)
    if runtime == "tensorflow":
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorflow")  # before the memory is limited
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds = int(used.ru_utime + used.ru_stime) + SECONDS[runtime]
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    with contextlib.suppress(OSError, ValueError):  # a lower hard limit
        limit_memory(growth)
