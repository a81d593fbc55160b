"""The drawn person: the same every time, in sync with the voice, where the landmarks say, and a face to a detector."""

from __future__ import annotations

import importlib.util
from fractions import Fraction

import dlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidgan.synth import (
    LINES,
    PHONES,
    Mouth,
    Person,
    Portrait,
    Pose,
    Scene,
    bounds,
    length,
    mouth,
    pose,
    random_line,
    read,
    voice,
)

RATE = 16000


def shape(name: str) -> Mouth:
    p = PHONES[name]
    return Mouth(p.opening, p.spread, p.round, p.teeth, p.tongue, p.press)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait(Person.random(3), (256, 256), face_px=190)


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x)) + 1e-12))


def share_above(x: np.ndarray, hertz: float) -> float:
    power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    return float(power[np.fft.rfftfreq(len(x), 1 / RATE) > hertz].sum() / power.sum())


# --- speech and voice -------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(1.5, 8))
@settings(max_examples=20, deadline=None)
def test_random_line_lasts_exactly_and_is_quiet_at_both_ends(seed: int, seconds: float) -> None:
    line = random_line(np.random.default_rng(seed), seconds)
    assert length(line) == pytest.approx(seconds)
    assert line[0][0] == line[-1][0] == "_"
    assert all(d > 0 and name in PHONES for name, d in line)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_voice_has_the_length_of_its_line(rate: int) -> None:
    line = read("_ m a n _")
    sound = voice(line, Person(), rate)
    assert sound.dtype == np.float32
    assert len(sound) == round(length(line) * rate)
    assert 0.3 < np.abs(sound).max() < 1


def test_mouth_is_one_function_of_time_whatever_the_frame_rate() -> None:
    line = LINES["hello"]
    at_25, at_50 = (mouth(line, np.arange(0, 3, 1 / rate)) for rate in (25, 50))
    assert len(at_25) * 2 == len(at_50)
    assert all(vars(a) == pytest.approx(vars(b)) for a, b in zip(at_25, at_50[::2], strict=True))


def test_lips_are_shut_exactly_while_bilabials_last() -> None:
    line = read("_ a m a b e p i _")
    for (name, _), start, end in zip(line, *bounds(line), strict=True):
        if name in "mbp":
            assert all(m.opening == 0 for m in mouth(line, np.linspace(start, end, 20)))
            before, after = mouth(line, [start - 0.05, end + 0.05])
            assert min(before.opening, after.opening) > 0.05


def test_murmur_sounds_while_the_lips_are_shut_and_the_burst_comes_at_the_release() -> None:
    line = read("_ a2 m2 a2 p2 a2 _")
    sound = voice(line, Person(), RATE)
    spans = [slice(int(s * RATE) + 160, int(e * RATE) - 160) for s, e in zip(*bounds(line), strict=True)]
    vowel, murmur, stop = sound[spans[1]], sound[spans[2]], sound[spans[4]]
    assert rms(murmur) > 0.05 * rms(vowel)
    assert share_above(murmur, 700) < 0.3 * share_above(vowel, 700)
    assert rms(stop[len(stop) // 3 :]) < 0.05 * rms(vowel)
    release = int(bounds(line)[1][4] * RATE)
    assert rms(sound[release : release + 320]) > 5 * rms(stop[len(stop) // 3 :])


def test_opening_follows_the_loudness_of_open_vowels_within_a_frame() -> None:
    line = read("_2 m a2 m a2 m a2 _2 b a3 m a _2")
    times = np.arange(0, length(line), 0.01)
    opening = np.array([m.opening for m in mouth(line, times)])
    sound = voice(line, Person.random(4), RATE)
    loud = np.array([rms(sound[max(0, int((t - 0.01) * RATE)) : int((t + 0.01) * RATE) + 1]) for t in times])
    scores = {lag: np.corrcoef(opening[20:-20], np.roll(loud, lag)[20:-20])[0, 1] for lag in range(-15, 16)}
    best = max(scores, key=scores.__getitem__)
    assert abs(best) <= 4  # hundredths of a second: within a frame at 25 fps
    assert scores[0] > 0.8


def test_phones_can_be_told_apart_by_their_spectrum() -> None:
    def steady(name: str) -> np.ndarray:
        line = read(f"_ {name}4 _")
        start, end = (b[1] for b in bounds(line))
        return voice(line, Person(), RATE)[int((start + 0.05) * RATE) : int((end - 0.05) * RATE)]

    assert share_above(steady("s"), 4000) > 0.7
    assert share_above(steady("a"), 4000) < 0.05
    assert share_above(steady("a"), 500) > 2 * share_above(steady("u"), 500)
    assert share_above(steady("i"), 1700) > 3 * share_above(steady("u"), 1700)


def test_voices_differ_in_pitch() -> None:
    line = read("_ a5 _")
    for pitch in (100.0, 200.0):
        sound = voice(line, Person(pitch=pitch), RATE)[6000:9000].astype(float)
        echo = np.correlate(sound, sound, "full")[len(sound) - 1 :]
        period = 50 + int(np.argmax(echo[50:250]))
        assert RATE / period == pytest.approx(pitch, rel=0.15)


# --- picture ----------------------------------------------------------------------------------------------------------


def test_same_arguments_same_bytes_and_other_seeds_other_people() -> None:
    first, second, other = (Portrait(Person.random(s), (96, 96)).render(Mouth(0.5), Pose(yaw=4)) for s in (5, 5, 6))
    assert first.dtype == np.uint8
    assert first.shape == (96, 96, 3)
    assert np.array_equal(first, second)
    assert np.abs(first.astype(int) - other).mean() > 5


def test_speaking_changes_nothing_above_the_nose(portrait: Portrait) -> None:
    still, speaking = (portrait.render(shape(n), Pose()) for n in ("m", "a"))
    points = portrait.landmarks(shape("m"), Pose())
    eyes_end, lips_start = int(points[[40, 41, 46, 47], 1].max()), int(points[51, 1])
    change = np.abs(still.astype(int) - speaking).max(-1)
    assert change[:eyes_end].max() <= 2
    assert change[lips_start:].max() > 60


@pytest.mark.parametrize("seed", [3, 14])
def test_a_forehead_ends_at_a_hairline(seed: int) -> None:
    """Between skin and dark hair lies next to nothing that is neither, such as skin that is drawn out into streaks."""
    face = Portrait(Person.random(seed), (320, 320), face_px=240)
    grey, points = face.render(shape("m"), Pose()).mean(-1), face.landmarks(shape("m"), Pose())
    brows, crown = round(float(points[17:27, 1].min())) - 4, round(float(points[27, 1] - 0.85 * np.ptp(points[:, 1])))
    forehead = grey[crown:brows, round(float(points[18, 0])) : round(float(points[25, 0]))]
    skin, hair = np.percentile(forehead[-8:], 20), np.percentile(forehead[:20], 80)
    assert skin > 2 * hair, "or it tests nothing"
    neither = (forehead > hair + 0.25 * (skin - hair)) & (forehead < hair + 0.7 * (skin - hair))
    assert neither.sum(0).mean() < 5


def test_between_the_lips_is_dark_and_the_landmarks_enclose_it(portrait: Portrait) -> None:
    lips = Mouth(opening=0.9, tongue=0.0, teeth=0.3)
    image, points = portrait.render(lips, Pose()).astype(float), portrait.landmarks(lips, Pose())
    top, bottom, lip = points[62], points[66], (points[57] + points[66]) / 2
    x = round(float(top[0]))
    inside = image[int(top[1] + 0.45 * (bottom - top)[1]), x].mean()
    assert inside < 0.5 * image[round(float(lip[1])), x].mean()
    outer = np.linalg.norm(points[36] - points[45])
    assert (bottom - top)[1] / outer == pytest.approx(portrait.opening(lips), abs=0.01)


def test_landmarks_of_shut_lips_meet_and_opening_grows(portrait: Portrait) -> None:
    shut = portrait.landmarks(shape("m"), Pose())
    assert np.abs(shut[[61, 62, 63]] - shut[[67, 66, 65]]).max() < 0.1
    assert portrait.opening(shape("m")) == 0
    openings = [portrait.opening(Mouth(o)) for o in np.linspace(0, 1, 6)]
    assert np.all(np.diff(openings) > 0.02)
    chins = [portrait.landmarks(Mouth(o), Pose())[8, 1] for o in np.linspace(0, 1, 6)]
    assert np.all(np.diff(chins) > 0.5)


def test_shapes_of_vowels_differ_as_they_should(portrait: Portrait) -> None:
    def width(name: str) -> float:
        points = portrait.landmarks(shape(name), Pose())
        return float(points[54, 0] - points[48, 0])

    assert width("i") > 1.1 * width("a") > 1.1 * width("o") > width("u")
    assert portrait.opening(shape("a")) > 1.5 * portrait.opening(shape("o")) > portrait.opening(shape("u"))


@pytest.mark.parametrize("turn", [Pose(yaw=25), Pose(yaw=-25), Pose(pitch=12), Pose(pitch=-12), Pose(roll=10)])
def test_landmarks_turn_with_the_head(portrait: Portrait, turn: Pose) -> None:
    front, points = (portrait.landmarks(Mouth(), p) for p in (Pose(), turn))
    assert np.all((points >= 0) & (points < 256))
    nose = (points[30] - points[[36, 45]].mean(0)) - (front[30] - front[[36, 45]].mean(0))
    assert nose[0] * turn.yaw >= 0
    assert nose[1] * turn.pitch >= 0
    if turn.yaw:
        assert abs(nose[0]) > 8
    if turn.roll:
        across = points[45] - points[36]
        assert np.degrees(np.arctan2(across[1], across[0])) == pytest.approx(turn.roll, abs=2)


def test_blinks_close_the_eyes(portrait: Portrait) -> None:
    def aperture(blink: float) -> float:
        points = portrait.landmarks(Mouth(), Pose(blink=blink))
        return float((points[[41, 40, 47, 46], 1] - points[[37, 38, 43, 44], 1]).mean())

    assert aperture(1.0) < 0.1 * aperture(0.0)


def test_motion_is_smooth_gentle_and_blinks() -> None:
    times = np.arange(0, 12, 0.04)
    heads = pose(7, times)
    yaw = np.array([h.yaw for h in heads])
    assert np.abs(yaw).max() <= 14.1
    assert np.abs(np.diff(yaw)).max() < 2
    assert max(h.blink for h in heads) > 0.9
    assert all(vars(a) == pytest.approx(vars(b)) for a, b in zip(heads[::2], pose(7, times[::2]), strict=True))
    assert all(h.yaw == h.pitch == h.x == 0 for h in pose(7, times, amount=0))


def test_a_face_to_the_detector_with_the_landmarks_where_it_sees_them() -> None:
    spec = importlib.util.find_spec("face_recognition_models")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = spec.submodule_search_locations[0]
    predictor = dlib.shape_predictor(f"{folder}/models/shape_predictor_68_face_landmarks.dat")
    detector = dlib.get_frontal_face_detector()
    errors, true, seen = [], [], []
    for seed in (2, 8, 11):
        person = Portrait(Person.random(seed), (320, 320), face_px=220)
        for name, head in (("m", Pose()), ("a", Pose(yaw=10)), ("i", Pose(yaw=-10, roll=5)), ("o", Pose(pitch=6))):
            image, points = person.render(shape(name), head), person.landmarks(shape(name), head)
            boxes = detector(image, 0)
            assert len(boxes) == 1
            found = np.array([(p.x, p.y) for p in predictor(image, boxes[0]).parts()])
            outer = np.linalg.norm(points[36] - points[45])
            errors.append(np.linalg.norm(found - points, axis=1).mean() / outer)
            true.append(person.opening(shape(name)))
            seen.append((found[66] - found[62])[1] / outer)
    assert np.mean(errors) < 0.08
    assert np.corrcoef(true, seen)[0, 1] > 0.9


def test_scene_keeps_time_at_any_rate_and_pads_with_silence() -> None:
    line = read("_ m a m a _")
    scene = Scene(Person.random(1), line, seconds=1.0, rate=Fraction(30000, 1001), size=(64, 64), face_px=46)
    shots = list(scene)
    assert len(shots) == len(scene) == 29
    assert [s.time for s in shots[:2]] == [0, Fraction(1001, 30000)]
    assert len(scene.audio(RATE)) == RATE
    assert shots[0].landmarks.shape == (68, 2)
    openings = [s.opening for s in shots]
    assert min(openings) == 0
    assert max(openings) > 0.1
    quiet = scene.audio(RATE)[int(length(line) * RATE) :]
    assert np.all(quiet == 0)
