"""Shards: what is packed is what was prepared, each process reads its own, and a step sees the same clips for ever."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from typer.testing import CliRunner

from sidgan import media
from sidgan.cli import app
from sidgan.config import SyncNetConfig
from sidgan.data import shards as packing
from sidgan.data.dataset import PackedSet
from sidgan.data.shards import check, fetch_piece, read_index, write_shards
from sidgan.data.shardset import AHEAD, ShardSet
from sidgan.errors import ConfigError, DataError, OutputError
from sidgan.train.loop import LoopConfig, run
from sidgan.train.runs import sync_config, train_syncnet
from sidgan.train.syncnet import SyncTask, SyncTrainConfig

TINY = SyncNetConfig(width=2, audio_width=4, blocks=0.0)


def folder_of(root, lengths, size=32, splits=None):
    """A prepared folder of noise, a clip for each length; ``splits`` gives the splits of a clip's frames."""
    (root / "clips").mkdir(parents=True)
    rng = np.random.default_rng(0)
    records = []
    for number, count in enumerate(lengths):
        name = f"{'ab'[number % 2]}/clip.{number:02}"
        base = root / "clips" / name.replace("/", "__")
        frames = rng.integers(0, 255, (count, 8, 8, 3), np.uint8).repeat(size // 8, 1).repeat(size // 8, 2)
        media.write_clip(Path(f"{base}.mp4"), frames, Fraction(25), crf=30, chroma444=True)
        mel = rng.uniform(-4, 4, (80, count * 16 // 5 + 16)).astype(np.float16)
        masks = rng.uniform(0, 1, (count, 4)).astype(np.float32)
        np.savez(f"{base}.npz", mel=mel, masks=masks, landmarks=rng.random((count, 68, 2), np.float32))
        parts = (splits or (lambda n, c: {"train": (0, c)}))(number, count)
        records.append({"name": name, "file": base.name, "frames": count, "kept": True, "size": size, "splits": parts})
    records.append({"name": "c/blurred", "file": "c__blurred", "frames": 9, "kept": False, "reason": "blurred"})
    (root / "manifest.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return root


def parts_of(number, count):
    if number == 4:
        return {"aside": (0, count)}
    return {"train": (0, count - 15), "heldout": (count - 12, count)} if number < 3 else {"train": (0, count)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("data") / "prepared", [40, 31, 50, 9, 20, 12, 300, 26], splits=parts_of)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Shards of 24 short clips, two in each."""
    folder = tmp_path_factory.mktemp("many")
    source = folder_of(folder / "prepared", [10 + n % 5 for n in range(24)])
    write_shards(source, folder / "shards", 0.06)
    assert 8 <= len(read_index(folder / "shards")[1]) <= 12
    return folder / "shards"


@pytest.fixture
def copied(many, tmp_path):
    """A copy to be damaged."""
    for path in many.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def same(one, other):
    assert one.name == other.name
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.mels, other.mels)
    assert torch.equal(one.masks, other.masks)
    assert np.array_equal(one.landmarks, other.landmarks)


def drawn(data, seed=0):
    return data.windows(np.random.default_rng(seed), 4, 5)


# -------------------------------------------------------------------------------------------------------- the files


def test_shards_hold_what_was_prepared(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "PIECE", 400)  # so that clips come whole, as from the folder
    write_shards(prepared, tmp_path, 0.2)
    data = ShardSet([tmp_path])
    for split, clips in (("train", data.clips), ("heldout", data.sample("heldout").clips)):
        expected = {clip.name: clip for clip in PackedSet(prepared, [split]).clips}
        assert sorted(clip.name for clip in clips) == sorted(expected)
        for clip in clips:
            same(clip, expected[clip.name])
    assert data.splits == ["heldout", "train"], "what was put aside stays there"


def test_clips_are_drawn_as_from_the_folder(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "PIECE", 400)
    write_shards(prepared, tmp_path)
    folder, data = PackedSet(prepared, ["train"]), ShardSet([tmp_path])
    chances = [dict(zip([c.name for c in d.clips], d._probabilities, strict=True)) for d in (folder, data)]
    assert chances[0] == pytest.approx(chances[1])


def test_long_clips_come_in_pieces(prepared, tmp_path):
    write_shards(prepared, tmp_path)
    whole = next(c for c in PackedSet(prepared, ["train"]).clips if len(c) == 300)
    pieces = [clip for clip in ShardSet([tmp_path]).clips if clip.name == whole.name]
    assert [len(piece) for piece in pieces] == [150, 150], "no more than 250 frames in memory, in equal parts"
    pieces.sort(key=lambda piece: not torch.equal(piece.images[0], whole.images[0]))
    for key in ("images", "mels", "masks"):
        assert torch.equal(torch.cat([getattr(piece, key) for piece in pieces]), getattr(whole, key))


def test_the_same_folder_gives_the_same_bytes_and_nothing_old_is_left(prepared, tmp_path):
    write_shards(prepared, tmp_path / "one", 0.2)
    write_shards(prepared, tmp_path / "two", 0.02)
    assert len(list((tmp_path / "two").iterdir())) > len(list((tmp_path / "one").iterdir())) > 3
    write_shards(prepared, tmp_path / "two", 0.2)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert one == two


def test_shards_of_a_split_are_about_alike(many, tmp_path):
    write_shards(many.parent / "prepared", tmp_path, 0.2)
    sizes = [shard.bytes for shard in read_index(tmp_path)[1]]
    assert len(sizes) > 2
    assert max(sizes) < min(0.25e6, 1.3 * min(sizes)), "the last one is no leftover"
    check(tmp_path)


def test_webdataset_reads_them(many):
    wds = pytest.importorskip("webdataset", reason="webdataset is not installed")
    shards = read_index(many)[1]
    samples = list(wds.WebDataset([str(shard.path) for shard in shards], shardshuffle=False, empty_check=False))
    assert len(samples) == 24
    assert all({"json", "mp4", "npz"} <= set(sample) for sample in samples)
    assert len({json.loads(sample["json"])["name"] for sample in samples}) == 24


def test_a_folder_that_is_not_whole_cannot_be_packed(prepared, tmp_path):
    for path in prepared.rglob("*.*"):
        target = tmp_path / path.relative_to(prepared)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / "clips" / "b__clip.01.npz").unlink()
    with pytest.raises(DataError, match=r"b__clip\.01\.npz cannot be read .* prepare the data again"):
        write_shards(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="sidgan shards DATA"):
        ShardSet([tmp_path / "out"])


# -------------------------------------------------------------------------------------------------- who reads what


def test_processes_share_the_shards_out(many):
    seen = []
    for rank in range(3):
        data = ShardSet([many], rank=rank, world=3, pool=3)
        pieces = sum(len(shard.pieces) for shard in data.shards)
        names = []
        for step in range(pieces):
            assert data.at(step) == []
            names.append(data.clips[0].name)
        assert len(set(names)) == pieces, "each clip once in a round"
        seen.append(set(names))
    assert len(set.union(*seen)) == 24
    assert sum(map(len, seen)) == 24, "and none in two processes"


def test_processes_are_judged_on_the_same_clips(prepared, many, tmp_path):
    write_shards(prepared, tmp_path, 0.05)
    counts = [sum(len(s.pieces) for s in ShardSet([many, tmp_path], rank=r, world=5).shards) for r in range(5)]
    assert len(set(counts)) > 1, "processes have unequal shares"
    for pool in (2, 50):
        sets = [ShardSet([many, tmp_path], rank=r, world=5, pool=pool, seed=r).sample("heldout") for r in range(5)]
        assert {tuple(c.name for c in s.clips) for s in sets} == {tuple(c.name for c in sets[0].clips)}
        assert len(sets[0].clips) == min(pool, 3)


def test_threads_share_the_shards_out(many, monkeypatch):
    import threading

    from sidgan.data import shardset

    readers = {}

    def spy(shard, number):
        readers.setdefault(shard.path, set()).add(threading.get_ident())
        return fetch_piece(shard, number)

    monkeypatch.setattr(shardset, "fetch_piece", spy)
    assert len(ShardSet([many]).clips) == 24
    assert all(len(threads) == 1 for threads in readers.values())
    assert len(set.union(*readers.values())) == shardset.READERS


def test_too_few_shards_say_what_to_do(many, tmp_path):
    with pytest.raises(DataError, match=r"for 64 processes.*start fewer.*--size-mb") as caught:
        ShardSet([many], world=64)
    assert "\n" not in str(caught.value)
    size = float(str(caught.value).split()[-1])
    source = many.parent / "prepared"
    write_shards(source, tmp_path, size)
    ShardSet([tmp_path], rank=23, world=24, pool=2)  # as many processes as there are clips, with the size told


# ------------------------------------------------------------------------------------------------- what a step sees


def test_the_pool_follows_from_the_step(many):
    walked, jumped = ShardSet([many], seed=3, pool=6), ShardSet([many], seed=3, pool=6)
    for step in range(40):  # more than a round
        walked.at(step)
        assert len(walked.clips) == 6
        assert len(walked._held) == 6
        assert len(walked._coming) <= AHEAD
    jumped.at(39)
    for one, other in zip(walked.clips, jumped.clips, strict=True):
        same(one, other)
    assert torch.equal(drawn(walked).target, drawn(jumped).target)
    walked.at(12)
    jumped.at(12)
    assert torch.equal(drawn(walked).target, drawn(jumped).target), "and so it is on the way back"
    other = ShardSet([many], seed=4, pool=6)
    other.at(12)
    assert [c.name for c in other.clips] != [c.name for c in walked.clips]


def test_one_clip_is_new_in_each_step(many):
    data = ShardSet([many], pool=6)
    data.at(0)
    first = data.clips
    data.at(1)
    assert [a is b for a, b in zip(first[1:], data.clips[:-1], strict=True)] == [True] * 5


def test_a_small_set_is_held_for_good(many):
    data = ShardSet([many], pool=100)
    before = [clip.name for clip in data.clips]
    data.at(77)
    assert sorted(before) == sorted(set(before))
    assert [clip.name for clip in data.clips] == before


def test_resumed_is_uninterrupted(tmp_path):
    write_shards(folder_of(tmp_path / "prepared", [12] * 8, size=128), tmp_path / "shards", 0.05)

    def task():
        config = SyncTrainConfig(model=TINY, loop=LoopConfig(steps=6), batch=2, negatives=2)
        return SyncTask(config, ShardSet([tmp_path / "shards"], pool=3), {}, Fabric(accelerator="cpu", devices=1))

    quiet = {"steps": 6, "log_every": 1, "eval_every": 100}
    whole = task()
    run(whole, tmp_path / "whole", LoopConfig(**quiet), lambda s: None)
    for _ in range(2):  # out of time after a step, twice
        assert not run(task(), tmp_path / "part", LoopConfig(minutes=0.0, **quiet), lambda s: None)
    again = task()
    run(again, tmp_path / "part", LoopConfig(**quiet), lambda s: None)
    expected, got = whole.state()["net"], again.state()["net"]
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    begun, *ended = ([clip.name for clip in t.train.clips] for t in (task(), whole, again))
    assert ended[0] == ended[1] != begun, "and the pool had moved on"


# ----------------------------------------------------------------------------------------------------------- damage


def damage(shard, number):
    """Change one byte in the middle of a sample's pictures, which still can be decoded."""
    data = bytearray(shard.path.read_bytes())
    offset, length = map(int, shard.pieces[number, :2])
    at = offset + data[offset : offset + length].index(b"mdat") + 500
    data[at] ^= 1
    shard.path.write_bytes(data)
    return read_index(shard.path.parent)[1]


def test_a_damaged_sample_is_named_skipped_and_counted(copied):
    shard = read_index(copied)[1][2]
    name = fetch_piece(shard, 1).unpack().name
    damage(shard, 1)
    with pytest.raises(DataError, match=r"train-000002\.tar: .*clip%2E\d+ is damaged \(its digest does not match\)"):
        check(copied)
    data = ShardSet([copied])
    lines = data.at(0)
    assert len(lines) == 1
    assert f"clip%2E{name[-2:]} is damaged" in lines[0]
    assert len(data.clips) == 23
    assert name not in {clip.name for clip in data.clips}
    assert data.at(1) == [], "it is told once"
    drawn(data)


def test_a_step_sees_the_same_whether_a_sample_before_it_was_damaged_or_not(copied, many):
    damage(read_index(copied)[1][0], 0)
    hurt, sound = ShardSet([copied], pool=6), ShardSet([many], pool=6)
    for step in (0, 5, 20):
        hurt.at(step)
        sound.at(step)
        names = {clip.name for clip in hurt.clips}
        assert names <= {clip.name for clip in sound.clips}
        assert len(names) >= 5


@pytest.mark.parametrize("how", ["missing", "cut", "header"])
def test_a_damaged_shard_is_named(copied, how):
    shard = read_index(copied)[1][1]
    data = shard.path.read_bytes()
    if how == "missing":
        shard.path.unlink()
    else:
        shard.path.write_bytes(data[: len(data) // 2] if how == "cut" else b"\xff" * 600 + data[600:])
    with pytest.raises(DataError, match=r"train-000001\.tar"):
        check(copied)
    lines = ShardSet([copied]).at(0)
    assert lines
    assert all("train-000001.tar" in line for line in lines)


def test_too_much_damage_stops_the_run(copied):
    shards = read_index(copied)[1]
    for shard in shards[2:]:
        shard.path.unlink()
    with pytest.raises(DataError, match=r"11 of \d+ clips cannot be read.*sidgan inspect"):
        ShardSet([copied]).at(0)
    for shard in shards[:2]:
        shard.path.unlink()
    told = []
    with pytest.raises(DataError, match="none of 3 clips"):
        ShardSet([copied], pool=3, report=told.append).at(0)
    assert len(told) >= len(shards), "every shard that is missing has been told"


# ------------------------------------------------------------------------------------------------- the command line


def test_commands_take_shards(tmp_path):
    source = folder_of(tmp_path / "data", [20] * 6, 128, lambda n, c: {"heldout" if n == 5 else "train": (0, c)})
    out = tmp_path / "shards"
    result = CliRunner().invoke(app, ["shards", str(source), str(out), "--size-mb", "0.1"])
    assert result.exit_code == 0, result.output
    assert "train: 5 clips, 100 frames" in result.output
    told = json.loads(CliRunner().invoke(app, ["inspect", str(out), "--json"]).stdout)
    assert sum(facts["shards"] for facts in told["splits"].values()) == len(read_index(out)[1])
    result = CliRunner().invoke(app, ["inspect", str(out)])
    assert result.exit_code == 0, result.output
    assert "heldout: 1 clip, " in result.output
    damage(read_index(out)[1][-1], 0)
    small = [f"model.{k}={v}" for k, v in {"width": 2, "audio_width": 4, "blocks": 0.0}.items()]
    changes = [*small, "batch=2", "negatives=2", "pool=2", "self_test=false", "loop.eval_every=2"]
    command = ["train", "syncnet", str(out), "--steps", "4", "--run", str(tmp_path / "run"), "--device", "cpu"]
    result = CliRunner().invoke(app, [*command, *(word for change in changes for word in ("--set", change))])
    assert result.exit_code == 0, result.output
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "skipped: " in log
    assert "is damaged" in log
    assert "val_heldout_accuracy" in log


def test_what_cannot_work_says_why(many, prepared):
    with pytest.raises(DataError, match="folder they were packed from"):
        PackedSet(many, ["train"])
    with pytest.raises(DataError, match="no clips for night"):
        ShardSet([many]).sample("night")
    with pytest.raises(ConfigError, match="not both"):
        train_syncnet([many, prepared], sync_config("syncnet", 1, None, []), None, "cpu")


def test_shards_do_not_take_the_place_of_the_prepared_folder(tmp_path):
    root = folder_of(tmp_path / "prepared", [12])
    with pytest.raises(OutputError, match="prepared is a prepared folder, which"):
        write_shards(root, root)
    assert len(PackedSet(root, ["train"])) == 12, "it is still read"
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="file cannot be written"):
        write_shards(root, tmp_path / "file")


def test_one_of_something_is_not_told_as_many(monkeypatch):
    monkeypatch.setattr(packing, "held", lambda _: {"train": {"clips": 1, "frames": 75, "bytes": 2e6, "shards": 1}})
    assert packing.described(Path("shards")) == ["train: 1 clip, 75 frames, 2.0 MB in 1 shard"]
