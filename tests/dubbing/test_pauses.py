"""Mouths of real people in pauses: what the bundled weights draw there with and without a reference of shut lips."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sidgan import load_generator, media
from sidgan.audio import SILENCE
from sidgan.dubbing.analysis import analyse
from sidgan.dubbing.redrawing import Job, found_again, redraw
from sidgan.engine import Engine
from sidgan.geometry import crop_face, mouth_opening
from sidgan.people import References
from sidgan.people.views import SHUT


@pytest.mark.parametrize("name", ["sadtalker_WDA_AOC", "latentsync_demo1"])
def test_mouths_are_shut_where_nothing_is_heard(clips: Path, name: str) -> None:
    clip = media.probe(clips / "test" / f"{name}.mp4")
    (person,) = analyse(clip, "largest", lambda *_: None).usable
    (view,) = person.views
    engine = Engine(load_generator("bundled"), "cpu").fitting(128)
    three = References(lambda _: media.read_frames(clip), [person], engine.size, 3).likeness(person, view)
    frames = {frame.index: frame for frame in media.read_frames(clip) if frame.index % 10 == 0}
    rows = [person.row(index) for index in frames if person.refusal(index) is None]
    crops = [crop_face(frames[person.track.first + row], person.track.matrices[row], engine.size).image for row in rows]
    nothing = np.full((1, 80, 28), SILENCE, np.float32)
    jobs = [Job(person, row, crop, nothing, 1.0) for row, crop in zip(rows, crops, strict=True)]

    def opening(count: int) -> float:
        """Median of what is drawn with so many references."""
        some = dataclasses.replace(three, pictures=three.pictures[:count], points=three.points[:count])
        drawn = redraw(engine, jobs, some, engine.encode_reference(some.pictures))
        found = [found_again(image, person.points[row]) for image, row in zip(drawn, rows, strict=True)]
        return float(np.median(mouth_opening(np.stack(found))))

    assert np.median(mouth_opening(person.points[rows])) > 2 * SHUT, "they speak"
    assert opening(3) < min(SHUT, 0.8 * opening(2)), (opening(3), opening(2))
