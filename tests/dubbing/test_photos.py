"""A photo speaks: it is read as a short video, and shown as long as the voice lasts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from made_files import black_png
from typer.testing import CliRunner

from sidgan import dub, geometry, media, provenance
from sidgan.cli import app
from sidgan.dubbing import faces, strip
from sidgan.dubbing.analysis import analyse
from sidgan.errors import InputError, NoFaceError
from sidgan.jobs import Job
from sidgan.media.stills import FRAMES
from sidgan.synth import LINES, Mouth, Person, Portrait, Pose, Scene
from sidgan.timeline import LENGTHS
from sidgan.types import Byte

SECONDS = 2.0


@pytest.fixture(scope="module")
def photo() -> Byte:
    """(241, 221, 3) RGB: somebody who smiles."""
    smile = Mouth(opening=0.3, spread=0.8, teeth=0.7)
    return Portrait(Person(5), (241, 221), face_px=150).render(smile, Pose())


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    media.write_wav(path, Scene(Person(5), LINES["morning"], seconds=SECONDS).audio(16_000), 16_000)
    return path


def turned_by_tag(picture: Byte) -> bytes:
    """A JPEG that is stored lying on its side, with the tag of phones that turns it upright."""
    lying = cv2.rotate(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), cv2.ROTATE_90_COUNTERCLOCKWISE)
    data = cv2.imencode(".jpg", lying, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"  # orientation: turn clockwise
    tag = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + entry + bytes(4)
    return data[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + data[2:]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.avif", "a%03d.jpg", "tagged.jpg", "named.mp4"])
def test_a_photo_is_read_upright_in_a_format_that_any_player_plays(photo: Byte, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "tagged.jpg":
        path.write_bytes(turned_by_tag(photo))
    else:
        suffix = ".png" if name == "named.mp4" else path.suffix
        path.write_bytes(cv2.imencode(suffix, cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))[1].tobytes())
    clip = media.probe(path)
    assert (clip.still, clip.width, clip.height, clip.rotation, clip.format.name) == (True, 220, 240, 0, "yuv420p")
    frames = list(media.read_rgb(path))
    assert [round(25 * time) for time, _ in frames] == [*range(FRAMES)]
    assert all((picture == frames[0][1]).all() for _, picture in frames)
    assert np.abs(frames[0][1].astype(float) - photo[:240, :220]).mean() < 4


@pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
def test_a_photo_that_is_transparent_somewhere_says_that_this_is_lost(photo: Byte, tmp_path: Path, kind: str) -> None:
    alpha = np.full((*photo.shape[:2], 1), 255, np.uint8)
    for name, least in (("opaque", 255), ("glass", 254)):
        alpha[:40, :40] = least
        cv2.imwrite(str(tmp_path / f"{name}.{kind}"), np.dstack([photo[..., ::-1], alpha]))
    assert media.probe(tmp_path / f"opaque.{kind}").besides == ()
    assert media.probe(tmp_path / f"glass.{kind}").besides == ("transparency",)


def test_what_is_lost_of_a_photo_is_told_in_one_line(photo: Byte, voice: Path, tmp_path: Path) -> None:
    alpha = np.where(np.arange(241)[:, None] < 20, 0, np.full((241, 221), 255)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "cut.png"), np.dstack([photo[..., ::-1], alpha]))
    result = CliRunner().invoke(app, ["dub", *(str(path) for path in (tmp_path / "cut.png", voice)), "-o",
                                      str(tmp_path / "out.mp4")])  # fmt: skip
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert said.count("transparency") == 1
    assert f"not copied from {tmp_path / 'cut.png'}: transparency" in said


@pytest.mark.parametrize("size", [(3000, 1500), (1500, 3000)])
def test_a_large_photo_is_reduced_by_its_longer_side(photo: Byte, tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), cv2.resize(photo, size))
    assert media.read_picture(path).shape == (size[1] * 2 // 3, size[0] * 2 // 3, 3)


def test_the_photo_speaks_as_long_as_the_voice_and_only_its_mouth_moves(
    photo: Byte, voice: Path, tmp_path: Path
) -> None:
    media.write_png(tmp_path / "smile.png", photo)
    report = dub(tmp_path / "smile.png", voice, tmp_path / "out.mp4", lossless=True)
    assert report.frames == report.dubbed == SECONDS * 25
    assert float(media.sound_span(tmp_path / "out.mp4").end) == pytest.approx(SECONDS, abs=0.05)
    assert [note for note in report.notes if "does not speak" in note]
    assert provenance.verify(tmp_path / "out.mp4").holds
    made = np.stack([picture for _, picture in media.read_rgb(tmp_path / "out.mp4")])
    still = next(media.read_rgb(tmp_path / "smile.png"))[1]
    assert (made[:, :100] == still[:100]).all(), "eyes and hair stay as they were"
    seen = analyse(media.probe(tmp_path / "out.mp4"), "largest", lambda *_: None).people[0]
    opening = geometry.mouth_opening(seen.points)
    assert opening.min() < 0.04, "the smile shuts"
    assert opening.max() > 0.08, "and opens"


def test_the_strip_of_a_photo_shows_all_of_the_dub(photo: Byte, voice: Path, tmp_path: Path) -> None:
    media.write_png(tmp_path / "smile.png", photo)
    dub(tmp_path / "smile.png", voice, tmp_path / "out.mp4")
    strip(tmp_path / "smile.png", tmp_path / "out.mp4", tmp_path / "strip.png", count=4, size=96)
    picture = media.read_picture(tmp_path / "strip.png").astype(int)
    assert picture.shape == (192, 384, 3)
    above, below = (np.split(row, 4, axis=1) for row in np.split(picture, 2))
    assert all((one == above[0]).all() for one in above)
    apart = [np.abs(one - other)[48:].mean() for k, one in enumerate(below) for other in below[:k]]
    assert max(apart) > 3, "the mouth moves"


def test_people_of_a_photo_are_listed(photo: Byte, tmp_path: Path) -> None:
    media.write_png(tmp_path / "two.png", np.hstack([photo, photo[:, ::-1]]))
    result = CliRunner().invoke(app, ["faces", str(tmp_path / "two.png"), "-o", str(tmp_path / "sheet.png")])
    assert result.exit_code == 0
    first, second, last = result.output.splitlines()
    assert all(line.split()[-3:] == ["can", "be", "redrawn"] for line in (first, second))
    assert not any(word in result.output for word in ("frames", " s", "seen")), "a photo takes no time"
    assert last == f"see {tmp_path / 'sheet.png'}"
    row = media.read_picture(tmp_path / "sheet.png")[60:200]
    assert row[:, :170].std() > 20
    assert row[:, 180:].std() == 0, "each person is shown once"
    media.write_png(tmp_path / "small.png", cv2.resize(photo, (100, 110)))
    result = CliRunner().invoke(app, ["faces", str(tmp_path / "small.png")])
    assert "cannot be redrawn: face smaller than" in result.output
    assert "(8)" not in result.output


def test_what_a_photo_cannot_be_used_for_is_told_in_one_line(photo: Byte, voice: Path, tmp_path: Path) -> None:
    media.write_png(tmp_path / "a.png", photo)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(InputError, match="cut"):
        dub(tmp_path / "cut.png", voice, tmp_path / "out.mp4")
    (tmp_path / "huge.png").write_bytes(black_png(40_000, 40_000))
    with pytest.raises(InputError, match=r"huge.png is too large a picture; reduce it to 2000 px"):
        dub(tmp_path / "huge.png", voice, tmp_path / "out.mp4")
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match="not a picture"):
        media.read_picture(tmp_path / "empty.png")
    with pytest.raises(InputError, match="no sound"):
        dub(tmp_path / "a.png", tmp_path / "a.png", tmp_path / "out.mp4")
    with pytest.raises(InputError, match="it is a photo, which shows no speech; dub without adapting"):
        Job(video=tmp_path / "a.png", voice=voice, out=tmp_path / "out.mp4", adapt=1).run(lambda *_: None, str)
    with pytest.raises(InputError, match="no sound of its own"):
        dub(tmp_path / "a.png", voice, tmp_path / "out.mp4", background="original")
    media.write_png(tmp_path / "wall.png", np.full((240, 240, 3), 200, np.uint8))
    for find in (lambda: dub(tmp_path / "wall.png", voice, tmp_path / "out.mp4"), lambda: faces(tmp_path / "wall.png")):
        with pytest.raises(NoFaceError, match="give a photo with a face") as refused:
            find()
        assert "frames" not in str(refused.value)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("brand", [b"heic", b"avif"])
def test_photos_of_phones_that_are_not_read_are_told(photo: Byte, voice: Path, tmp_path: Path, brand: bytes) -> None:
    media.write_clip(tmp_path / "film.mp4", [photo[:240, :220]], 25)
    data = (tmp_path / "film.mp4").read_bytes()
    assert data[4:8] == b"ftyp"
    (tmp_path / "photo").write_bytes(data[:8] + brand + data[12:])
    with pytest.raises(InputError, match="not a picture that can be read; give a photo as jpg or png"):
        dub(tmp_path / "photo", voice, tmp_path / "out.mp4")


def test_a_word_is_no_reason_to_speak_of_options_that_nobody_gave(photo: Byte, voice: Path, tmp_path: Path) -> None:
    media.write_png(tmp_path / "a.png", photo)
    media.write_wav(tmp_path / "word.wav", media.read_audio(voice)[:4000], 16_000)
    report = dub(tmp_path / "a.png", tmp_path / "word.wav", tmp_path / "out.mp4")
    assert (report.frames, report.dubbed) == (FRAMES, 7)
    assert not [note for note in report.notes if "--length" in note]


def test_a_photo_is_held_however_a_video_would_be_made_longer(photo: Byte, voice: Path, tmp_path: Path) -> None:
    media.write_png(tmp_path / "a.png", photo)
    made = set()
    for length in LENGTHS:
        dub(tmp_path / "a.png", voice, tmp_path / f"{length}.mp4", length=length)
        made.add((tmp_path / f"{length}.mp4").read_bytes())
    assert len(made) == 1
