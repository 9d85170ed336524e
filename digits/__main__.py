"""The command `digits`, and `python -m digits`."""

from digits.commands.group import main

if __name__ == "__main__":
    main()
