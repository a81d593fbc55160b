"""Signed outputs: a chain of certificates made here signs real files, and every change to them is noticed."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marked import HEX, copied, films, network, sidgan
from small import save_networks

from sidgan import dubbing, media, provenance
from sidgan.errors import ConfigError, OutputError
from sidgan.jobs import Job
from sidgan.provenance import Mark, Stretches, verify
from sidgan.provenance.credentials import COMPOSITE, Credentials, read

c2pa = pytest.importorskip("c2pa", reason="signatures are an extra: pip install 'sidgan[c2pa]'")
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402

SIGNING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip


def pem(key: Any, password: bytes | None = None, form: str = "PKCS8") -> bytes:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), lock)


def certificate(name: str, key: Any, issuer: tuple[str, Any], *, ca: bool = False, days: float = 9, usage: Any = None):
    """PEM of a certificate for ``key``, made by ``issuer`` (name, key)."""

    def named(text: str) -> x509.Name:
        pairs = ((NameOID.ORGANIZATION_NAME, "People who do not exist"), (NameOID.COMMON_NAME, text))
        return x509.Name([x509.NameAttribute(kind, value) for kind, value in pairs])

    now = datetime.now(UTC)
    uses = dict.fromkeys(USES, False) | ({"key_cert_sign": True} if ca else {"digital_signature": True})
    made = (
        x509.CertificateBuilder(named(issuer[0]), named(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=20)).not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca, None), True).add_extension(x509.KeyUsage(**uses), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key()), False)
    )  # fmt: skip
    if usage is not None:
        made = made.add_extension(usage, False)
    return made.sign(issuer[1], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem vouches for cert.pem, whose key is key.pem; other.pem vouches for nobody; late.pem is out of date ..."""
    safe = tmp_path_factory.mktemp("safe")
    root, key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    ca = certificate("Root", root, ("Root", root), ca=True)
    files = {
        "ca.pem": ca, "other.pem": certificate("Root", other, ("Root", other), ca=True),
        "cert.pem": certificate("Vera", key, ("Root", root), usage=SIGNING) + ca,
        "late.pem": certificate("Vera", key, ("Root", root), days=-1, usage=SIGNING) + ca,
        "web.pem": certificate("Vera", key, ("Root", root)) + ca,
        "key.pem": pem(key), "other_key.pem": pem(other), "locked.pem": pem(key, b"secret"), "text.pem": b"hello",
        "sec1.pem": pem(key, form="TraditionalOpenSSL"),
        "odd.pem": pem(ec.generate_private_key(ec.SECP256K1())),
    }  # fmt: skip
    kinds = {"rsa": rsa.generate_private_key(65537, 2048), "ed": ed25519.Ed25519PrivateKey.generate(),
             "p384": ec.generate_private_key(ec.SECP384R1())}  # fmt: skip
    for name, one in kinds.items():
        files |= {f"{name}.pem": certificate("Vera", one, ("Root", root), usage=SIGNING), f"{name}_key.pem": pem(one)}
    for name, text in files.items():
        (safe / name).write_bytes(text)
    return safe


@pytest.fixture(scope="module")
def credentials(safe: Path) -> Credentials:
    return Credentials(safe / "cert.pem", safe / "key.pem")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Path:
    """`films`, and signed.mp4 and signed.mov: the film dubbed and signed."""
    folder = films(tmp_path_factory.mktemp("signed"))
    dubber = dubbing.Dubber(generator=network(0), device="cpu")
    for name in ("signed.mp4", "signed.mov"):
        dubber.dub(folder / "film.mp4", folder / "voice.wav", folder / name, sign=credentials)
    return folder


@pytest.mark.parametrize("name", ["signed.mp4", "signed.mov"])
def test_a_signed_output_is_intact_and_says_the_same_twice(name: str, signed: Path, safe: Path) -> None:
    file = signed / name
    mark, signature = provenance.read(file), read(file)
    assert mark is not None
    assert signature is not None
    assert mark.signed
    assert (signature.state, signature.name) == ("intact", "Vera")
    assert signature.organisation == "People who do not exist"
    assert json.dumps(signature.record, sort_keys=True) == json.dumps(mark.to_dict(), sort_keys=True)
    assert verify(file, source=signed / "film.mp4", voice=signed / "voice.wav").holds
    assert verify(file, trust=safe / "ca.pem").signature.state == "trusted"
    assert len(list(media.read_frames(media.probe(file)))) == 32
    assert not list(signed.glob(".*"))  # no draft is left


def test_other_programs_find_what_was_done_and_when_in_the_film(signed: Path) -> None:
    with c2pa.Reader(str(signed / "signed.mp4")) as reader:
        manifest = reader.get_active_manifest()
    actions = next(a["data"]["actions"] for a in manifest["assertions"] if a["label"] == "c2pa.actions.v2")
    assert [one["action"] for one in actions] == ["c2pa.opened", "c2pa.edited", "c2pa.dubbed"]
    assert actions[1]["digitalSourceType"] == COMPOSITE
    times = [change["region"][0]["time"] for change in actions[1]["changes"]]
    mark = provenance.read(signed / "signed.mp4")
    assert mark is not None
    assert [(float(t["start"]), float(t["end"])) for t in times] == list(mark.edited.spans)
    assert manifest["claim_generator_info"][0]["name"] == "sidgan"
    assert "film" not in json.dumps(manifest)  # names of files are private


def test_trust_is_asked_for_and_otherwise_left_open(signed: Path, safe: Path) -> None:
    file = signed / "signed.mp4"
    code, said = sidgan("verify", file)
    assert (code, "anybody can choose such a name" in said) == (0, True)
    code, said = sidgan("verify", file, "--trust", safe / "ca.pem")
    assert (code, 'by "Vera"' in said) == (0, True)
    code, said = sidgan("verify", file, "--trust", safe / "other.pem")
    assert (code, "no certificate in" in said) == (1, True)
    assert sidgan("verify", signed / "film.mp4", "--trust", safe / "ca.pem")[0] == 1
    for wrong in ("key.pem", "text.pem", "missing.pem"):
        assert sidgan("verify", file, "--trust", safe / wrong)[0] == 2


def test_every_change_breaks_the_signature(signed: Path, tmp_path: Path) -> None:
    whole = (signed / "signed.mp4").read_bytes()
    picture = whole.index(b"mdat") + 600
    for place in (picture, whole.index(b'"weights":"') + 11, whole.index(b"sidgan.dub") + 40, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        (tmp_path / "changed.mp4").write_bytes(changed)
        code, said = sidgan("verify", tmp_path / "changed.mp4")
        assert code == 1, place
        assert "broken" in said or "damaged" in said


def test_a_signature_that_was_lost_is_missed(signed: Path, tmp_path: Path) -> None:
    copied(signed / "signed.mp4", tmp_path / "copy.mp4")
    code, said = sidgan("verify", tmp_path / "copy.mp4")
    assert (code, "signature lost" in said) == (1, True)


def test_a_signed_source_stays_in_the_history(signed: Path, credentials: Credentials, tmp_path: Path) -> None:
    dubber = dubbing.Dubber(generator=network(0), device="cpu")
    dubber.dub(signed / "signed.mp4", signed / "voice.wav", tmp_path / "twice.mp4", sign=credentials)
    assert verify(tmp_path / "twice.mp4", source=signed / "signed.mp4").holds
    with c2pa.Reader(str(tmp_path / "twice.mp4")) as reader:
        told = json.loads(reader.json())
    assert len(told["manifests"]) == 2
    (parent,) = told["manifests"][told["active_manifest"]]["ingredients"]
    assert parent["active_manifest"] in told["manifests"]


def draft(folder: Path, mark: Mark) -> Path:
    images = [np.full((96, 96, 3), shade, np.uint8) for shade in (10, 90, 200)]
    media.write_clip(folder / "draft.mp4", images, Fraction(25), tags=mark.tags())
    return folder / "draft.mp4"


MARK = Mark(model="m", weights=HEX, source=HEX, voice=HEX, edited=Stretches(((0.0, 0.08),)), signed=True)


@pytest.mark.parametrize("name", ["film.mkv", "cut.mp4"])
def test_a_source_that_cannot_carry_a_history_is_signed_for_without(
    name: str, signed: Path, credentials: Credentials, tmp_path: Path
) -> None:
    source = copied(signed / "film.mp4", tmp_path / "film.mkv")
    if name == "cut.mp4":
        source = tmp_path / name
        source.write_bytes((signed / "film.mp4").read_bytes()[:100])
    credentials.sign(draft(tmp_path, MARK), tmp_path / "out.mp4", source, MARK.to_dict(), MARK.edited.spans)
    assert verify(tmp_path / "out.mp4").holds
    signature = read(tmp_path / "out.mp4")
    assert signature is not None
    assert signature.state == "intact"


def test_a_signature_over_another_record_does_not_count(
    signed: Path, credentials: Credentials, tmp_path: Path
) -> None:
    other = dataclasses.replace(MARK, voice=HEX[::-1])
    credentials.sign(draft(tmp_path, MARK), tmp_path / "out.mp4", signed / "film.mp4", other.to_dict(), ())
    verdict = verify(tmp_path / "out.mp4")
    assert not verdict.holds
    assert "the mark differs from what was signed" in verdict.lines()[-1]


def test_a_signature_of_another_program_is_no_mark(credentials: Credentials, signed: Path, tmp_path: Path) -> None:
    film = signed / "film.mp4"
    opened = {"actions": [{"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}]}
    manifest = {"claim_generator_info": [{"name": "camera"}],
                "assertions": [{"label": "c2pa.actions.v2", "data": opened}]}  # fmt: skip
    with film.open("rb") as before, (tmp_path / "out.mp4").open("w+b") as after:
        credentials._sign(manifest, "video/mp4", before, after, film)
    verdict = verify(tmp_path / "out.mp4")
    assert (verdict.marked, verdict.holds) == (False, False)
    assert verdict.signature is not None
    assert verdict.signature.record is None


@pytest.mark.parametrize("kind", ["rsa", "ed", "p384"])
def test_other_kinds_of_keys_sign_too(kind: str, safe: Path, signed: Path, tmp_path: Path) -> None:
    one = Credentials(safe / f"{kind}.pem", safe / f"{kind}_key.pem")
    one.sign(draft(tmp_path, MARK), tmp_path / "out.mp4", signed / "film.mp4", MARK.to_dict(), MARK.edited.spans)
    assert verify(tmp_path / "out.mp4", trust=safe / "ca.pem").holds


def test_keys_in_the_old_form_are_read(safe: Path) -> None:
    assert Credentials(safe / "cert.pem", safe / "sec1.pem")


@pytest.mark.parametrize(
    ("chain", "key", "text"),
    [
        ("missing.pem", "key.pem", "missing.pem cannot be read"),
        ("cert.pem", "missing.pem", "missing.pem cannot be read"),
        ("key.pem", "key.pem", "key.pem holds no certificate"),
        ("cert.pem", "cert.pem", "cert.pem holds no private key"),
        ("cert.pem", "text.pem", "text.pem holds no private key"),
        ("cert.pem", "locked.pem", "locked.pem is encrypted"),
        ("cert.pem", "odd.pem", "kind of key"),
        ("cert.pem", "other_key.pem", "cannot sign C2PA"),
        ("late.pem", "key.pem", "valid today"),
        ("web.pem", "key.pem", "made for signing"),
        ("ca.pem", "key.pem", "cannot sign C2PA"),
    ],
)
def test_credentials_that_cannot_sign_are_refused_at_once(
    chain: str, key: str, text: str, signed: Path, safe: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        Credentials(safe / chain, safe / key)
    assert "\n" not in str(caught.value)
    code, _ = sidgan(
        "dub", signed / "film.mp4", signed / "voice.wav", "-o", tmp_path / "out.mp4",
        "--sign", safe / chain, "--key", safe / key,
    )  # fmt: skip
    assert code == 2
    assert not list(tmp_path.iterdir())


def test_a_list_knows_with_which_certificate_a_dub_was_signed(signed: Path, safe: Path) -> None:
    model, _ = save_networks(signed, 64)
    job = Job(signed / "film.mp4", signed / "voice.wav", signed / "listed.mp4", model=str(model), device="cpu",
              sign=safe / "cert.pem", key=safe / "key.pem")  # fmt: skip
    job.run(lambda *_: None, print)
    assert job.is_made()
    assert not replace(job, sign=safe / "p384.pem", key=safe / "p384_key.pem").is_made()
    assert not replace(job, sign=None, key=None).is_made()


def test_matroska_cannot_carry_a_signature(credentials: Credentials, signed: Path, tmp_path: Path) -> None:
    for call in (dubbing.check, dubbing.Dubber(generator=network(0), device="cpu").dub):
        with pytest.raises(OutputError, match=r"use \.mp4 or \.mov"):
            call(signed / "film.mp4", signed / "voice.wav", tmp_path / "out.mkv", sign=credentials)
        with pytest.raises(OutputError, match="nowhere does not exist"):
            call(signed / "film.mp4", signed / "voice.wav", tmp_path / "nowhere" / "out.mp4", sign=credentials)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_where_signing_fails(
    credentials: Credentials, signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (OSError(28, "No space left on device"), c2pa.C2paError("Io:\n no space left")):

        def full(*args: Any, error: Exception = error) -> None:
            args[3].write(b"half a file")
            raise error

        monkeypatch.setattr(credentials, "_sign", full)
        with pytest.raises(OutputError, match="no space left") as caught:
            dubbing.Dubber(generator=network(0), device="cpu").dub(
                signed / "film.mp4", signed / "voice.wav", tmp_path / "out.mp4", sign=credentials
            )
        assert "\n" not in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == [".out.mp4.sidgan"]  # what is done is not lost with it
