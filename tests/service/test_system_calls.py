"""service/system_calls.py in a process of its own."""

import subprocess
import sys

LIMITED = """
from service.system_calls import limit_memory, measure_memory, name_process, trim_memory
name_process(b"digits-test")
assert open("/proc/self/comm").read() == "digits-test\\n"
size, resident = measure_memory()
assert size > resident > 1 << 20
limit_memory(64 << 20)
kept = bytearray(32 << 20)
assert measure_memory()[1] - resident >= 32 << 20
try:
    bytearray(128 << 20)
except MemoryError:
    print("limited")
del kept
trim_memory()
assert measure_memory()[1] - resident < 16 << 20
"""


def test_memory_is_measured_limited_and_returned() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "limited\n"), done.stderr
