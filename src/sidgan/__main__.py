"""``python -m sidgan``."""

from sidgan.cli import main

main()
