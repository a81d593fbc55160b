"""The provenance of outputs: `mark` records in each file that sidgan altered it, where, and with what model and inputs.

`credentials` signs files if the user has a certificate. `verdict` reads mark and signature and checks them.
"""

from sidgan.provenance.mark import MAX_SPANS, SENTENCE, SHOWN, Mark, Stretches, altered, digest_of, earlier, read
from sidgan.provenance.verdict import Check, Verdict, verify

__all__ = [
    "MAX_SPANS", "SENTENCE", "SHOWN", "Check", "Mark", "Stretches", "Verdict", "altered", "digest_of", "earlier",
    "read", "verify",
]  # fmt: skip
