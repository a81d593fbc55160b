"""``sidgan`` and ``python -m sidgan``: the command line, with Ctrl-C handled also while it is being imported."""

import sys


def main() -> None:
    """Entry point; see `sidgan.cli.main`."""
    try:
        from sidgan import cli

        cli.main()
    except KeyboardInterrupt:  # during the import; later interrupts are reported by `sidgan.cli`
        print("sidgan: stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
