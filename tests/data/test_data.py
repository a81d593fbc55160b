"""Which frames may be trained on, how far sound and picture are apart, and what windows are drawn."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from sidgan import audio, geometry, media
from sidgan.data import dataset
from sidgan.data.dataset import PackedClip, PackedSet, Windows, box_masks, reference_frames, stack_windows
from sidgan.data.offset import estimate_offset
from sidgan.data.splits import Rules, Splits
from sidgan.errors import ConfigError, DataError
from sidgan.geometry import mouth_opening

# ------------------------------------------------------------------------------------------------------------ splits

RULES = """
never_train = ["test/*"]
[unseen]
hd = ["train/hd_*"]
[heldout]
clips = ["grid/*"]
every = 3
tails = ["train/long", "train/short"]
tail_share = 0.2
tail_gap_s = 2.0
"""
NAMES = ["test/x", "train/hd_1", "train/long", "train/other", *(f"grid/{i}" for i in range(7))]


@pytest.fixture
def rules(tmp_path: Path) -> Splits:
    path = tmp_path / "splits.toml"
    path.write_text(RULES)
    return Splits.read(path, NAMES)


def test_each_rule_gives_its_ranges(rules: Splits) -> None:
    assert rules.ranges("test/x", 100) == {"test": (0, 100)}
    assert rules.ranges("train/hd_1", 100) == {"unseen_hd": (0, 100)}
    assert rules.ranges("train/other", 100) == {"train": (0, 100)}
    assert rules.ranges("train/long", 1000) == {"train": (0, 750), "heldout": (800, 1000)}
    assert rules.ranges("train/short", 40) == {"train": (0, 0), "heldout": (32, 40)}


def test_every_third_clip_is_held_out(rules: Splits) -> None:
    held = [n for n in NAMES if n.startswith("grid/") and rules.ranges(n, 50) == {"heldout": (0, 50)}]
    assert held == ["grid/0", "grid/3", "grid/6"]


@pytest.mark.parametrize("frames", [1, 10, 99, 5000])
def test_no_frame_is_on_two_sides(rules: Splits, frames: int) -> None:
    for name in NAMES:
        covered: set[int] = set()
        for first, last in rules.ranges(name, frames).values():
            assert 0 <= first <= last <= frames
            assert covered.isdisjoint(range(first, last))
            covered |= set(range(first, last))


def test_default_holds_out_every_twentieth() -> None:
    names = [f"{i:03}" for i in range(40)]
    rules = Splits.default(names)
    assert [n for n in names if "heldout" in rules.ranges(n, 10)] == ["000", "020"]
    assert Splits.default(names[:19]).ranges("000", 10) == {"train": (0, 10)}


def test_default_leaves_the_pieces_of_one_video_on_one_side() -> None:
    wholes = {f"talk{i:02}_p{k:03}": f"talk{i:02}" for i in range(40) for k in range(3)}
    rules = Splits.default(list(wholes), wholes)
    held = {name for name in wholes if "heldout" in rules.ranges(name, 10)}
    assert held == {name for name, whole in wholes.items() if whole in ("talk00", "talk20")}
    few = {name: whole for name, whole in wholes.items() if whole < "talk19"}
    rules = Splits.default(list(few), few)
    assert all(rules.ranges(name, 10) == {"train": (0, 10)} for name in few), "57 pieces, but 19 videos"


def test_unreadable_rules_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Splits.read(tmp_path / "none.toml", [])
    bad = tmp_path / "bad.toml"
    bad.write_text("= 3")
    with pytest.raises(ConfigError, match="not valid TOML"):
        Splits.read(bad, [])
    bad.write_bytes(b"never_train = ['\xff']")
    with pytest.raises(ConfigError, match="not valid TOML"):
        Splits.read(bad, [])


@pytest.mark.parametrize(("text", "told"), [
    ("[heldot]\nclips = ['a']", "unknown key 'heldot'; did you mean 'heldout'"),
    ("[heldout]\nclip = ['a']", "unknown key 'heldout.clip'; did you mean 'clips'"),
    ("never_train = 'a'", "'never_train' must be a list, not 'a'"),
    ("unseen = ['a']", "'unseen' must be a table"),
    ("[unseen]\npeople = 'a'", "'unseen.people' must be a list"),
    ("[heldout]\nclips = ['a']\nevery = 0", "every must be 1 or more"),
    ("[heldout]\ntails = ['a']\ntail_share = 1.5", "tail_share must be between 0 and 1"),
    ("[heldout]\ntails = ['a']\ntail_gap_s = -1", "tail_gap_s must be 0 or more"),
])  # fmt: skip
def test_a_rule_that_would_be_passed_over_is_an_error(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "splits.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"splits.toml: .*{told}"):
        Splits.read(path, ["a", "b"])


def test_one_person_is_not_trained_on_and_unseen(tmp_path: Path) -> None:
    path = tmp_path / "splits.toml"
    same = "[same_person]\ngroups = [['hd/ann_*', 'long'], ['test/bob', 'bob']]\n"
    path.write_text("never_train = ['test/*']\n[heldout]\ntails = ['long']\n" + same)
    Splits.read(path, ["hd/ann_1", "long", "test/bob", "carl"])
    with pytest.raises(ConfigError, match="bob is for training and test/bob is not"):
        Splits.read(path, ["test/bob", "bob"])


def test_rules_that_match_nothing_are_named(rules: Splits) -> None:
    assert rules.idle == ["train/short"]
    assert Splits(Rules(never_train=("tests/*",), unseen={"hd": ("a", "b")}), ["test/x", "b"]).idle == ["tests/*", "a"]


def test_brackets_are_part_of_names() -> None:
    names = ["Talk [dQw4w9WgXcQ]", "Talk 2 [dQw4w9WgXcQ]", "Talk 3 [other]"]
    rules = Splits(Rules(never_train=(names[0], "Talk 2 [dQw*")), names)
    assert [list(rules.ranges(name, 9)) for name in names] == [["test"], ["test"], ["train"]]
    assert rules.idle == []


def test_a_rule_for_a_clip_holds_for_the_pieces_it_was_cut_into() -> None:
    rules = Splits(Rules(never_train=("talk",)), ["talk_p000", "talk_p001", "talk"], {"talk_p001": "talk"})
    assert [list(rules.ranges(n, 9)) for n in ("talk_p000", "talk_p001", "talk")] == [["train"], ["test"], ["test"]]


# ------------------------------------------------------------------------------------------------------------ offset


def speaking(frames: int, lag: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks of a mouth that opens with the loudness of a sound, ``lag`` frames after it, and the sound's mel."""
    rng = np.random.default_rng(seed)
    loudness = np.maximum(0, gaussian_filter1d(rng.normal(0, 1, frames + 100), 2))
    loudness /= loudness.max()
    at = np.arange(0, frames, 25 / 80)
    envelope = np.interp(at, np.arange(frames), loudness[50 : 50 + frames])
    mel = -4 + 6 * envelope * rng.uniform(0.6, 1, (80, 1)) + rng.normal(0, 0.1, (80, len(at)))
    opening = loudness[50 - lag : 50 - lag + frames]  # frame i does what was heard at frame i - lag
    points = np.zeros((frames, 68, 2), np.float32)
    points[:, 36], points[:, 45] = (40, 40), (90, 40)
    points[:, 48], points[:, 54] = (50, 90), (80, 90)
    points[:, [62, 51]], points[:, [66, 57]] = (65, 90), (65, 90)
    points[:, [66, 57], 1] += 15 * opening[:, None]
    return points + rng.normal(0, 0.05, points.shape).astype(np.float32), mel


@pytest.mark.parametrize("lag", [-12, -3, 0, 1, 7])
def test_offset_is_found_with_its_sign(lag: int) -> None:
    found = estimate_offset(*speaking(300, lag))
    assert found.frames == lag
    assert found.evidence > 5  # large lags are found, but with less evidence
    assert found.trusted or abs(lag) > 5


def test_unrelated_sound_is_not_trusted() -> None:
    trusted = 0
    for seed in range(5):
        points, _ = speaking(300, 0, seed)
        _, mel = speaking(300, 0, seed + 50)
        trusted += estimate_offset(points, mel).trusted
    assert trusted == 0


def test_mouth_opening_is_in_eye_distances() -> None:
    points = np.zeros((2, 68, 2))
    points[:, 45, 0] = 50
    points[1, 66, 1] = 10
    np.testing.assert_allclose(mouth_opening(points), [0, 0.2])
    np.testing.assert_allclose(mouth_opening(3 * points), [0, 0.2])


# ----------------------------------------------------------------------------------------------------------- windows


def counting_clip(name: str, count: int) -> PackedClip:
    """Picture i and sound i are i all over."""
    numbers = torch.arange(count)[:, None, None, None]
    landmarks = np.zeros((count, 68, 2), np.float32)
    landmarks[:, 45, 0] = 1.0  # how far the eyes are apart
    return PackedClip(
        name=name, images=numbers.to(torch.uint8).expand(-1, 3, 8, 8), mels=numbers.half().expand(-1, 1, 80, 16),
        masks=torch.tensor([0.25, 0.5, 0.75, 1.0]).expand(count, 4), landmarks=landmarks,
    )  # fmt: skip


@pytest.mark.parametrize("length", [10, 26, 40, 200])
@pytest.mark.parametrize("count", [1, 2])
def test_references_are_never_inside_their_window(length: int, count: int) -> None:
    rng, clip = np.random.default_rng(0), counting_clip("one", length)
    for start in range(length - 4):
        for reference in reference_frames(rng, clip, start, 5, count):
            assert 0 <= reference < length
            assert not start <= reference < start + 5
            if length >= 60:
                assert abs(reference - start - 2) >= 25


def test_of_two_references_one_has_closed_and_one_open_lips() -> None:
    rng, clip = np.random.default_rng(0), counting_clip("one", 90)
    clip.landmarks[:, 66, 1] = opening = rng.permutation(90)
    drawn = [reference_frames(rng, clip, 20, 5, 2) for _ in range(50)]
    far = np.sort(opening[48:])
    closed, wide = np.array([[opening[i] for i in pair] for pair in drawn]).T
    assert closed.max() < far[len(far) // 3 + 1]
    assert wide.min() > far[-len(far) // 3 - 1]
    assert len(set(closed)) > 5  # not always the same ones
    assert len(set(wide)) > 5


def test_windows_keep_picture_and_sound_together() -> None:
    clip = counting_clip("a", 50)
    windows = stack_windows([(clip, 7, [40]), (clip, 20, [0])], 5, 8)
    assert windows.target.shape == (2, 5, 3, 8, 8)
    assert (windows.target[0, :, 0, 0, 0] * 255).round().tolist() == [7, 8, 9, 10, 11]
    assert windows.mels[0, :, 0, 0, 0].tolist() == [7, 8, 9, 10, 11]
    assert windows.sync_mel[:, 0, 0, 0].tolist() == [9, 22]
    assert (windows.reference[:, 0, 0, 0, 0] * 255).round().tolist() == [40, 0]
    assert windows.mask[0, 0, 0].sum() == 16


def test_masks_are_drawn_as_geometry_draws_them() -> None:
    boxes = np.sort(np.random.default_rng(0).uniform(0, 1, (20, 2, 2)), 1).reshape(20, 4).astype(np.float32)
    for box, mask in zip(boxes, box_masks(torch.from_numpy(boxes), 31), strict=True):
        assert np.array_equal(mask[0].numpy(), geometry.mask_image(box, 31))


# -------------------------------------------------------------------------------------------------- a prepared folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of flat frames that grow brighter, 30 for training and 20 held out."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "clips").mkdir()
    records = []
    for name in ("one", "two"):
        frames = [np.full((32, 32, 3), 4 * i, np.uint8) for i in range(50)]
        media.write_clip(root / "clips" / f"{name}.mp4", frames, Fraction(25), crf=4, chroma444=True)
        mel = np.repeat(np.arange(176)[None] / 44, 80, 0).astype(np.float16)
        masks = np.tile(np.array([0.2, 0.5, 0.8, 1], np.float32), (50, 1))
        np.savez(root / "clips" / f"{name}.npz", mel=mel, masks=masks, landmarks=np.zeros((50, 68, 2), np.float32))
        splits = {"train": (0, 30), "heldout": (30, 50)}
        records.append({"name": name, "file": name, "frames": 50, "splits": splits})
    (root / "manifest.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    return root


def test_a_split_holds_its_frames_only(prepared: Path) -> None:
    train, held = PackedSet(prepared, ["train"]), PackedSet(prepared, ["heldout"])
    assert (len(train), len(held), train.size) == (60, 40, 32)
    brightness = held.clips[0].images.float().mean((1, 2, 3))
    assert brightness == pytest.approx(4 * np.arange(30, 50), abs=3)
    with np.load(prepared / "clips" / "one.npz") as arrays:
        mel = arrays["mel"].astype(np.float32)
    expected = audio.mel_window(mel, Fraction(33, 25), 6)  # frame 3 of the split is frame 33 of the clip
    np.testing.assert_allclose(held.clips[0].mels[3, 0].float(), expected, atol=0.01)


def test_draws_repeat_with_their_seed(prepared: Path) -> None:
    data = PackedSet(prepared, ["train"])

    def draw(seed: int) -> Windows:
        return data.windows(np.random.default_rng(seed), 6, 5)

    one, same, other = draw(3), draw(3), draw(4)
    assert torch.equal(one.target, same.target)
    assert torch.equal(one.reference, same.reference)
    assert torch.equal(one.mels, same.mels)
    assert not torch.equal(one.target, other.target)


def test_damaged_data_is_one_line_with_its_file(prepared: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(prepared, damaged)
    for text in (b"PK no arrays", b""):
        (damaged / "clips" / "one.npz").write_bytes(text)
        with pytest.raises(DataError, match=r"one\.npz cannot be read \(.*\); remove it and prepare again"):
            PackedSet(damaged, ["train"])
    np.savez(damaged / "clips" / "one.npz", mel=np.zeros((80, 176)))
    with pytest.raises(DataError, match=r"one\.npz cannot be read \(.*masks"):
        PackedSet(damaged, ["train"])
    (damaged / "clips" / "one.npz").unlink()
    with pytest.raises(DataError, match=r"one\.npz cannot be read \(No such file"):
        PackedSet(damaged, ["train"])
    with (damaged / "manifest.jsonl").open("r+b") as file:
        file.truncate(150)
    with pytest.raises(DataError, match=r"manifest\.jsonl:2 is damaged; make it again: sidgan prepare"):
        PackedSet(damaged, ["train"])


def test_missing_data_says_what_to_do(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="sidgan prepare"):
        PackedSet(tmp_path, ["train"])
    with pytest.raises(DataError, match="no clips for test"):
        PackedSet(prepared, ["test"])
    monkeypatch.setattr(dataset, "MIN_FRAMES", 21)
    with pytest.raises(DataError, match="no clips for heldout"):
        PackedSet(prepared, ["heldout"])
