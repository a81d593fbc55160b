"""Engines by name: each draws what torch draws, or gives way; and a generator in a file for others."""

import dataclasses
import functools
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import torch
from invariants.faces import moving
from typer.testing import CliRunner

from sidgan import checkpoint, dubbing
from sidgan.cli import app
from sidgan.config import GeneratorConfig
from sidgan.engine import Engine, choice, files, graph, load, redrawn
from sidgan.engine.drawing import opened
from sidgan.errors import CheckpointError, ConfigError, OutputError, SidganError
from sidgan.synth import Mouth, Person, Portrait, pose
from sidgan.types import AS_LEARNT, Opening

SMALL = GeneratorConfig(
    size=32, base=4, cmax=8, start=8, rgb_levels=(32,), rgb="copying", warp_levels=(8, 16), audio_levels=(8,),
    audio_width=1, audio_blocks=0.0, audio_context=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def net():
    found = moving(SMALL)
    found.opens.copy_(torch.linspace(-1, 1, len(found.opens)))
    return found


@pytest.fixture(autouse=True, scope="module")
def traced_once():
    """Writing a graph takes seconds: the same one serves all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "traced", functools.cache(choice.traced))
        yield


def material(size, seed=0, frames=5, references=3):
    """Faces, masks, mels of sound and silence in turns, placed, and reference pictures."""
    rng = np.random.default_rng(seed)
    portrait = Portrait(Person.random(seed), (size, size))
    heads = pose(seed, range(frames + references))
    faces = np.stack([portrait.render(Mouth(0.1 * i), head) for i, head in enumerate(heads)])
    masks = np.zeros((frames, size, size), np.float32)
    masks[:, size // 2 :, size // 5 : -size // 5] = 1
    placed = np.eye(2, 3) + rng.normal(0, 0.03, (frames, references, 2, 3))
    mels = rng.uniform(-4, 4, (frames, 1, 80, 28)).astype(np.float32)
    mels[1::2, ..., 12:] = -4
    return faces[:frames], masks, mels, placed.astype(np.float32), faces[frames:]


def truth(net, faces, masks, mels, placed, pictures, opening=AS_LEARNT):
    """What torch draws in fp32."""

    def pixels(images):
        return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255

    with torch.no_grad():
        reference = opened(net.encode_reference(pixels(pictures)[None]), opening)
        drawn = redrawn(net, pixels(faces), torch.from_numpy(masks > 0)[:, None], torch.from_numpy(mels), reference,
                        torch.from_numpy(placed))  # fmt: skip
    return (drawn * 255).permute(0, 2, 3, 1).numpy()


def apart(drawn, true):
    """Mean and largest difference in grey levels, rounding aside."""
    gap = np.maximum(np.abs(drawn - true) - 0.5, 0)
    return gap.mean(), gap.max()


@pytest.mark.parametrize(("kind", "mean", "most"), [("torch", 0.2, 4), ("onnx", 1e-3, 0.1), ("openvino", 0.2, 4)])
def test_every_engine_draws_what_torch_draws(net, kind, mean, most):
    engine = Engine(net, "cpu", batch=2, kind=kind)
    for person in (1, 2):  # five faces leave a batch of one; then come another person's references
        faces, masks, mels, placed, pictures = material(32, person)
        reference = engine.encode_reference(pictures)
        drawn = engine.run(faces, masks, mels, reference, placed)
        true = truth(net, faces, masks, mels, placed, pictures)
        found = apart(drawn, true)
        assert found[0] <= mean, found
        assert found[1] <= most, found
        parts = [engine.run(f[None], m[None], s[None], reference, p[None])
                 for f, m, s, p in zip(faces, masks, mels, placed, strict=True)]  # fmt: skip
        assert np.array_equal(np.concatenate(parts), drawn), "grouping changes a bit"
        others = truth(net, faces, masks, mels, placed, material(32, person + 5)[-1])
        assert apart(others, true)[0] > 5 * mean, "references matter more than engines"
        wide = truth(net, faces, masks, mels, placed, pictures, Opening(1.5, 0.7))
        drawn_wide = engine.run(faces, masks, mels, engine.encode_reference(pictures, Opening(1.5, 0.7)), placed)
        assert apart(drawn_wide, wide)[0] <= mean < apart(wide, true)[0], "the mouth is opened as far by all"
        scribbled = np.where(masks[..., None] > 0, 255 - faces, faces)
        assert np.array_equal(engine.run(scribbled, masks, mels, reference, placed), drawn)
    assert engine.used.startswith(kind)
    assert "differs" not in engine.used


def test_in_silence_a_mouth_does_not_open_further(net):
    faces, masks, mels, placed, pictures = material(32)
    engine, opening = Engine(net, "cpu"), Opening(1.5, 0.7)
    for sound, same in ((np.full_like(mels, -4), True), (np.abs(mels), False)):
        learnt, told = (engine.run(faces, masks, sound, engine.encode_reference(pictures, one), placed)
                        for one in (AS_LEARNT, opening))  # fmt: skip
        assert np.array_equal(learnt, told) == same


def test_of_three_references_the_shut_one_shows_in_silence_and_the_others_in_speech(net):
    faces, masks, mels, placed, pictures = material(32)
    engine = Engine(net, "cpu", batch=2)
    hidden = masks > 0

    def drawn(shown, sound):
        shown = np.array(shown)
        return engine.run(faces, masks, sound, engine.encode_reference(pictures[shown]), placed[:, shown])[hidden]

    def differ(one, other):
        return np.abs(one.astype(float) - other).mean()

    silence = np.full_like(mels, -4)
    rest = np.where(np.arange(28) < 10, 4, -4).astype(np.float32) + 0 * mels
    for sound, shut in ((np.abs(mels), False), (silence, True)):
        three, pair, alone = drawn([0, 1, 2], sound), drawn([0, 1], sound), drawn([2, 2], sound)
        near, far = (alone, pair) if shut else (pair, alone)
        assert differ(three, near) < 0.05 * differ(pair, alone), "nearly the same"
        assert differ(three, far) > 0.8 * differ(pair, alone)
    three, pair, alone = drawn([0, 1, 2], rest), drawn([0, 1], rest), drawn([2, 2], rest)
    assert 0.05 < differ(three, pair) / differ(pair, alone) < 0.99, "in between, it fades"


@pytest.mark.parametrize("kind", ["torch", "onnx", "openvino"])
def test_threads_may_share_an_engine(net, kind):
    engine = Engine(net, "cpu", batch=2, kind=kind)
    faces, masks, mels, placed, pictures = material(32)
    reference = engine.encode_reference(pictures)

    def drawn(k):
        part = slice(k % 4, k % 4 + 2)
        return engine.run(faces[part], masks[part], mels[part], reference, placed[part]).tobytes()

    alone = [drawn(k) for k in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(drawn, range(100))) == alone * 25


def test_threads_may_set_up_an_engine(net):
    engine, pictures = Engine(net, "cpu", batch=3, kind="onnx"), material(32)[-1]
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: engine.encode_reference(pictures)[0].numpy().tobytes(), range(3)))
    assert len(set(found)) == 1
    assert engine.used == "onnx fp32"


def test_one_graph_is_traced_at_a_time(net, monkeypatch):
    running, most = [], []

    def export(*_, **__):
        running.append(1)
        time.sleep(0.1)
        most.append(len(running))
        running.pop()
        raise torch.onnx.errors.OnnxExporterError("no")

    def trace(_):
        with pytest.raises(SidganError, match="cannot be written as ONNX"):
            graph.traced(net, 2, 32, 2)

    monkeypatch.setattr(torch.onnx, "export", export)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(trace, range(3)))
    assert most == [1, 1, 1]


def test_openvino_draws_the_bundled_weights_at_their_finest():
    engine = Engine(checkpoint.load_generator(), "cpu", batch=2, kind="openvino")
    faces, masks, mels, placed, pictures = material(256)
    engine.run(faces[:2], masks[:2], mels[:2], engine.encode_reference(pictures), placed[:2])
    assert engine.used.startswith("openvino")


def test_references_need_not_be_placed(net):
    faces, masks, mels, placed, pictures = material(32)
    engine = Engine(net, "cpu", batch=2, kind="onnx")
    as_they_lie = np.broadcast_to(np.eye(2, 3, dtype=np.float32), placed.shape)
    reference = engine.encode_reference(pictures)
    drawn = engine.run(faces, masks, mels, reference)
    assert np.array_equal(drawn, engine.run(faces, masks, mels, reference, as_they_lie))


class Odd:
    """A painter that draws what was expected, but ``brighter`` and after so many ``seconds``."""

    def __init__(self, graph, brighter=0.0, seconds=0.0):
        self.name, self._graph, self._brighter, self._seconds = f"odd {seconds}", graph, brighter, seconds

    def encode(self, pictures, opening=AS_LEARNT):
        return {0: pictures}

    def draw(self, *_):
        time.sleep(self._seconds)
        return self._graph.expected + self._brighter / 255


def odd(monkeypatch, kind, **how):
    one = dataclasses.replace(choice._RUNTIMES[kind], make=lambda graph, _: Odd(graph, **how))
    monkeypatch.setitem(choice._RUNTIMES, kind, one)


@pytest.mark.parametrize(("brighter", "kept"), [(0.2, True), (0.4, False), (float("nan"), False)])
def test_an_engine_that_draws_something_else_gives_way_to_torch(net, monkeypatch, brighter, kept):
    odd(monkeypatch, "onnx", brighter=brighter)
    engine = Engine(net, "cpu", batch=2, kind="onnx")
    faces, masks, mels, placed, pictures = material(32)
    drawn = engine.run(faces, masks, mels, engine.encode_reference(pictures), placed)
    if kept:
        assert engine.used == "odd 0.0"
    else:
        assert engine.used.startswith("torch")
        assert "onnx differs from torch by" in engine.used
        assert apart(drawn, truth(net, faces, masks, mels, placed, pictures))[0] < 0.2


@pytest.mark.parametrize(("onnx_takes", "openvino_takes", "chosen"), [(0.3, 0, "odd 0"), (0.3, 0.4, "torch")])
def test_auto_takes_the_fastest(net, monkeypatch, onnx_takes, openvino_takes, chosen):
    odd(monkeypatch, "onnx", seconds=onnx_takes)
    odd(monkeypatch, "openvino", seconds=openvino_takes)
    engine = Engine(net, "cpu", batch=2, kind="auto")
    engine.encode_reference(material(32)[-1])
    assert engine.used.startswith(chosen)


def test_an_engine_is_made_once_for_all_videos(net):
    engine = Engine(net, "cpu", batch=2, kind="onnx").fitting(30)
    painter = engine._painter(2)
    assert engine.fitting(20)._painter(2) is painter


@pytest.mark.parametrize(
    ("kind", "module"), [("onnx", "onnxruntime"), ("onnx", "onnxscript"), ("openvino", "openvino")]
)  # fmt: skip
def test_a_missing_package_is_named(net, monkeypatch, kind, module, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SidganError, match=rf"engine {kind} needs .*pip install 'sidgan\[{kind}\]'"):
        Engine(net, "cpu", kind=kind)
    with pytest.raises(SidganError, match=rf"sidgan\[{kind}\]"):  # before minutes of adaptation
        dubbing.check(tmp_path / "no.mp4", tmp_path / "no.wav", tmp_path / "out.mp4", engine=kind)
    monkeypatch.setitem(choice._RUNTIMES, "onnx", dataclasses.replace(choice._RUNTIMES["onnx"], modules=("no_such",)))
    monkeypatch.setitem(sys.modules, "openvino", None)
    engine = Engine(net, "cpu", batch=2, kind="auto")
    engine.encode_reference(material(32)[-1])
    assert engine.used.startswith("torch"), "auto does without"


def test_an_exported_model_without_an_engine_names_what_is_missing(exported, monkeypatch):
    for kind, runtime in choice._RUNTIMES.items():
        monkeypatch.setitem(choice._RUNTIMES, kind, dataclasses.replace(runtime, modules=("no_such",)))
    with pytest.raises(SidganError, match=r"needs ONNX Runtime or OpenVINO; run: pip install 'sidgan\[onnx\]'"):
        Engine(load(exported), kind="auto").encode_reference(material(64)[-1])


def test_a_wrong_name_is_told(net):
    with pytest.raises(ConfigError, match="no engine 'onxx'; use torch, onnx, openvino or auto"):
        Engine(net, "cpu", kind="onxx")
    result = CliRunner().invoke(app, ["dub", "a.mp4", "a.wav", "-o", "b.mp4", "--engine", "onxx"])
    assert result.exit_code == 2


# -------------------------------------------------------------------------------------------------------------- export


@pytest.fixture(scope="module")
def exported(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    checkpoint.save(folder / "net.safetensors", net, {"trained_on": "drawn people"})
    result = CliRunner().invoke(app, ["export", str(folder / "net.safetensors"), "-o", str(folder / "net.onnx"),
                                      "--size", "64", "--batch", "2"], catch_exceptions=False)  # fmt: skip
    assert result.exit_code == 0
    assert "2 faces of 64 px at a time, 3 reference pictures" in result.output
    return folder / "net.onnx"


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_an_exported_generator_draws_the_same(net, exported, kind):
    engine = Engine(load(exported), kind=kind).fitting(500)
    assert (engine.size, engine.batch, engine.references) == (64, 2, 3)
    faces, masks, mels, placed, pictures = material(64)
    drawn = engine.run(faces, masks, mels, engine.encode_reference(pictures), placed)
    mean, most = apart(drawn, truth(net, faces, masks, mels, placed, pictures))
    assert mean <= (1e-3 if kind == "onnx" else 0.2)
    assert most <= (0.1 if kind == "onnx" else 6)
    with pytest.raises(ConfigError, match="exported for 3 reference pictures, not 1"):
        engine.encode_reference(pictures[:1])


def test_an_exported_generator_is_as_lively_as_suits_it(net, monkeypatch, tmp_path):
    def seen(generator, *_, **__):
        raise SidganError(f"emphasis {generator.emphasis}")

    monkeypatch.setattr(files, "traced", seen)
    checkpoint.save(tmp_path / "net.safetensors", net, {"lively": 1.5})
    with pytest.raises(SidganError, match=r"emphasis 1\.5"):
        files.export(tmp_path / "net.safetensors", tmp_path / "net.onnx")


def test_a_dub_takes_an_exported_generator(exported):
    dubber = dubbing.Dubber(exported, engine="onnx")
    assert dubber.engine.size == 64
    assert dubber.model.startswith("net-")
    with pytest.raises(ConfigError, match="run by the engines onnx and openvino"):
        dubbing.Dubber(exported)


def test_an_exported_file_says_what_it_is(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model)
    said = {p.key: p.value for p in model.metadata_props}
    assert GeneratorConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(said["config"]).items()}
                           ) == SMALL  # fmt: skip
    assert json.loads(said["weights"])["name"] == "net.safetensors"
    assert len(json.loads(said["weights"])["sha256"]) == 64
    assert json.loads(said["meta"]) == {"trained_on": "drawn people"}
    assert "agreed" in said["consent"]
    assert "terms" in said["licence"]
    assert [one.name for one in model.graph.input] == ["faces", "hidden", "mels", "placed", "pictures"]


def test_an_exported_file_that_draws_something_else_is_refused(exported, tmp_path):
    model = onnx.load(exported)
    for one in model.metadata_props:
        if one.key == "expected":
            one.value = json.dumps([v + 0.1 for v in json.loads(one.value)])
    onnx.save(model, tmp_path / "spoiled.onnx")
    with pytest.raises(SidganError, match="differs from torch"):
        Engine(load(tmp_path / "spoiled.onnx"), kind="onnx").encode_reference(material(64)[-1])


def test_what_is_no_exported_file_is_told(tmp_path, exported):
    with pytest.raises(CheckpointError, match="no weights file"):
        load(tmp_path / "no.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(CheckpointError, match="not an ONNX file"):
        load(tmp_path / "text.onnx")
    other = onnx.load(exported)
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(CheckpointError, match="not written by sidgan"):
        load(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("-o", "net.bin"), ConfigError, "must end in .onnx"),
        (("-o", "none/net.onnx"), OutputError, "folder none does not exist"),
        (("-o", "net.onnx", "--size", "100"), ConfigError, "draws faces of 128, 256, 512 px, not 100"),
    ],
)
def test_what_cannot_be_exported_is_told(tmp_path, monkeypatch, arguments, error, text):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["export", *arguments])
    assert isinstance(result.exception, error)
    assert text in str(result.exception)
    assert not list(tmp_path.iterdir())
