"""`headstart` and `python -m headstart`; also what torchrun starts."""

import signal
import sys


def main() -> int:
    """Carry out the process's own command line and return its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends what has only begun to load, and says no more
    from headstart.cli.main import main as carry_out

    return carry_out()


if __name__ == "__main__":
    sys.exit(main())
