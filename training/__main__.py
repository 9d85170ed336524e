"""`python -m training`: see training/cli.py."""

import sys

try:
    from training.cli import main
except KeyboardInterrupt:  # the imports take part of a second
    sys.exit(130)

sys.exit(main())
