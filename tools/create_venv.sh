#!/bin/sh
# Make .venv with the Python named, or say in a sentence why not.
python=$1
command -v "$python" >/dev/null || { echo "make: no $python on the PATH; install Python 3.11 or newer, or set PYTHON=" >&2; exit 2; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "make: $python is $("$python" -c 'import platform; print(platform.python_version())'); Python 3.11 or newer is needed, set PYTHON=" >&2
    exit 2
}
"$python" -m venv --clear .venv >/dev/null || { echo "make: $python cannot make virtual environments; on Debian, install python3-venv" >&2; exit 2; }
