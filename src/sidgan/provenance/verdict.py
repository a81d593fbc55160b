"""Verification: a file's mark and signature, compared with the files that it should have been made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sidgan import media
from sidgan.arguments import checked
from sidgan.errors import MarkError, plain
from sidgan.provenance import credentials
from sidgan.provenance.mark import Mark, digest_of, mark_of, read


@dataclass(frozen=True)
class Check:
    """The result of one check; ``what`` is ``mark``, ``source``, ``voice`` or ``signature``."""

    what: str
    holds: bool
    line: str


@dataclass(frozen=True)
class Verdict:
    """The result of `verify`.

    Attributes:
        file: the verified file.
        marked: whether the file is marked as altered by sidgan.
        mark: the mark; ``None`` if there is none or it is damaged.
        signature: the signature, if any.
        checks: the result of each check.
    """

    file: Path
    marked: bool
    mark: Mark | None
    signature: credentials.Signature | None
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether the file is marked and all checks hold."""
        return self.marked and all(check.holds for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        signature = None if self.signature is None else asdict(self.signature)
        return {
            "file": str(self.file), "holds": self.holds, "marked": self.marked,
            "mark": None if self.mark is None else self.mark.to_dict(), "signature": signature,
            "checks": [asdict(check) for check in self.checks],
        }  # fmt: skip

    def lines(self) -> list[str]:
        """The verdict as lines of text for the user."""
        if not self.marked:
            head = [f"{self.file} is not marked as altered by sidgan; this does not prove that nobody altered it"]
        elif self.mark is None:
            head = [f"{self.file} is marked as altered by sidgan"]
        else:
            head = [f"{self.file} is marked as altered by sidgan {self.mark.sidgan}: sound replaced, mouth redrawn"]
            head += _described(self.mark)
        return [plain(line) for line in head + [f"  {check.what:<10}{check.line}" for check in self.checks]]


@checked
def verify(
    file: Path | str, *, source: Path | str | None = None, voice: Path | str | None = None,
    trust: Path | str | None = None,
) -> Verdict:  # fmt: skip
    """Read a video's mark and signature, and check them against the given files.

    Args:
        file: any video.
        source, voice: the files that it should have been made from.
        trust: PEM file with trusted certificates; the signer's certificate must be one of them or lead to one.

    Returns:
        The mark, the signature and each check. ``holds`` is true if the file is marked and all checks hold;
        ``lines()`` is what `sidgan verify` prints.

    Raises:
        InputError: ``file`` is not a video, or another file cannot be read.
        ConfigError: ``trust`` holds no certificates, or `c2pa-python`, which it needs, is not installed.
    """
    file, trust = Path(file), None if trust is None else Path(trust)
    media.probe(file)
    mark, checks, marked = None, [], True
    digests = {what: (path, digest_of(Path(path)))
               for what, path in (("source", source), ("voice", voice)) if path is not None}  # fmt: skip
    try:
        mark = read(file)
        marked = mark is not None
    except MarkError:
        checks.append(Check("mark", False, "the rest of the mark is damaged; ask for the original file"))
    for what, (path, digest) in digests.items():
        stated = () if mark is None else (mark.source,) if what == "source" else (mark.voice, *mark.voices)
        verb = "is" if digest in stated else "is NOT" if stated else "cannot be shown to be"
        checks.append(Check(what, digest in stated, f"{path} {verb} the file it was made from"))
    signature = credentials.read(file, trust) if trust is not None or credentials.available() else None
    checks += _signature_checks(mark, signature, trust)
    return Verdict(file, marked, mark, signature, tuple(checks))


def _signature_checks(mark: Mark | None, signature: credentials.Signature | None, trust: Path | None) -> list[Check]:
    def result(holds: bool, line: str) -> list[Check]:
        return [Check("signature", holds, line)]

    if signature is None:
        if mark is not None and mark.signed:
            if not credentials.available():
                return result(True, f"not checked; run: {credentials.INSTALL}")
            return result(False, "lost: the file was signed, but another program copied or changed it since")
        if trust is not None:
            return result(False, "the file is not signed")
        return result(True, "none, so anybody could have written or changed this mark") if mark is not None else []
    if signature.state == "broken":
        return result(False, f"broken: the file was changed after signing ({'; '.join(signature.reasons)})")
    signer = f'"{signature.name}" of "{signature.organisation}"'
    if mark is not None and (mark.signed or signature.record is not None) and not _same(mark, signature.record):
        return result(False, f"by {signer}, but the mark differs from what was signed")
    if signature.state == "trusted":
        return result(True, f"intact, by {signer}; trusted by a certificate in {trust}")
    if trust is not None:
        return result(False, f"intact, by {signer}, but no certificate in {trust} vouches for this name")
    return result(True, f"intact, by {signer}; anybody can choose such a name, so check it with --trust")


def _same(mark: Mark, record: object) -> bool:
    try:
        return mark_of(record) == mark
    except (ValueError, TypeError, KeyError):
        return False


def _described(mark: Mark) -> list[str]:
    lines = [f"  redrawn   {mark.edited}"]
    if mark.earlier:
        lines.append(f"  earlier   {mark.earlier}, in the source already")
    lines.append(f"  model     {mark.model}, SHA-256 {mark.weights}")
    lines += [f"  adapted   SHA-256 {digest}" for digest in mark.adapted]
    lines.append(f"  source    SHA-256 {mark.source}")
    return lines + [f"  voice     SHA-256 {digest}" for digest in (mark.voice, *mark.voices)]
