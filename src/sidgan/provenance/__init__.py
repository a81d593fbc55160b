"""What every output says about itself: altered by sidgan, with what, from what, and where (`mark`).

`credentials` signs files, where the user has a certificate. `verdict` reads both and compares them with what is known.
"""

from sidgan.provenance.mark import MAX_SPANS, SENTENCE, SHOWN, Mark, Stretches, altered, digest_of, earlier, read
from sidgan.provenance.verdict import Check, Verdict, verify

__all__ = [
    "MAX_SPANS", "SENTENCE", "SHOWN", "Check", "Mark", "Stretches", "Verdict", "altered", "digest_of", "earlier",
    "read", "verify",
]  # fmt: skip
