"""Can this computer dub: what is there, what is missing and how to add it, what would do the work, and how fast.

Nothing heavy is imported until it is looked at, so that what is broken can be told instead of ending the look.
"""

from sidgan.doctor.checkup import Checkup, examine
from sidgan.doctor.findings import Finding

__all__ = ["Checkup", "Finding", "examine"]
