"""The user study: balanced orders, hidden names, ratings that are kept, agreement of known tables, Table 3."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marked import sidgan

from sidgan import media
from sidgan.errors import ConfigError, InputError
from sidgan.paper.published import QUESTIONS
from sidgan.study import build as building
from sidgan.study.agreement import krippendorff
from sidgan.study.answers import Answers, Rating
from sidgan.study.build import Study
from sidgan.study.order import clip_order, method_order, williams
from sidgan.study.report import as_table, report
from sidgan.study.server import make_server, pages

METHODS = ("Ours", "Wav2Lip", "Ground Truth")


def film(path: Path, level: int, frames: int = 25, sound: bool = True, side: int = 80) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [np.full((side, side, 3), level + i, np.uint8) for i in range(frames)]
    tone = 0.2 * np.sin(np.arange(frames * 640) * 0.2).astype(np.float32)
    media.write_clip(path, pictures, Fraction(25), tone if sound else None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips by each method; the third method lacks one of them."""
    root = tmp_path_factory.mktemp("made")
    for level, method in enumerate(METHODS):
        for clip in range(3):
            if (method, clip) != ("Ground Truth", 2):
                film(root / method / f"clip{clip}.mp4", 60 * level + 20)
    return root


def chosen(folders: Path, methods: tuple[str, ...] = METHODS) -> list[tuple[str, str]]:
    return [(name, str(folders / name)) for name in methods]


@pytest.fixture
def study(folders: Path, tmp_path: Path) -> Path:
    building.build(tmp_path / "study", chosen(folders), seconds=0.6)
    return tmp_path / "study"


def made(clips: int = 2, methods: tuple[str, ...] = ("Ours", "Wav2Lip")) -> Study:
    tokens = tuple(tuple(f"{c}-{m}" for m in methods) for c in range(clips))
    return Study("id", methods, tuple(f"clip{c}" for c in range(clips)), tokens, 30.0, 0)


# ------------------------------------------------------------------------------------------------------------- orders


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_a_williams_square_favours_no_place_and_no_neighbour(count: int) -> None:
    rows = williams(count)
    assert len(rows) == (count if count % 2 == 0 else 2 * count)
    assert all(sorted(row) == list(range(count)) for row in rows)
    places = Counter((place, method) for row in rows for place, method in enumerate(row))
    neighbours = Counter(pair for row in rows for pair in pairwise(row))
    assert len(set(places.values())) == 1
    assert len(places) == count * count
    assert len(set(neighbours.values())) == 1
    assert len(neighbours) == count * (count - 1)


def test_as_many_viewers_as_rows_see_each_clip_in_every_order() -> None:
    for clip in range(5):
        seen = Counter((place, m) for viewer in range(8)
                       for place, m in enumerate(method_order(4, viewer, clip, seed=7)))  # fmt: skip
        assert set(seen.values()) == {2}
    orders = {tuple(clip_order(22, viewer, 7)) for viewer in range(10)}
    assert len(orders) == 10
    assert clip_order(22, 3, 7) == clip_order(22, 3, 7)
    shown = pages(made(5, ("a", "b", "c", "d")), 3)
    assert sorted(shown) == [(c, m) for c in range(5) for m in range(4)]
    assert all(len({c for c, _ in shown[i : i + 4]}) == 1 for i in range(0, 20, 4)), "versions of a clip stay together"


# -------------------------------------------------------------------------------------------------------------- build


def test_clips_are_alike_under_names_that_tell_nothing(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    found, notes = building.build(out, chosen(folders), seconds=0.6, seed=1)
    assert found == building.read(out)
    assert found.clips == ("clip0", "clip1")
    assert notes == ["left out for all methods, since Ground Truth has no such file: clip2"]
    files = sorted(p.stem for p in (out / "clips").iterdir())
    assert files == sorted(token for row in found.tokens for token in row)
    assert len(set(files)) == 6
    for row in found.tokens:
        for level, token in enumerate(row):
            path = out / "clips" / f"{token}.mp4"
            shown = [image for _, image in media.read_rgb(path)]
            assert len(shown) == 15, "0.6 s"
            assert abs(int(shown[0].mean()) - (60 * level + 20)) < 3, "each token shows its method's picture"
            assert media.probe(path).audio_rate == building.RATE
            assert "Ours" not in str(media.metadata(path))
    with pytest.raises(ConfigError, match="holds a study already"):
        building.build(out, chosen(folders))


def test_what_cannot_be_rated_fairly_is_refused(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    with pytest.raises(ConfigError, match="two or more methods"):
        building.build(out, chosen(folders)[:1])
    film(tmp_path / "mute" / "clip0.mp4", 20, sound=False)
    with pytest.raises(InputError, match=r"clip0 as Mute has no sound .*; give one with sound"):
        building.build(out, [*chosen(folders), ("Mute", str(tmp_path / "mute"))])
    film(tmp_path / "short" / "clip0.mp4", 20, frames=12)
    with pytest.raises(InputError, match=r"clip0 is not equally long for all methods \(Ours 1.00 s, Short 0.48 s\)"):
        building.build(out, [*chosen(folders)[:1], ("Short", str(tmp_path / "short"))])
    film(tmp_path / "other" / "elsewhere.mp4", 20)
    with pytest.raises(InputError, match=r"no clip is common to all methods .*; give the same clips the same file"):
        building.build(out, [*chosen(folders)[:1], ("Other", str(tmp_path / "other"))])
    with pytest.raises(ConfigError, match="Net is a model: give --clips"):
        building.build(out, [*chosen(folders)[:1], ("Net", "bundled")])
    assert not (out / building.FILE).exists()


ANEW = "build the study anew in another folder"


def test_a_study_of_another_version_or_without_its_clips_is_named(study: Path) -> None:
    values = json.loads((study / "study.json").read_text(encoding="utf-8"))
    (study / "study.json").write_text(json.dumps(values | {"version": "sidgan-study-0"}))
    with pytest.raises(InputError, match=f"version sidgan-study-0, not sidgan-study-1; {ANEW}"):
        building.read(study)
    odd = json.dumps(values | {"tokens": 1})
    for damaged, says in ("{", "cannot be read"), ("[]", "version None"), (odd, "damaged"):
        (study / "study.json").write_text(damaged)
        with pytest.raises(InputError, match=f"{says}.*; .*{ANEW}"):
            building.read(study)
    (study / "study.json").write_text(json.dumps(values))
    (study / "clips" / f"{values['tokens'][0][0]}.mp4").unlink()
    with pytest.raises(InputError, match=f"is gone; put it back, or {ANEW}"):
        building.read(study)
    with pytest.raises(InputError, match="holds no finished study"):
        building.read(study.parent)


# ------------------------------------------------------------------------------------------------------------ answers


def test_answers_are_kept_and_a_later_one_counts(study: Path) -> None:
    answers = Answers(study, building.read(study))
    assert [answers.viewer(name) for name in ("anna", " ben ", "anna", "ben")] == [0, 1, 0, 1]
    answers.rate(Rating(0, 1, 2, "sync", 4))
    answers.rate(Rating(0, 1, 2, "sync", 2))
    again = Answers(study, building.read(study))
    assert again.all() == [Rating(0, 1, 2, "sync", 2)]
    assert again.names() == {0: "anna", 1: "ben"}
    for wrong in (Rating(0, 9, 0, "sync", 1), Rating(0, 0, 0, "beauty", 1), Rating(0, 0, 0, "sync", 6)):
        with pytest.raises(ConfigError, match=r"; (load the page again|choose one of these)"):
            answers.rate(wrong)
    with pytest.raises(InputError):
        answers.rate(Rating(7, 0, 0, "sync", 1))
    with pytest.raises(ConfigError, match="1 to 40 letters; give another"):
        answers.viewer("  ")


def test_ratings_of_another_study_are_never_mixed_in(study: Path) -> None:
    shown = building.read(study)
    Answers(study, shown).viewer("anna")
    with pytest.raises(InputError, match="ratings of another study"):
        Answers(study, Study(**vars(shown) | {"id": "other"}))
    (study / "ratings.sqlite").write_bytes(b"this is no table of ratings " * 40)
    with pytest.raises(InputError, match=r"cannot be used as a file of ratings .*; put a copy back, or move it away"):
        Answers(study, shown)


# ------------------------------------------------------------------------------------------------------------- server


@pytest.fixture
def address(study: Path) -> Iterator[str]:
    server = make_server(study, 0)
    assert server.server_address[0] == "127.0.0.1", "no other computer can come in"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def ask(url: str, values: Any = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    body = None if values is None else json.dumps(values).encode()
    sent = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, sent), timeout=20) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def test_the_page_gives_clips_in_order_and_takes_ratings(study: Path, address: str) -> None:
    status, page, headers = ask(f"{address}/")
    assert status == 200
    assert b"Rate clips" in page
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert b"http" not in ask(f"{address}/page.js")[1], "nothing from elsewhere"
    status, answer, _ = ask(f"{address}/api/join", {"name": "anna"})
    joined = json.loads(answer)
    shown = building.read(study)
    assert [p["clip"] for p in joined["pages"]] == [shown.tokens[c][m] for c, m in pages(shown, 0)]
    assert not any(name.encode() in answer for name in (*METHODS, "clip0"))
    assert ask(f"{address}/api/rate", {"name": "anna", "page": 2, "question": "visual", "score": 3})[0] == 200
    clip, method = pages(shown, 0)[2]
    assert Answers(study, shown).all() == [Rating(0, clip, method, "visual", 3)]
    assert json.loads(ask(f"{address}/api/join", {"name": "anna"})[1])["pages"][2]["scores"] == {"visual": 3}
    whole = (study / "clips" / f"{shown.tokens[0][0]}.mp4").read_bytes()
    url = f"{address}/clips/{shown.tokens[0][0]}.mp4"
    assert ask(url)[1] == whole
    status, part, headers = ask(url, Range="bytes=100-199")
    assert (status, part) == (206, whole[100:200])
    assert headers["Content-Range"] == f"bytes 100-199/{len(whole)}"
    assert ask(url, Range="bytes=-50")[1] == whole[-50:]
    assert ask(url, Range="bytes=9999999-")[0] == 416


def test_nothing_else_is_given_and_nobody_else_may_rate(study: Path, address: str) -> None:
    for path in ("/study.json", "/clips/../study.json", "/ratings.sqlite", "/clips/x.mp4", "/server.py"):
        assert ask(f"{address}{path}")[0] == 404
    vote = {"name": "eve", "page": 0, "question": "sync", "score": 5}
    assert ask(f"{address}/api/rate", vote, Host="evil.example")[0] == 403
    assert ask(f"{address}/api/rate", vote, Origin="http://evil.example")[0] == 403
    assert ask(f"{address}/api/rate", vote, Content_Type="text/plain")[0] == 415
    assert ask(f"{address}/api/rate", {**vote, "name": "x" * 9000})[0] == 413
    for wrong in ({"score": 6}, {"page": 99}, {"page": "0"}, {"question": "x"}, {"score": True}, {"name": ""}):
        status, answer, _ = ask(f"{address}/api/rate", vote | wrong)
        assert status == 400
        assert json.loads(answer)["error"]
    assert Answers(study, building.read(study)).all() == []


def test_viewers_at_the_same_time_lose_nothing(study: Path, address: str) -> None:
    def rate(name: str) -> None:
        for page in range(6):
            assert ask(f"{address}/api/rate", {"name": name, "page": page, "question": "sync", "score": 2})[0] == 200

    threads = [threading.Thread(target=rate, args=(f"viewer{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = Answers(study, building.read(study))
    assert len(answers.all()) == 24
    assert len(set(answers.names().values())) == 4


# ---------------------------------------------------------------------------------------------------------- agreement

N = math.nan


def test_alpha_of_krippendorffs_own_example() -> None:
    scores = np.array([
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ])  # fmt: skip
    assert krippendorff(scores) == pytest.approx(0.815, abs=5e-4)


def test_alpha_is_1_in_agreement_0_by_chance_and_below_in_opposition() -> None:
    rng = np.random.default_rng(0)
    same = np.tile(rng.integers(1, 6, 40).astype(float), (3, 1))
    assert krippendorff(same) == 1
    assert abs(krippendorff(rng.integers(1, 6, (10, 400)).astype(float))) < 0.03
    assert krippendorff(np.array([[1.0, 5, 1, 5], [5, 1, 5, 1]])) < -0.5
    assert math.isnan(krippendorff(np.full((3, 8), 4.0))), "one score only"
    assert math.isnan(krippendorff(np.array([[1.0, 2, N], [N, N, 3]]))), "nothing was rated twice"
    near, far = np.array([[1.0, 2, 3, 4, 5], [2, 3, 4, 5, 5]]), np.array([[1.0, 2, 3, 4, 5], [5, 4, 3, 2, 2]])
    assert krippendorff(near) > 0.5 > krippendorff(far)


# ------------------------------------------------------------------------------------------------------------- report


def ratings_of(scores: dict[tuple[int, int, int], tuple[int, ...]]) -> list[Rating]:
    """From (viewer, clip, method) -> answers to the three questions, or to the first of them."""
    return [Rating(*key, question, score) for key, some in scores.items()
            for question, score in zip(QUESTIONS, some, strict=False)]  # fmt: skip


def test_only_complete_blocks_count_and_the_others_are_named() -> None:
    whole = {(v, c, m): (4 - m, 3, 5 - 2 * m) for v in (0, 1) for c in (0, 1) for m in (0, 1)}
    ratings = ratings_of(whole | {(1, 1, 1): (1, 1), (2, 0, 0): (1, 1, 1)})  # ben's last is half, cleo's is alone
    found = report(made(), ratings, {0: "anna", 1: "ben", 2: "cleo"})
    assert (found.blocks, found.begun, found.viewers) == (3, 5, ("anna", "ben"))
    assert found.means["Ours"]["sync"].mean == 4, "neither cleo's 1 nor ben's half-finished clip"
    assert found.means["Wav2Lip"]["overall"] == (3, 3, 3)
    assert "left out: ben has not finished clip1" in found.notes
    assert "left out: cleo has not finished clip0" in found.notes
    assert "cleo has not started 1 of 2 clips" in found.notes
    with pytest.raises(InputError, match=r"rated all 2 versions of a clip yet \(left out.*\); rate them on the page"):
        report(made(), ratings_of({(0, 0, 0): (1, 1, 1)}), {0: "anna"})


def test_table_3_has_the_papers_form() -> None:
    rng = np.random.default_rng(1)
    scores = {(v, c, m): tuple(int(s) for s in np.clip(rng.integers(2, 5, 3) + (m == 0), 1, 5))
              for v in range(5) for c in range(6) for m in range(3)}  # fmt: skip
    study = made(6, ("ours", "wav2lip", "Mine"))
    found = report(study, ratings_of(scores), {v: f"v{v}" for v in range(5)})
    table = as_table(found)
    assert table.head == ("Sync ↑", "Visual ↑", "Overall ↑")
    lines = {(line.method, line.source): line.cells for line in table.lines}
    assert lines["SIDGAN", "paper"] == ("3.52", "3.62", "3.41")
    assert lines["Wav2Lip-384", "paper"] == ("3.03", "1.90", "2.19")
    mean = np.mean([some[0] for (_, _, m), some in scores.items() if m == 0])
    assert lines["SIDGAN", "here"][0].startswith(f"{mean:.2f} ±")
    assert ("Mine", "here") in lines
    assert ("Mine", "paper") not in lines
    assert {table.lines[i].method for i, _ in table.best} == {"SIDGAN"}
    sync = found.means["ours"]["sync"]
    assert sync.low < sync.mean < sync.high
    assert "Krippendorff's alpha for ordinal data: sync" in table.text()
    assert json.loads(json.dumps(found.to_dict()))["paper"]["SIDGAN"]["sync"] == 3.52


def test_report_by_command(study: Path) -> None:
    shown = building.read(study)
    code, said = sidgan("study", "report", study)
    assert code == 2
    assert "nobody has rated all 3 versions" in said
    answers = Answers(study, shown)
    for name in ("anna", "ben"):
        viewer = answers.viewer(name)
        for clip in range(2):
            for method in range(3):
                for question in QUESTIONS:
                    answers.rate(Rating(viewer, clip, method, question, 1 + (clip + method + viewer) % 5))
    code, said = sidgan("study", "report", study)
    assert code == 0
    assert "Table 3, user study (2 clips, 2 viewers here" in said
    assert "Ground Truth" in said
    with (study / "ratings.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["viewer", "clip", "method", "sync", "visual", "overall"]
    assert len(rows) == 12
    assert (study / "table3.md").read_text(encoding="utf-8").startswith("**Table 3")
    assert sqlite3.connect(study / "ratings.sqlite").execute("SELECT COUNT(*) FROM ratings").fetchone() == (36,)


def test_build_by_command_says_what_is_wrong(folders: Path, tmp_path: Path) -> None:
    code, said = sidgan("study", "build", tmp_path / "s", "--method", "Ours")
    assert code == 2
    assert "NAME=PLACE" in said
    two = [text for name in METHODS[:2] for text in ("--method", f"{name}={folders / name}")]
    code, said = sidgan("study", "build", tmp_path / "s", *two, "--count", 1, "--seconds", 0.5)
    assert code == 0
    assert "1 clip by 2 methods" in said
    assert sidgan("study", "serve", tmp_path / "none")[0] == 2
