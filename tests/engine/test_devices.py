"""Which GPU, and in which precision: what a user names is what is used."""

from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from sidgan import evaluation
from sidgan.cli import app, paper_tables
from sidgan.engine import choose_device, choose_precision
from sidgan.engine.drawing import TorchPainter
from sidgan.errors import ConfigError
from sidgan.evaluation import Settings
from sidgan.paper import ablation, places
from sidgan.train import runs
from sidgan.train.processes import topology


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch):
    """An Ampere and a Turing, which emulates bf16, and one process."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5) if device.index else (8, 0))
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def test_bf16_is_for_what_multiplies_it(monkeypatch):
    assert [choose_precision(choose_device(name)) for name in ("auto", "cuda:0", "cuda:1")] == [
        "bf16-mixed", "bf16-mixed", "32-true"]  # fmt: skip
    painters = [TorchPainter(None, choose_device(name)) for name in ("cuda:0", "cuda:1")]
    assert [painter.name for painter in painters] == ["torch bf16", "torch fp32"]
    assert TorchPainter(None, choose_device("cuda:0"), exact=True).name == "torch fp32"


def test_a_torch_that_does_not_tell_what_a_processor_can_do_is_not_asked(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert choose_precision(choose_device("cpu")) == "32-true"


@pytest.mark.parametrize("name", ["cuda:2", "cuda:x", "cpu:1", "tpu"])
def test_a_device_that_is_not_there_is_told(name):
    with pytest.raises(ConfigError, match=f"no device '{name}'"):
        choose_device(name)


def test_training_takes_the_gpu_that_was_named(monkeypatch):
    made = []
    monkeypatch.setattr(runs, "Fabric", lambda **how: made.append(how) or SimpleNamespace(launch=lambda: None))
    for name in ("cuda:1", "cuda", "cpu"):
        runs.launch(name, "auto")
    assert [(how["accelerator"], how["devices"]) for how in made] == [("cuda", [1]), ("cuda", 1), ("cpu", 1)]
    assert made[0]["precision"] == "32-true"


def test_several_processes_share_out_the_gpus_themselves(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="give --device cuda, not cuda:1"):
        topology(torch.device("cuda:1"))
    assert topology(torch.device("cuda"))["devices"] == 2


class Stop(Exception):  # noqa: N818  no error
    pass


@pytest.mark.parametrize(("where", "call", "words"), [
    (evaluation, "evaluate_to", ("eval", "bundled", "data", "--out", "x")),
    (evaluation, "robustness_to", ("robustness", "bundled", "data", "--out", "x")),
    (ablation, "ablate", ("paper", "ablation", "data", "--out", "x")),
])  # fmt: skip
def test_judging_takes_the_gpu_that_was_named(where, call, words, monkeypatch):
    seen = []

    def instead(*arguments, settings=None, **_):
        seen.append((settings or arguments[0]).device)
        raise Stop

    monkeypatch.setattr(where, call, instead)
    monkeypatch.setattr("sidgan.paper.ablation.check", lambda plan: {})  # of data that is not there
    result = CliRunner().invoke(app, [*words, "--device", "cuda:1"])
    assert isinstance(result.exception, Stop), result.output
    assert seen == ["cuda:1"]


def test_tables_judge_on_the_gpu_that_was_named(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(places, "judged", lambda *named, how=None: seen.append((how or named[-1]).device) or [])
    monkeypatch.setattr(places, "unfinished", lambda place: None)
    monkeypatch.setattr(places, "judgeable", lambda *_: [])
    paper_tables._comparisons([f"Ours={tmp_path}"], None, None, "raw", (False, None, None), None, 1, "cuda:1", tmp_path)
    assert seen == ["cuda:1"]


def test_settings_of_judging_name_a_device():
    assert Settings(device="cuda:1").device == "cuda:1"
    for name in ("auto", "cuda:", "gpu"):
        with pytest.raises(ConfigError, match="device must be cpu, cuda or cuda:N, not"):
            Settings(device=name)
