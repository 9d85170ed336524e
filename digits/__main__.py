"""`python -m digits` is the command `digits`."""

import sys

from digits.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
