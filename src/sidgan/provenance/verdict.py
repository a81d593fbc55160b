"""What a file says about itself, compared with what is known of it."""

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
    """One thing that was compared with the mark: ``mark``, ``source``, ``voice`` or ``signature``."""

    what: str
    holds: bool
    line: str


@dataclass(frozen=True)
class Verdict:
    """What a file says about itself, and whether it agrees with what it was compared with.

    Attributes:
        marked: it says that sidgan altered it.
        mark: what else it says, where that can be read.
        signature: its signature, if any.
        checks: all that was compared.
    """

    file: Path
    marked: bool
    mark: Mark | None
    signature: credentials.Signature | None
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Marked, and everything that was compared agrees."""
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
        """The same to read."""
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
    """Read what a video says about itself, and compare it with what is given.

    Args:
        file: any video.
        source, voice: the files that it should have been made from.
        trust: PEM file with certificates; the signer's must be, or lead to, one of them.

    Returns:
        What the file says, and each comparison. ``holds`` is true where the file is marked and all comparisons agree;
        ``lines()`` is what `sidgan verify` prints.

    Raises:
        InputError: ``file`` is no video, or another file cannot be read.
        ConfigError: ``trust`` holds no certificates, or `c2pa-python`, which it needs, is not installed.
    """
    file, trust = Path(file), None if trust is None else Path(trust)
    media.probe(file)
    mark, checks, marked = None, [], True
    given = {what: (path, digest_of(Path(path)))
             for what, path in (("source", source), ("voice", voice)) if path is not None}  # fmt: skip
    try:
        mark = read(file)
        marked = mark is not None
    except MarkError:
        checks.append(Check("mark", False, "the rest of the mark is damaged; ask for the original file"))
    for what, (path, found) in given.items():
        stated = () if mark is None else (mark.source,) if what == "source" else (mark.voice, *mark.voices)
        verb = "is" if found in stated else "is NOT" if stated else "cannot be shown to be"
        checks.append(Check(what, found in stated, f"{path} {verb} the file it was made from"))
    signature = credentials.read(file, trust) if trust is not None or credentials.available() else None
    checks += _judged(mark, signature, trust)
    return Verdict(file, marked, mark, signature, tuple(checks))


def _judged(mark: Mark | None, signature: credentials.Signature | None, trust: Path | None) -> list[Check]:
    def one(holds: bool, line: str) -> list[Check]:
        return [Check("signature", holds, line)]

    if signature is None:
        if mark is not None and mark.signed:
            if not credentials.available():
                return one(True, f"not checked; run: {credentials.INSTALL}")
            return one(False, "lost: the file was signed, but another program copied or changed it since")
        if trust is not None:
            return one(False, "the file is not signed")
        return one(True, "none, so anybody could have written or changed this mark") if mark is not None else []
    if signature.state == "broken":
        return one(False, f"broken: the file was changed after signing ({'; '.join(signature.reasons)})")
    who = f'"{signature.name}" of "{signature.organisation}"'
    if mark is not None and (mark.signed or signature.record is not None) and not _same(mark, signature.record):
        return one(False, f"by {who}, but the mark differs from what was signed")
    if signature.state == "trusted":
        return one(True, f"intact, by {who}; trusted by a certificate in {trust}")
    if trust is not None:
        return one(False, f"intact, by {who}, but no certificate in {trust} vouches for this name")
    return one(True, f"intact, by {who}; anybody can choose such a name, so check it with --trust")


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
    lines += [f"  adapted   SHA-256 {one}" for one in mark.adapted]
    lines.append(f"  source    SHA-256 {mark.source}")
    return lines + [f"  voice     SHA-256 {one}" for one in (mark.voice, *mark.voices)]
