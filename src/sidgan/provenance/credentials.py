"""Signed marks: C2PA manifests in mp4 and mov files.

A manifest says what was done to a file and is signed with a private key; the certificate beside it names the signer.
An *intact* signature shows that nothing was changed since somebody with that key signed. Who that was it does not show:
anybody can make a certificate in any name. It is *trusted* where the certificate leads to one that the reader named.
Nothing is fetched from a network: no manifests, no lists of withdrawn certificates, no times from a third party, so
the time in a manifest is the signer's word as well.

The package `c2pa-python` does the work (extra ``c2pa``); everything else runs without it.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sidgan.arguments import checked
from sidgan.errors import ConfigError, OutputError
from sidgan.files import check_target, ending, finished, writing
from sidgan.version import __version__

LABEL = "sidgan.dub"  #: of the assertion that holds the record
#: IPTC's term for filmed material with parts that a trained network made
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
DRAWN = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"
KINDS = {".mp4": "video/mp4", ".mov": "video/quicktime"}
SETTINGS: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
UNTRUSTED = "signingCredential.untrusted"
INSTALL = "pip install 'sidgan[c2pa]'"


@dataclass(frozen=True)
class Signature:
    """The newest manifest in a file.

    Attributes:
        state: ``trusted``, ``intact`` or ``broken``.
        name, organisation: of the signer, as the certificate says.
        reasons: why it is broken, in the words of the library.
        record: what sidgan signed about the file; ``None`` in manifests of other programs.
    """

    state: str
    name: str = ""
    organisation: str = ""
    reasons: tuple[str, ...] = ()
    record: Any = None


class Credentials:
    """A certificate and its key, which can sign files.

    They are tried at once on a picture of nothing, so that none is found wanting after minutes of work.

    Args:
        certificate: PEM file, the signer's own certificate first, then those that vouch for it.
        key: PEM file with its private key, not encrypted: EC (P-256, P-384, P-521), RSA or Ed25519.

    Raises:
        ConfigError: they cannot be read, do not belong together, or are not fit for C2PA; or `c2pa-python` is not
            installed.
    """

    @checked
    def __init__(self, certificate: Path | str, key: Path | str) -> None:
        _require()
        self._chain = _certificates(Path(certificate))
        self._algorithm, self._key = _private(Path(key))
        blank = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
        made = {"actions": [{"action": "c2pa.created", "digitalSourceType": DRAWN}]}
        manifest = _manifest([{"label": "c2pa.actions.v2", "data": made}])
        try:
            self._sign(manifest, "image/png", io.BytesIO(blank), io.BytesIO())
        except _failure() as error:
            raise ConfigError(
                f"{certificate} with {key} cannot sign C2PA ({_reason(error)}); give the key's own certificate, valid "
                "today and made for signing (usage emailProtection or documentSigning), with its chain behind it"
            ) from error

    def draft(self, out: Path) -> Path:
        """Where to write a file that is to be signed into ``out``: a hidden name beside it.

        Raises:
            OutputError: ``out`` is of a kind that cannot carry a signature, or cannot be written.
        """
        if ending(out) not in KINDS:
            raise OutputError(f"{out}: {out.suffix or 'this file'} cannot carry a signature; use {' or '.join(KINDS)}")
        check_target(out)
        return out.with_name(f".{out.stem}.unsigned{out.suffix}")

    def sign(
        self, draft: Path, out: Path, source: Path, record: Mapping[str, Any], spans: Sequence[tuple[float, float]]
    ) -> None:
        """Write ``draft`` with a manifest as ``out``.

        Args:
            source: the video it was made from; a manifest that it carries is kept as the file's history.
            record: plain values to sign along.
            spans: seconds of which the pictures were changed.

        Raises:
            OutputError: it cannot be written.
        """
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        who = {"name": "sidgan", "version": __version__}
        actions: list[dict[str, Any]] = [{"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}]
        if spans:
            times = [{"type": "npt", "start": f"{a:.3f}", "end": f"{b:.3f}"} for a, b in spans]
            changes = [{"region": [{"type": "temporal", "time": time}]} for time in times]
            actions.append({
                "action": "c2pa.edited", "when": now, "softwareAgent": who, "digitalSourceType": COMPOSITE,
                "description": "mouth redrawn to new audio", "changes": changes,
            })  # fmt: skip
        actions.append({"action": "c2pa.dubbed", "when": now, "softwareAgent": who, "description": "sound replaced"})
        manifest = _manifest(
            [{"label": "c2pa.actions.v2", "data": {"actions": actions}}, {"label": LABEL, "data": dict(record)}]
        )
        try:
            with finished(out) as part, writing(out), draft.open("rb") as before, part.open("w+b") as after:
                self._sign(manifest, KINDS[ending(out)], before, after, source)
        except _failure() as error:
            raise OutputError(f"{out} cannot be signed ({_reason(error)}); free space or dub without --sign") from error

    def _sign(self, manifest: dict[str, Any], kind: str, before: Any, after: Any, source: Path | None = None) -> None:
        import c2pa

        info = c2pa.C2paSignerInfo(self._algorithm, self._chain, self._key, None)
        with (
            c2pa.Context.from_dict(SETTINGS) as how, c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest, how) as builder,
        ):  # fmt: skip
            if source is not None:
                parent = {"title": "source video", "relationship": "parentOf", "label": "source"}
                try:
                    with source.open("rb") as film:
                        builder.add_ingredient(parent, "video/mp4", film)
                except c2pa.C2paError:  # not mp4 or its kin: named without a history, since it cannot carry one
                    builder.add_ingredient(parent, "application/octet-stream", io.BytesIO())
            builder.sign(signer, kind, before, after)


def available() -> bool:
    """Whether `c2pa-python` is installed."""
    return importlib.util.find_spec("c2pa") is not None


def read(file: Path, trust: Path | None = None) -> Signature | None:
    """The newest signature in a file, checked; ``None`` where there is none.

    Args:
        file: any file. Only mp4, mov and their kin are looked into.
        trust: PEM file with certificates to trust.

    Raises:
        ConfigError: ``trust`` holds no certificates.
            Also where `c2pa-python` is not installed.
    """
    _require()
    import c2pa

    settings = SETTINGS if trust is None else SETTINGS | {"trust": {"trust_anchors": _certificates(trust).decode()}}
    if not _may_be_signed(file):
        return None
    try:
        with (
            c2pa.Context.from_dict(settings) as how, file.open("rb") as film,
            c2pa.Reader("video/mp4", film, context=how) as reader,
        ):  # fmt: skip
            return _told(reader.get_validation_state(), reader.get_active_manifest(), reader.get_validation_results())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:
        return Signature("broken", reasons=(_reason(error),))


def _told(state: str | None, manifest: Any, results: Any) -> Signature:
    failures = [one for one in results["activeManifest"]["failure"] if one["code"] != UNTRUSTED]
    signer = manifest.get("signature_info") or {}
    record = next((a["data"] for a in manifest.get("assertions", []) if a["label"] == LABEL), None)
    return Signature(
        {"Trusted": "trusted", "Valid": "intact"}.get(state or "", "broken"), str(signer.get("common_name", "")),
        str(signer.get("issuer", "")), tuple(str(one.get("explanation", one["code"])) for one in failures), record,
    )  # fmt: skip


def _manifest(assertions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"claim_generator_info": [{"name": "sidgan", "version": __version__}], "assertions": assertions}


def _may_be_signed(file: Path) -> bool:
    """Whether a file begins as mp4 and mov do."""
    with file.open("rb") as start:
        return start.read(8)[4:] == b"ftyp"


def _private(file: Path) -> tuple[str, bytes]:
    """C2PA's name for a key's algorithm, and the key as PKCS 8."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    text = _read(file)
    try:
        key = serialization.load_pem_private_key(text, None)
    except TypeError as error:
        raise ConfigError(f"{file} is encrypted; give the key without its password") from error
    except ValueError as error:
        raise ConfigError(f"{file} holds no private key; give the certificate's key as PEM") from error
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256", pem
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519", pem
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in curves:
        return curves[key.curve.name], pem
    raise ConfigError(f"{file} is a kind of key that C2PA does not support; use EC (P-256), RSA or Ed25519")


def _certificates(file: Path) -> bytes:
    from cryptography import x509

    text = _read(file)
    try:
        x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise ConfigError(f"{file} holds no certificate; give a text file with BEGIN CERTIFICATE lines") from error
    return text


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{file} cannot be read ({reason}); check the name") from error


def _require() -> None:
    if not available():
        raise ConfigError(f"signatures need c2pa-python; run: {INSTALL}")


def _failure() -> type[Exception]:
    import c2pa

    return c2pa.C2paError


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
