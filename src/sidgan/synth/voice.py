"""A synthetic voice by source and filter: voicing and noise, shaped by the moving formants of a vocal tract.

The filter is applied to the sources' short-time spectra with overlap-add, so formants glide. Its control values come
from the same smoothed line that moves the mouth (`sidgan.synth.speech`).
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from sidgan.synth.person import Person
from sidgan.synth.speech import LIPS_SHUT, PHONES, Line, blurred, bounds, length
from sidgan.types import Float

_RATE = 32000  # Hz, internal sample rate; the result is resampled
_WINDOW, _HOP, _FFT = 512, 128, 1024  # samples: 16 ms windows, 4 ms steps
_GLIDE, _SWITCH = 0.018, 0.006  # s, sigma of smoothing: formants move slowly, voicing and friction switch fast


def voice(line: Line, person: Person, rate: int = 16000) -> Float:
    """Synthesise a line: mono float32 in (-1, 1), ``round(length(line) * rate)`` samples at ``rate`` Hz.

    Deterministic: the same line and person give the same samples.
    """
    count = round(length(line) * _RATE)
    rng = np.random.default_rng([person.seed, 4])
    phones = [PHONES[name] for name, _ in line]
    t = np.arange(count) / _RATE
    coarse = np.arange(0, t[-1] + 0.001, 0.001)

    def track(values: list[float], sigma: float) -> Float:
        return np.interp(t, coarse, blurred(line, np.asarray(values, np.float64), coarse, sigma))

    voicing = track([p.voiced for p in phones], _SWITCH)
    voiced = _glottal_source(_pitch_contour(line, person, t, rng), rng) * voicing
    breath = rng.standard_normal(count)
    voiced += breath * voicing * 0.05 * person.breath + breath * _aspiration(line, t)
    frames = np.arange(0, count + _WINDOW, _HOP)
    frame_times = np.clip((frames - _HOP) / _RATE, 0, None)
    sound = _filtered(voiced, _tract(line, person, frame_times)) + _filtered(
        rng.standard_normal(count), _friction(line, person, frame_times)
    )
    sound = np.diff(sound, prepend=0) * 0.65 + sound * 0.35  # pre-emphasis: brighter, as with a close microphone
    sound *= 0.6 / max(float(np.abs(sound).max()), 1e-9)
    sound += 2e-4 * rng.standard_normal(count)
    out = _at_rate(sound, rate)
    wanted = round(length(line) * rate)
    out = np.pad(out, (0, max(0, wanted - len(out))))[:wanted]
    return np.clip(out, -0.99, 0.99).astype(np.float32)


def _at_rate(sound: Float, rate: int) -> Float:
    from scipy.signal import resample_poly  # imported here because this takes longer than the whole package

    return resample_poly(sound, rate, _RATE) if rate != _RATE else sound


def _pitch_contour(line: Line, person: Person, t: Float, rng: np.random.Generator) -> Float:
    """Fundamental frequency in Hz over time: falls over a phrase, rises on some vowels, and varies a little."""
    accents = [
        float(rng.uniform(0.0, 0.16)) if PHONES[n].kind == "vowel" and rng.random() < 0.5 else 0.0 for n, _ in line
    ]
    coarse = np.arange(0, t[-1] + 0.01, 0.01)
    rise = np.interp(t, coarse, blurred(line, np.array(accents), coarse, 0.06))
    fall = np.zeros_like(t)  # s since the last pause
    for (name, _), end in zip(line, bounds(line)[1], strict=True):
        if PHONES[name].kind == "pause":
            fall[t >= end] = t[t >= end] - end
    wobble = np.interp(t, coarse, np.convolve(rng.standard_normal(len(coarse)), np.hanning(9) / 4, "same"))
    vibrato = 0.008 * np.sin(2 * np.pi * 5.2 * t)
    return person.pitch * (1.08 - 0.10 * np.minimum(fall, 2.2) + rise + vibrato + 0.006 * wobble)


def _glottal_source(pitch: Float, rng: np.random.Generator) -> Float:
    """Derivative of the glottal flow, with Rosenberg's pulse: slow opening, fast closing in every period."""
    phase = np.cumsum(pitch) / _RATE
    strength = 1 + 0.06 * rng.standard_normal(int(phase[-1]) + 2)  # shimmer: amplitudes vary between pulses
    p = phase % 1
    rising = 0.5 * (1 - np.cos(np.pi * p / 0.42))
    falling = np.cos(np.pi / 2 * (p - 0.42) / 0.18)
    flow = np.where(p < 0.42, rising, np.where(p < 0.60, falling, 0.0)) * strength[phase.astype(int)]
    return np.asarray(np.diff(flow, prepend=flow[0]) * 40)


def _aspiration(line: Line, t: Float) -> Float:
    """Amplitude of aspiration: [h], and after voiceless plosives."""
    puff = np.zeros_like(t)
    for (name, seconds), start, end in zip(line, *bounds(line), strict=True):
        if name == "h":
            puff += 0.12 * np.exp(-(((t - (start + end) / 2) / (0.45 * seconds)) ** 4))
        if name in ("p", "t", "k"):
            after = t - end
            puff += np.where(after >= 0, 0.10 * np.exp(-np.maximum(after, 0) / 0.018), 0)
    return puff


def _tract(line: Line, person: Person, frame_times: Float) -> Float:
    """Transfer function (frames, bins) of the vocal tract for voicing and breath."""
    phones = [PHONES[name] for name, _ in line]
    formants = blurred(line, np.array([p.formants for p in phones], np.float64), frame_times, _GLIDE) * person.tract
    nasal = blurred(line, np.array([float(p.kind == "nasal") for p in phones]), frame_times, 0.010)[:, None]
    closed = blurred(line, np.array([float(n in (*LIPS_SHUT, "d", "g")) for n, _ in line]), frame_times, 0.008)[:, None]
    f = np.fft.rfftfreq(_FFT, 1 / _RATE)[None]
    response = np.ones((len(frame_times), f.shape[1]), np.complex128)
    upper = np.broadcast_to(np.arange(3400.0, 13000.0, 1050.0) * person.tract, (len(frame_times), 10))
    for i, centre in enumerate(np.concatenate([formants, upper], 1).T[..., None]):
        width = (60, 90, 130, *([0.07 * float(centre[0, 0])] * 10))[i] * (1 + 1.2 * nasal * (i < 2))
        pole = -np.pi * width + 2j * np.pi * centre
        s = 2j * np.pi * f
        response *= np.abs(pole) ** 2 / ((s - pole) * (s - np.conj(pole)))
    murmur = 1 - (nasal + 0.85 * closed - 0.85 * nasal * closed) * np.clip((f - 350) / 900, 0, 1) * 0.93
    return np.asarray(response * np.clip(murmur, 0.03, 1))


def _friction(line: Line, person: Person, frame_times: Float) -> Float:
    """Magnitude response (frames, bins) that shapes white noise into friction and bursts."""
    f = np.fft.rfftfreq(_FFT, 1 / _RATE)[None]
    out = np.zeros((len(frame_times), f.shape[1]))
    stretch = 0.85 + 0.15 * person.tract
    for (name, _), start, end in zip(line, *bounds(line), strict=True):
        phone = PHONES[name]
        amplitude, centre, width = phone.hiss
        if amplitude == 0 or name == "h":
            continue
        if phone.kind == "plosive":  # silent while closed; burst at the release
            level = np.where(frame_times >= end - 0.003, np.exp(-np.maximum(frame_times - end, 0) / 0.010), 0)
        else:
            level = expit((frame_times - start) / _SWITCH) * expit((end - frame_times) / _SWITCH)
        shape = np.exp(-(((f - centre * stretch) / width) ** 2)) + 0.05 * np.exp(-(((f - centre) / (3 * width)) ** 2))
        out += 0.16 * amplitude * level[:, None] * shape
    return out


def _filtered(source: Float, response: Float) -> Float:
    """Filter ``source`` (samples) by overlap-add with a response (frames, bins) that changes every `_HOP` samples."""
    count = len(source)
    padded = np.pad(source, (_WINDOW, _WINDOW + _FFT))
    window = np.hanning(_WINDOW + 1)[:-1] * (2 * _HOP / _WINDOW)
    starts = np.arange(len(response)) * _HOP
    starts = starts[starts + _WINDOW <= len(padded)]
    blocks = padded[starts[:, None] + np.arange(_WINDOW)] * window
    shaped = np.fft.irfft(np.fft.rfft(blocks, _FFT) * response[: len(starts)], _FFT)
    out = np.zeros(len(padded) + _FFT)
    for start, block in zip(starts, shaped, strict=True):
        out[start : start + _FFT] += block
    return out[_WINDOW : _WINDOW + count]
