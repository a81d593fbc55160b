"""``sidgan`` and ``python -m sidgan``: the command line, which may be stopped while it is still being imported."""

import sys


def main() -> None:
    """Entry point of both; see `sidgan.cli.main`."""
    try:
        from sidgan import cli

        cli.main()
    except KeyboardInterrupt:  # what comes later, cli itself tells
        print("sidgan: stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
