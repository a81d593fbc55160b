"""Make the pictures and plots of the documentation, from synthetic people and data computed here.

    python tools/make_docs_pictures.py                 # all of them; about a minute on an idle core
    python tools/make_docs_pictures.py stages sound    # only these

writes into ``docs/pictures``. Needs the extras ``train`` and ``paper``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Literal, cast

import cv2
import matplotlib
import numpy as np
import torch
from PIL import Image

from sidgan import blend, geometry, media
from sidgan.audio import log_mel
from sidgan.blend import border
from sidgan.config import SyncNetConfig
from sidgan.dubbing import Dubber, dub, faces
from sidgan.faces import box_of, landmarks, track_faces
from sidgan.nn import SyncNet
from sidgan.nn.syncnet import lower_half_windows
from sidgan.synth import LINES, Line, Person, Scene, voice
from sidgan.types import FaceTrack, Frame

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs" / "pictures"
ASSETS = Path(__file__).parents[1] / "src" / "sidgan" / "assets"
RATE = 16_000
RATE_FPS = Fraction(25)
BLUE, RED, GREY = "#2a5caa", "#c0392b", "#888888"


def stages() -> None:
    """The stages of one frame: found, cut out, hidden, redrawn, blended."""
    clip = media.probe(ASSETS / "demo.mp4")
    frames = list(islice(media.read_frames(clip), 60))
    (track,), _ = track_faces(iter(frames))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        shown: dict[int, np.ndarray] = {}

        def show(old: Frame, new: Frame) -> None:
            shown[new.index] = _crop(new, track, size)

        dubber = Dubber()
        size = dubber.engine.fitting(float(np.median([np.hypot(*m[:, 0]) for m in track.matrices]))).size
        dubber.dub(_cut(clip.path, Path(folder) / "in.mp4", 60), ASSETS / "demo_voice.m4a", out,
                   on_frame=show)  # fmt: skip
    at = max(range(20, 60), key=lambda i: float(np.abs(shown[i].astype(int) - _crop(frames[i], track, size)).mean()))
    frame, unit = frames[at], track.matrices[at]
    whole = _rgb(frame).copy()
    corners = geometry.transform(unit[None], np.array([[[0, 0], [1, 0], [1, 1], [0, 1]]], np.float32))[0]
    cv2.polylines(whole, [corners.astype(np.int32)], True, (255, 210, 0), 3, cv2.LINE_AA)
    for x, y in track.landmarks[at]:
        cv2.circle(whole, (round(x), round(y)), 3, (0, 255, 120), -1, cv2.LINE_AA)
    crop = _crop(frame, track, size)
    points = geometry.to_unit(track.matrices, track.landmarks)
    box = geometry.mask_boxes(points)[at]
    hidden = geometry.mask_image(box, size)
    query = crop.copy()
    query[hidden > 0] = 0
    openings = geometry.mouth_opening(track.landmarks)
    closed, wide = int(openings.argmin()), int(openings.argmax())
    pair = np.hstack([cv2.resize(_crop(frames[i], track, size), (size // 2, size // 2)) for i in (closed, wide)])
    pair = np.vstack([np.full((size // 4, size, 3), 255, np.uint8), pair, np.full((size // 4, size, 3), 255, np.uint8)])
    drawn = shown[at]
    new = (landmarks(drawn, box_of(points[at] * size - 0.5)) + 0.5) / size
    reach = border.Border()(drawn.astype(np.float32), crop, box, points[at], new, 0)
    alpha = blend.mouth_alpha(size, box, points[at], new, reach)[..., None]
    heat = (crop * (1 - 0.6 * alpha) + alpha * 0.6 * np.array([255, 60, 40])).astype(np.uint8)
    told = [(whole, "1  found: the face square\nand 68 landmarks"), (crop, "2  cut out"),
            (query, "3  what is to be redrawn\nis hidden from the network"), (pair, "4  two pictures of the person:\n"
             "lips closed, lips open"), (heat, "5  how much of each redrawn\npixel is used"),
            (drawn, "6  the result")]  # fmt: skip
    figure, axes = plt.subplots(2, 3, figsize=(9, 6.9))
    for axis, (image, title) in zip(axes.flat, told, strict=True):
        axis.imshow(cv2.resize(image, (320, 320), interpolation=cv2.INTER_AREA))
        axis.set_title(title, fontsize=10, loc="left")
        axis.axis("off")
    _save(figure, "stages.jpg")


def sound() -> None:
    """The mel spectrogram of a voice, and the mouth opening for it: ground truth and dubbed."""
    person, line = Person.random(14), LINES["seven"]
    samples = voice(_fitted(line, 4.0), Person.random(11), RATE)
    mel = log_mel(samples)
    truth = np.array([shot.opening for shot in islice(Scene(person, _fitted(line, 4.0), size=(64, 64)), 100)])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        media.write_wav(folder / "voice.wav", samples, RATE)
        _cut(ASSETS / "demo.mp4", folder / "in.mp4", 100)
        dub(folder / "in.mp4", folder / "voice.wav", folder / "out.mp4")
        (track,), _ = track_faces(media.read_frames(media.probe(folder / "out.mp4")))
    opened = geometry.mouth_opening(track.landmarks)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 4.6), sharex=True, height_ratios=(1, 1.1))
    top.imshow(mel, origin="lower", aspect="auto", extent=(0, mel.shape[1] / 80, 0, 80), cmap="magma")
    top.set_xlim(0, 4)
    top.set_ylabel("mel band")
    top.axvspan(1.4, 1.6, color="white", alpha=0.35)
    top.text(1.62, 70, "what one frame hears: 0.2 s", color="white", fontsize=9)
    at = np.arange(100) / 25
    bottom.plot(at, truth, color=GREY, label="the drawn person saying it", lw=1.2)
    match = np.corrcoef(opened, truth)[0, 1]
    bottom.plot(at, opened, color=BLUE, lw=1.4, label=f"as dubbed (correlation {match:.2f})")
    bottom.set_ylabel("opening, eye distances")
    bottom.set_xlabel("seconds")
    bottom.set_ylim(0, truth.max() * 1.3)
    bottom.legend(fontsize=8, loc="upper center", ncol=2, frameon=False)
    _save(figure, "sound.png", colours=64)


def speakers() -> None:
    """A video frame with two people, and the sheet of `sidgan faces` for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        two_people(folder / "two.mp4", frames=24)
        faces(folder / "two.mp4", sheet=folder / "people.png")
        frame = next(media.read_rgb(folder / "two.mp4"))[1]
        sheet = np.asarray(Image.open(folder / "people.png").convert("RGB"))
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=(1, sheet.shape[1] / sheet.shape[0] / 2))
    for axis, image, title in zip(axes, (frame, sheet), ("two.mp4", "people.png"), strict=True):
        axis.imshow(image)
        axis.set_title(title, fontsize=10, loc="left")
        axis.axis("off")
    _save(figure, "speakers.jpg")


def shifts() -> None:
    """How much a shift changes the embeddings of two untrained experts, with adaptive sampling and with strides."""
    torch.manual_seed(0)
    scene = Scene(Person.random(14), LINES["seven"], size=(256, 256), face_px=230)
    seen = torch.stack([torch.from_numpy(shot.image) for shot in islice(scene, 5)]).permute(0, 3, 1, 2)[None] / 255
    moves = list(range(13))
    figure, axis = plt.subplots(figsize=(6.5, 3))
    kinds: tuple[tuple[Literal["vanilla", "aps"], str, str], ...]
    kinds = (("vanilla", RED, "strides, zero padding"), ("aps", BLUE, "adaptive polyphase sampling"))
    for kind, colour, title in kinds:
        net = SyncNet(SyncNetConfig(kind=kind, width=8, audio_width=8)).train()
        with torch.no_grad():
            small = lower_half_windows(seen.float(), 128)
            net.embed_video(torch.cat([small.roll(k * 7, -1) for k in range(16)]))  # sets the batch norm statistics
            net.eval()
            still, other = net.embed_video(small), net.embed_video(small.flip(-1).roll(20, -2))
            apart = [float((net.embed_video(small.roll(k, -1)) - still).norm() / (other - still).norm()) for k in moves]
        axis.plot(moves, apart, "o-", color=colour, label=title, ms=4)
    axis.set_xlabel("shift of the lower face, px of 128 (around the edge)")
    axis.set_ylabel("change of the embedding")
    axis.legend(frameon=False, fontsize=9)
    axis.grid(alpha=0.3)
    _save(figure, "shifts.png", colours=64)


def two_people(out: Path, frames: int = 75) -> None:
    """Write a clip of two synthetic people side by side, with the sound of both."""
    pair = [Scene(Person.random(seed), LINES[line], frames / 25, size=(360, 320), face_px=250)
            for seed, line in ((14, "morning"), (11, "hello"))]  # fmt: skip
    images = (np.hstack([left.image, right.image]) for left, right in islice(zip(*pair, strict=True), frames))
    media.write_clip(out, images, RATE_FPS, (pair[0].audio(RATE) + pair[1].audio(RATE)) / 2, RATE)


def _fitted(line: Line, seconds: float) -> Line:
    return (*line, ("_", max(seconds - sum(d for _, d in line), 0.0)))


def _cut(source: Path, out: Path, frames: int) -> Path:
    clip = media.probe(source)
    samples = media.read_audio(source, RATE)[: frames * RATE // 25]
    media.write_clip(out, (rgb for _, rgb in islice(media.read_rgb(source), frames)), clip.frame_rate, samples, RATE)
    return out


def _crop(frame: Frame, track: FaceTrack, size: int) -> np.ndarray:
    return geometry.crop_face(frame, track.matrices[frame.index], size).image


def _rgb(frame: Frame) -> np.ndarray:
    height, width = frame.planes[0].shape
    unit = np.array([[width, 0, 0], [0, height, 0]], np.float32)
    return geometry.crop_face(frame, unit, height).image


def _save(figure: Figure, name: str, colours: int | None = None) -> None:
    """Write a figure as a small file: JPEG for photographs, PNG with ``colours`` colours for plots."""
    DOCS.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    canvas = cast(FigureCanvasAgg, figure.canvas)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3]
    plt.close(figure)
    path = DOCS / name
    if colours is None:
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
    else:
        Image.fromarray(image).quantize(colours).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} KB")


PICTURES: dict[str, Callable[[], None]] = {
    "stages": stages, "sound": sound, "speakers": speakers, "shifts": shifts,
}  # fmt: skip


def main() -> None:
    """Make the pictures given on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*PICTURES, []], help="some of them; else all")
    for name in parser.parse_args().names or PICTURES:
        PICTURES[name]()


if __name__ == "__main__":
    main()
