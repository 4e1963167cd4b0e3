"""`python -m headstart`, the same as the `headstart` command; also what torchrun starts."""

import sys

from headstart.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
