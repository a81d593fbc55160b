"""What is said and how the mouth moves while saying it.

A *line* is a sequence of (phone, duration in s). Every articulator follows the line as a step function of time smoothed
by a Gaussian: neighbouring phones influence each other (coarticulation), and the motion is defined at any time, so that
it is the same at every video frame rate and at the voice's control rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from sidgan.types import Float

Line = tuple[tuple[str, float], ...]  #: phones (keys of `PHONES`) and their durations in s

PAUSE = "_"


@dataclass(frozen=True)
class Phone:
    """A speech sound: its acoustics, and the mouth that is seen.

    Attributes:
        formants: first three formant frequencies of a long vocal tract, Hz.
        voiced: 0..1 amplitude of voicing.
        hiss: amplitude, centre and width (Hz) of the friction noise, or of a plosive's burst.
        kind: ``vowel``, ``glide``, ``nasal``, ``fricative``, ``plosive`` or ``pause``.
        opening, spread, round, teeth, tongue, press: the `Mouth` while the sound lasts.
    """

    formants: tuple[float, float, float]
    voiced: float
    hiss: tuple[float, float, float]
    kind: str
    opening: float
    spread: float = 0.0
    round: float = 0.0
    teeth: float = 0.35
    tongue: float = 0.2
    press: float = 0.0


@dataclass(frozen=True)
class Mouth:
    """The visible state of the mouth at one moment; every value 0..1.

    ``opening`` is the distance between the lips (1: `sidgan.synth.head.GAP` cm), ``spread`` pulls the corners apart,
    ``round`` brings them together and pushes the lips forward, ``teeth`` bares the upper teeth, ``tongue`` raises the
    tongue, ``press`` rolls closed lips inwards.
    """

    opening: float = 0.0
    spread: float = 0.0
    round: float = 0.0
    teeth: float = 0.35
    tongue: float = 0.2
    press: float = 0.0


_NO_HISS = (0.0, 1000.0, 500.0)

PHONES: dict[str, Phone] = {
    PAUSE: Phone((500, 1450, 2450), 0.0, _NO_HISS, "pause", 0.0),
    "a": Phone((740, 1220, 2500), 1.0, _NO_HISS, "vowel", 0.90, spread=0.15, tongue=0.05),
    "e": Phone((530, 1850, 2500), 1.0, _NO_HISS, "vowel", 0.50, spread=0.55, teeth=0.5, tongue=0.45),
    "i": Phone((290, 2250, 2950), 0.9, _NO_HISS, "vowel", 0.24, spread=1.00, teeth=0.7, tongue=0.7),
    "o": Phone((480, 860, 2400), 1.0, _NO_HISS, "vowel", 0.50, round=0.75, teeth=0.1, tongue=0.1),
    "u": Phone((310, 800, 2250), 0.9, _NO_HISS, "vowel", 0.20, round=1.00, teeth=0.0),
    "@": Phone((500, 1450, 2450), 0.9, _NO_HISS, "vowel", 0.38, tongue=0.3),
    "m": Phone((250, 1050, 2200), 0.65, _NO_HISS, "nasal", 0.0, press=0.6),
    "n": Phone((260, 1550, 2500), 0.7, _NO_HISS, "nasal", 0.20, spread=0.2, tongue=0.9),
    "b": Phone((220, 900, 2200), 0.22, (0.5, 900, 900), "plosive", 0.0, press=0.8),
    "p": Phone((300, 900, 2200), 0.0, (0.8, 900, 1000), "plosive", 0.0, press=1.0),
    "d": Phone((250, 1700, 2600), 0.22, (0.6, 3600, 1400), "plosive", 0.18, teeth=0.5, tongue=0.95),
    "t": Phone((300, 1700, 2600), 0.0, (1.0, 3900, 1500), "plosive", 0.17, teeth=0.5, tongue=0.95),
    "g": Phone((250, 1900, 2300), 0.22, (0.5, 1900, 800), "plosive", 0.30, tongue=0.55),
    "k": Phone((300, 1900, 2300), 0.0, (0.8, 2000, 900), "plosive", 0.28, tongue=0.55),
    "f": Phone((350, 1100, 2300), 0.0, (0.25, 5200, 3800), "fricative", 0.09, teeth=0.9, tongue=0.1),
    "v": Phone((300, 1100, 2300), 0.45, (0.12, 5000, 3500), "fricative", 0.09, teeth=0.9, tongue=0.1),
    "s": Phone((320, 1500, 2600), 0.0, (0.75, 6200, 1300), "fricative", 0.13, spread=0.6, teeth=0.9, tongue=0.7),
    "z": Phone((280, 1500, 2600), 0.4, (0.40, 6200, 1300), "fricative", 0.13, spread=0.6, teeth=0.9, tongue=0.7),
    "sh": Phone((320, 1700, 2500), 0.0, (0.75, 3300, 1100), "fricative", 0.22, round=0.6, teeth=0.8, tongue=0.6),
    "h": Phone((500, 1450, 2450), 0.0, (0.16, 1800, 1800), "fricative", 0.40),
    "l": Phone((360, 1150, 2700), 0.75, _NO_HISS, "glide", 0.32, tongue=1.0),
    "r": Phone((330, 1150, 1650), 0.75, _NO_HISS, "glide", 0.24, round=0.45, tongue=0.4),
    "w": Phone((290, 680, 2200), 0.75, _NO_HISS, "glide", 0.12, round=1.0, teeth=0.0),
}  # fmt: skip

LIPS_SHUT = ("m", "b", "p")  #: the bilabials: the lips are closed while they last

_SECONDS = {  # usual durations in s
    "vowel": 0.135, "glide": 0.070, "nasal": 0.085, "fricative": 0.100, "plosive": 0.080, "pause": 0.220,
}  # fmt: skip


def read(text: str) -> Line:
    """Parse space-separated phones; a digit multiplies a phone's duration: ``"h e l o2 _"``."""
    line = []
    for word in text.split():
        name, longer = (word[:-1], float(word[-1])) if word[-1].isdigit() else (word, 1.0)
        line.append((name, _SECONDS[PHONES[name].kind] * longer))
    return tuple(line)


LINES: dict[str, Line] = {
    "hello": read("_ h e l o2 _ a i m n o t r i2 l _ b @ t a i k a n s p i k t u i u2 _"),
    "morning": read("_ g u d m o2 r n i n _ p l i2 z w a sh m a i f e i s _ e n d m u v m a i m a u2 f _"),
    "seven": read("_ w @ n t u2 f r i2 f o2 r f a i2 v s i k s s e v @ n _ e i2 t n a i n t e n _"),
    "vowels": read("_ a4 _ e4 _ i4 _ o4 _ u4 _ m a3 m a3 _"),
}


def random_line(rng: np.random.Generator, seconds: float) -> Line:
    """Random syllables that last ``seconds``, in phrases with pauses between them, and silence at both ends."""
    vowels = ["a", "e", "i", "o", "u", "@"]
    onsets = ["m", "b", "p", "f", "v", "s", "z", "sh", "t", "d", "k", "g", "n", "l", "r", "w", "h"]
    weights = np.array([1.6, 1.6, 1.5, 1.2, 1.0, 1.3, 0.7, 0.8, 1.2, 1.2, 1, 0.8, 1.2, 1.2, 1, 1.2, 0.5])
    pace = rng.uniform(0.85, 1.2)
    line: list[tuple[str, float]] = [(PAUSE, float(rng.uniform(0.1, 0.3)))]
    phrase = int(rng.integers(5, 12))
    while (spent := sum(d for _, d in line)) < seconds - 0.35:
        syllable = [str(rng.choice(onsets, p=weights / weights.sum()))] if rng.random() < 0.92 else []
        if syllable and syllable[0] in "pbkgf" and rng.random() < 0.15:
            syllable.append(str(rng.choice(["l", "r"])))
        syllable.append(str(rng.choice(vowels, p=[0.27, 0.18, 0.17, 0.16, 0.12, 0.10])))
        if rng.random() < 0.3:
            syllable.append(str(rng.choice(["m", "n", "s", "t", "l", "p", "v"])))
        stress = rng.uniform(1.2, 1.7) if rng.random() < 0.35 else 1.0
        for name in syllable:
            kind = PHONES[name].kind
            length = _SECONDS[kind] * rng.uniform(0.85, 1.25) / pace * (stress if kind == "vowel" else 1.0)
            line.append((name, float(length)))
        phrase -= 1
        if phrase == 0 and spent < seconds - 1.0:
            line.append((PAUSE, float(rng.uniform(0.18, 0.45))))
            phrase = int(rng.integers(5, 12))
    line = [line[0], *_scaled(line[1:], seconds - line[0][1] - 0.12), (PAUSE, 0.12)]
    return tuple(line)


def _scaled(line: list[tuple[str, float]], seconds: float) -> list[tuple[str, float]]:
    factor = seconds / sum(d for _, d in line)
    return [(name, d * factor) for name, d in line]


def length(line: Line) -> float:
    """Duration of a line in s."""
    return sum(d for _, d in line)


def bounds(line: Line) -> tuple[Float, Float]:
    """Start and end times (N,) in s of the phones of a line."""
    ends = np.cumsum([d for _, d in line])
    return np.concatenate([[0.0], ends[:-1]]), ends


def blurred(line: Line, values: Float, times: Float, sigma: float) -> Float:
    """The step function with ``values[n]`` during phone n, smoothed by a Gaussian of ``sigma`` s, sampled at ``times``.

    Computed in closed form. The first and last values extend before and after the line.
    """
    _, ends = bounds(line)
    steps = np.diff(values, axis=0)
    return np.asarray(values[0] + ndtr((times[:, None] - ends[None, :-1]) / sigma) @ steps)


def shut(line: Line, times: Float) -> Float:
    """Lip closure by bilabials at ``times``: 1 while they last, falling smoothly to 0 within 55 ms on either side."""
    closed = np.zeros_like(times)
    for (name, _), start, end in zip(line, *bounds(line), strict=True):
        if name in LIPS_SHUT:
            outside = np.maximum(np.maximum(start - times, times - end), 0)
            r = np.clip(1 - outside / 0.055, 0, 1)
            closed = np.maximum(closed, r**3 * (10 - 15 * r + 6 * r * r))  # minimum-jerk ramp
    return closed


def mouth(line: Line, times: Iterable[float]) -> list[Mouth]:
    """The mouth at ``times`` (s), in sync with `sidgan.synth.voice.voice`."""
    t = np.asarray(list(times), np.float64)
    phones = [PHONES[name] for name, _ in line]
    targets = np.array([(p.opening, p.spread, p.round, p.teeth, p.tongue, p.press) for p in phones])
    state = blurred(line, targets, t, 0.032)
    state[:, 0] *= 1 - shut(line, t)
    return [Mouth(*map(float, row)) for row in np.clip(state, 0, 1)]
