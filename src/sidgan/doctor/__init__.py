"""Checks whether this computer can dub: what is installed, what is missing and how to add it, the device, the speed.

Each package is imported only when it is checked, so that a broken one is reported instead of stopping the check.
"""

from sidgan.doctor.checkup import Checkup, examine
from sidgan.doctor.findings import Finding

__all__ = ["Checkup", "Finding", "examine"]
