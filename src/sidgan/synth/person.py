"""Who is drawn, and how the head moves: `Person`, `Pose`, and gentle head motion as a smooth function of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]  #: linear RGB, 0..1

SKIN_TONES: tuple[Colour, ...] = (  # light to dark, linear RGB
    (0.78, 0.54, 0.43),
    (0.70, 0.45, 0.33),
    (0.60, 0.36, 0.24),
    (0.47, 0.26, 0.16),
    (0.32, 0.165, 0.095),
    (0.20, 0.10, 0.058),
    (0.125, 0.062, 0.038),
)
HAIR_COLOURS: tuple[Colour, ...] = (
    (0.012, 0.010, 0.009),
    (0.03, 0.018, 0.011),
    (0.085, 0.042, 0.020),
    (0.30, 0.17, 0.065),
    (0.24, 0.07, 0.022),
    (0.33, 0.32, 0.31),
)
EYE_COLOURS: tuple[Colour, ...] = (
    (0.045, 0.020, 0.010),
    (0.11, 0.05, 0.02),
    (0.13, 0.14, 0.06),
    (0.10, 0.19, 0.26),
    (0.17, 0.20, 0.22),
)


@dataclass(frozen=True)
class Person:
    """The appearance and voice of a synthetic person.

    Attributes:
        seed: drives the noise of skin, hair and background.
        width, jaw, chin: factors on head width, jaw width and chin height, about 1.
        nose, nose_width, brow, cheek: factors on nose length and width, brow ridge and cheekbones, about 1.
        eye_size, eye_gap, eye_tilt: factors on lid opening and distance of the eyes; tilt of the eye axis in cm.
        mouth_width, lips: factors on mouth width and on the thickness of the lips.
        teeth: factor on the brightness of the teeth, about 1.
        skin, lip, eye, hair: linear RGB colours; ``lip`` multiplies the skin's colour.
        freckles, age: 0..1 strength of freckles, and of folds and pores.
        style: ``bald``, ``buzz``, ``short``, ``parted`` or ``long``.
        beard, moustache: 0..1 density of the beard and of the moustache.
        glasses: whether the person wears them.
        light: direction towards the key light (x right, y down, z to the camera), unit length.
        warmth: -1 (bluish) .. 1 (golden) light.
        backdrop, cloth: linear RGB of background and shirt.
        pitch: mean fundamental frequency of the voice, Hz.
        tract: factor on all formant frequencies; about 1 for a long vocal tract, 1.18 for a short one.
        breath: 0..1 breathiness of the voice.
    """

    seed: int = 0
    width: float = 1.0
    jaw: float = 1.0
    chin: float = 1.0
    nose: float = 1.0
    nose_width: float = 1.0
    brow: float = 1.0
    cheek: float = 1.0
    eye_size: float = 1.0
    eye_gap: float = 1.0
    eye_tilt: float = 0.0
    mouth_width: float = 1.0
    lips: float = 1.0
    teeth: float = 1.0
    skin: Colour = SKIN_TONES[1]
    lip: Colour = (0.86, 0.52, 0.52)
    eye: Colour = EYE_COLOURS[1]
    hair: Colour = HAIR_COLOURS[2]
    freckles: float = 0.0
    age: float = 0.3
    style: str = "short"
    beard: float = 0.0
    moustache: float = 0.0
    glasses: bool = False
    light: tuple[float, float, float] = (-0.37, -0.46, 0.81)
    warmth: float = 0.2
    backdrop: Colour = (0.10, 0.13, 0.16)
    cloth: Colour = (0.06, 0.09, 0.16)
    pitch: float = 120.0
    tract: float = 1.0
    breath: float = 0.2

    @staticmethod
    def random(seed: int) -> Person:
        """A person drawn at random; the same seed always gives the same person."""
        rng = np.random.default_rng(seed)
        female = rng.random() < 0.5

        def near_one(spread: float) -> float:
            return float(1 + spread * np.clip(rng.normal(), -2, 2) / 2)

        tone = rng.uniform(0, len(SKIN_TONES) - 1)
        low = int(tone)
        skin = _mix(SKIN_TONES[low], SKIN_TONES[min(low + 1, len(SKIN_TONES) - 1)], tone - low)
        dark = tone > 2.5
        hair = HAIR_COLOURS[int(rng.integers(0, 3 if dark else 6))]
        eye = EYE_COLOURS[int(rng.integers(0, 2 if dark else 5))]
        style = (
            str(rng.choice(["long", "parted", "short"], p=[0.55, 0.3, 0.15]))
            if female
            else str(rng.choice(["bald", "buzz", "short", "parted", "long"], p=[0.15, 0.2, 0.4, 0.2, 0.05]))
        )
        bearded = not female and rng.random() < 0.45
        light = np.array([rng.uniform(-0.65, 0.65), rng.uniform(-0.7, -0.25), 1.0])
        light /= np.linalg.norm(light)
        reddish = rng.uniform(0.0, 1.0) * (0.9 if female else 0.4)
        return Person(
            seed=seed,
            width=near_one(0.06),
            jaw=near_one(0.08) - (0.05 if female else 0.0),
            chin=near_one(0.06),
            nose=near_one(0.10) - (0.05 if female else 0.0),
            nose_width=near_one(0.12) + (0.12 if dark else 0.0),
            brow=near_one(0.2) - (0.35 if female else 0.0),
            cheek=near_one(0.2),
            eye_size=near_one(0.15) + (0.06 if female else 0.0),
            eye_gap=near_one(0.05),
            eye_tilt=float(rng.uniform(-0.05, 0.16)),
            mouth_width=near_one(0.10),
            lips=near_one(0.25) + (0.10 if female else 0.0) + (0.12 if dark else 0.0),
            teeth=near_one(0.1),
            skin=skin,
            lip=(0.88 - 0.06 * reddish, 0.60 - 0.28 * reddish, 0.60 - 0.24 * reddish),
            eye=eye,
            hair=hair,
            freckles=float(max(0.0, rng.normal(-0.2, 0.5))) if tone < 2 else 0.0,
            age=float(rng.uniform(0.05, 0.9)),
            style=style,
            beard=float(rng.uniform(0.25, 1.0)) if bearded else 0.0,
            moustache=float(rng.uniform(0.3, 1.0)) if bearded or (not female and rng.random() < 0.1) else 0.0,
            glasses=bool(rng.random() < 0.1),
            light=(float(light[0]), float(light[1]), float(light[2])),
            warmth=float(rng.uniform(-0.5, 0.8)),
            backdrop=_random_colour(rng, 0.03, 0.45),
            cloth=_random_colour(rng, 0.02, 0.5),
            pitch=float(rng.uniform(165, 235) if female else rng.uniform(88, 150)),
            tract=float(rng.uniform(1.10, 1.22) if female else rng.uniform(0.94, 1.06)),
            breath=float(rng.uniform(0.05, 0.5)),
        )


@dataclass(frozen=True)
class Pose:
    """Head pose and state of the eyes in one frame.

    Attributes:
        yaw, pitch, roll: degrees; the nose moves right, down, and the head turns clockwise, as seen in the picture.
        x, y: displacement of the head in cm (a head is about 22 cm high).
        blink: 0 (open) .. 1 (closed).
        gaze_x, gaze_y: where the eyes look, -1 .. 1, right and down in the picture.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    x: float = 0.0
    y: float = 0.0
    blink: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0


def pose(seed: int, times: Iterable[float], amount: float = 1.0) -> list[Pose]:
    """Gentle head motion, glances and blinks at ``times`` (s): a smooth function of time for each ``seed``.

    ``amount`` scales all angles and shifts; at 1 the head stays within about 12 degrees of yaw and 6 of pitch.
    """
    t = np.asarray(list(times), np.float64)
    rng = np.random.default_rng([seed, 1])

    def sway(size: float) -> np.ndarray:
        """A sum of four slow sines of random frequencies: smooth, aperiodic, bounded by ``size * amount``."""
        speeds, phases = rng.uniform(0.5, 2.6, 4), rng.uniform(0, 2 * np.pi, 4)
        weights = 1 / speeds
        return size * amount * (weights @ np.sin(np.outer(speeds, t) + phases[:, None])) / weights.sum()

    yaw = sway(10.0) + amount * rng.uniform(-4, 4)
    pitch, roll, x, y = sway(5.0), sway(4.5), sway(0.8), sway(0.5)
    gaze_x, gaze_y = sway(0.35), sway(0.2)
    blink = np.zeros_like(t)
    start = rng.uniform(0.4, 3.0)
    while t.size and start < t.max() + 1:  # a lid closes in about 70 ms and opens in twice that
        after = t - start
        lid = np.where(after < 0, np.exp(-((after / 0.045) ** 2)), np.exp(-((after / 0.09) ** 2)))
        blink = np.maximum(blink, lid)
        start += rng.uniform(1.8, 5.0)
    columns = (yaw, pitch, roll, x, y, blink, gaze_x - yaw / 40, gaze_y)
    return [Pose(*map(float, row)) for row in zip(*columns, strict=True)]


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def _random_colour(rng: np.random.Generator, low: float, high: float) -> Colour:
    grey = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    tint = rng.uniform(0.55, 1.45, 3)
    return (float(grey * tint[0]), float(grey * tint[1]), float(grey * tint[2]))
