"""The paper's tables from results whose answers are known; what was judged otherwise is refused, and named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_results import make_result
from marked import sidgan
from small import save_networks

from sidgan import checkpoint
from sidgan.errors import ConfigError, InputError
from sidgan.evaluation import EvalResult, Record
from sidgan.paper import budgets, collect, scatter, table4
from sidgan.paper.ablation import SETTINGS
from sidgan.paper.orderings import orderings, told
from sidgan.paper.published import ABLATION, BENCHMARKS, GROUND, SEVEN, STUDY, known_as
from sidgan.paper.tables import benchmark

FULL = {"ssim": [0.9, 0.9, 0.8, 0.8], "lse_d": [7.0, 7.0, 8.0, 8.0], "lse_c": [6.0] * 4, "lmd": [2.0] * 4}
TRUTH = {"ssim": 1.0, "lse_d": 7.5, "lse_c": 6.5, "lmd": 0.0}


def read(name: str, folder: Path, **how: Any) -> collect.Judged:
    values = how.pop("values", FULL)
    return collect.read_judged(name, make_result(folder, values, **{"truth": TRUTH} | how))


def test_the_papers_numbers_are_all_there() -> None:
    assert [len(BENCHMARKS[s]) for s in ("avspeech", "hdtf", "lrw")] == [6, 6, 6]
    assert tuple(BENCHMARKS["hdtf"]["SIDGAN"].values()) == (12.15, 0.95, 28.12, 0.17, 2.99, 6.80, 8.05)
    assert BENCHMARKS["lrw"][GROUND] == {"lse_d": 7.17, "lse_c": 6.34}
    assert STUDY["PC-AVS"] == {"sync": 3.07, "visual": 2.57, "overall": 2.57}
    assert ABLATION["perceptual"] == {"fid": 15.29, "lse_d": 7.49, "lse_c": 7.21}
    assert ABLATION.keys() < SETTINGS.keys()


@pytest.mark.parametrize(("name", "method"), [
    ("ours", "SIDGAN"), ("wav2lip 384", "Wav2Lip-384"), ("PCAVS", "PC-AVS"), ("Wav2Lip", "Wav2Lip"), ("other", None),
])  # fmt: skip
def test_spelling_does_not_matter(name: str, method: str | None) -> None:
    assert known_as(name, list(BENCHMARKS["hdtf"])) == method


def test_a_table_holds_what_was_measured_beside_what_the_paper_says(tmp_path: Path) -> None:
    better = {**FULL, "lmd": [1.0] * 4}
    found = collect.compare([
        read("Ours", tmp_path / "a", shift=3.0), read("Wav2Lip", tmp_path / "b", values=better, shift=4.0)
    ])  # fmt: skip
    assert found.means["Ours"]["ssim"].mean == pytest.approx(0.85)
    assert found.means["Ours"]["fid"].mean == pytest.approx(9.0, abs=1e-3)
    assert found.means[GROUND]["lse_d"].mean == 7.5
    table = benchmark(1, "hdtf", found)
    assert table.head[:7] == ("FID ↓", "SSIM ↑", "PSNR dB ↑", "ID ↓", "LMD px ↓", "LSE-D ↓", "LSE-C ↑")
    lines = {(line.method, line.source): line.cells for line in table.lines}
    assert lines["Wav2Lip", "paper"][:7] == ("55.82", "0.89", "24.38", "0.27", "3.43", "6.00", "9.87")
    assert lines["SIDGAN", "here"][0].startswith("9.00")
    assert lines["SIDGAN", "here"][2] == "-", "no PSNR was measured"
    assert ("LipGAN", "here") not in lines
    assert "not judged here: PC-AVS, LipGAN, Wav2Lip-384" in table.notes
    starred = {(table.lines[i].method, table.head[j]) for i, j in table.best}
    assert {("SIDGAN", "FID ↓"), ("Wav2Lip", "LMD px ↓")} <= starred
    assert ("SIDGAN", "LMD px ↓") not in starred
    assert not any(method == GROUND for method, _ in starred)
    assert "| Wav2Lip | paper | 55.82 |" in table.markdown()
    assert "4 clips, 40 frames here; the paper: 171 clips" in table.text()


def test_those_who_do_not_listen_stand_below_and_win_nothing(tmp_path: Path) -> None:
    ours = {"mouth_psnr": [24.0, 25.0, 26.0, 27.0]}
    others = {"wrong": {"mouth_psnr": [23.5, 24.5, 25.5, 27.5]}, "reference": {"mouth_psnr": [20.0] * 4},
              "average": {"mouth_psnr": [40.0] * 4}}  # fmt: skip
    first = read("Ours", tmp_path / "a", values=ours, others=others)
    both = [first, read("LipGAN", tmp_path / "b", values={"mouth_psnr": [22.0] * 4}, others={"wrong": ours})]
    found = collect.compare([*both, *collect.copies(both)])
    assert found.means["Ours"]["heard"].mean == pytest.approx((3 * 0.5 - 0.5) / 4)
    assert found.means["LipGAN"]["heard"].mean == pytest.approx(22.0 - 25.5)
    table = benchmark(1, "hdtf", found)
    lines = {line.method: line.cells for line in table.lines if line.source == "here"}
    assert list(lines)[-2:] == ["Reference copied", "Mean of the clip"]
    at = table.head.index("mouth dB ↑")
    assert [lines[m][at].split()[0] for m in ("SIDGAN", "Reference copied", "Mean of the clip")] == [
        "25.50", "20.00", "40.00"]  # fmt: skip
    assert lines["Mean of the clip"][table.head.index("by sound dB ↑")] == "-"
    assert {table.lines[i].method for i, _ in table.best} == {"SIDGAN"}, "the mean has seen the answers"
    assert collect.copies(both[1:]) == []


def test_the_papers_orderings_hold_or_not_or_cannot_be_told(tmp_path: Path) -> None:
    values: dict[str, dict[str, list[float]]] = {
        "Ours": {"psnr": [30.0, 25, 28, 31], "ssim": [0.8, 0.8, 0.9, 0.9], "lmd": [3.0, 2, 3, 2], "lag_d": [8.0] * 4},
        "Wav2Lip-384": {"psnr": [29.0, 24, 26, 29], "ssim": [0.9, 0.9, 0.95, 0.95], "lmd": [2.9, 2.1, 2.9, 2.1],
                        "lag_d": [7.0, 7, 6, 7]},
        "Wav2Lip": {"psnr": [27.0, 22, 25, 28], "ssim": [0.9, 0.9, 0.95, 0.95], "lmd": [5.0] * 4, "lag_d": [9.0] * 4},
        "Other": {"psnr": [99.0] * 4},
    }  # fmt: skip
    found = collect.compare([read(name, tmp_path / name, values=v, truth={}) for name, v in values.items()])
    stated = {(o.metric, o.better, o.worse): o for o in orderings(found, "hdtf")}
    first = stated["psnr", "SIDGAN", "Wav2Lip-384"]
    assert first.verdict == "holds"
    assert first.lead.mean == 1.5
    assert 1 <= first.lead.low < first.lead.high <= 2, "each clip by itself: clips differ by more than methods"
    assert stated["ssim", "SIDGAN", "Wav2Lip-384"].verdict == "does not"
    assert stated["lmd", "SIDGAN", "Wav2Lip-384"].verdict == "cannot be told"
    assert stated["lag_d", "SIDGAN", "Wav2Lip-384"].verdict == "does not", "lower is better; the paper: 6.80 and 9.94"
    assert stated["lag_d", "Wav2Lip", "SIDGAN"].verdict == "does not"
    assert stated["psnr", "Wav2Lip", "Wav2Lip-384"].verdict == "does not"
    assert not any("Other" in key for key in stated)
    lines = told(orderings(found, "hdtf"))
    assert lines[0].startswith("the paper's orderings in SSIM: SIDGAN > Wav2Lip")
    line = next(line for line in lines if "PSNR" in line)
    assert "SIDGAN > Wav2Lip-384 holds (+1.50, +1.00 to +2.00)" in line
    assert line.endswith("; among the others: 1 does not")
    assert any("in lag-D custom: " in line for line in lines)
    assert [line for line in benchmark(1, "hdtf", found).notes if "orderings" in line] == lines


def test_a_distance_between_sets_is_one_value(tmp_path: Path) -> None:
    found = collect.compare([read("Ours", tmp_path / "a", shift=2.0), read("LipGAN", tmp_path / "b", shift=3.0)])
    line = next(line for line in told(orderings(found, "hdtf")) if "FID" in line)
    assert line == "the paper's orderings in FID: SIDGAN > LipGAN holds (+5.00, one value)"


def test_what_a_training_had_is_read_from_its_run(tmp_path: Path) -> None:
    net = checkpoint.load_generator(save_networks(tmp_path, 64)[0])
    run = tmp_path / "run"
    run.mkdir()
    checkpoint.save(run / "weights.safetensors", net, {"steps": 40, "hours": 0.5})
    (run / "config.json").write_text(json.dumps({"loop": {"steps": 60}, "batch": 10}))
    lines: list[dict[str, float]] = [
        {"step": 20, "seconds": 60.0, "l1": 0.2}, {"step": 40, "seconds": 120.0, "l1": 0.1, "gan": 0.01, "real64": 0.5},
        {"step": 40, "seconds": 180.0, "val_heldout_mouth": 23.5, "val_heldout_gap": 0.4, "val_coarse": 0.1},
    ]  # fmt: skip
    (run / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = budgets.budget_of("Ours", str(run))
    assert found is not None
    assert (found.updates, found.wanted, found.batch, found.minutes) == (40, 60, 10, 3.0)
    assert found.parameters == sum(p.numel() for p in net.parameters())
    assert found.losses == {"l1": 0.1, "gan": 0.01}
    assert found.heldout == {"heldout": (23.5, 0.4)}
    alone = budgets.budget_of("Other", str(run / "weights.safetensors"))
    assert alone is not None
    assert (alone.updates, alone.minutes, alone.batch) == (40, 30.0, None)
    text = budgets.as_table([found, alone]).text()
    assert "l1 0.1, gan 0.01" in text
    assert "Ours was stopped after 40 of 60 updates" in text
    assert budgets.budget_of("Films", str(tmp_path)) is None
    (run / "stats.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"Ours: the run .* cannot be read"):
        budgets.budget_of("Ours", str(run))


def test_a_custom_network_never_gets_the_published_name(tmp_path: Path) -> None:
    values = {"fd_custom": [5.0] * 4, "lag_d": [9.0] * 4}
    found = collect.compare([read("Ours", tmp_path / "a", values=values, truth={"lag_d": 8.0})])
    table = benchmark(2, "lrw", found)
    mine = next(line.cells for line in table.lines if line.source == "here" and line.method == "SIDGAN")
    assert mine[:7] == ("-",) * 7
    assert table.head[7:] == ("FD custom ↓", "lag-D custom ↓")
    assert any("custom" in note for note in table.notes)
    assert any(note.startswith("no FID and LSE") for note in table.notes), "and how to get the published ones"
    assert [p.custom for p in scatter.panels({"lrw": found})] == [False, False, False, True]


@pytest.mark.parametrize(("change", "said"), [
    ({"mode": "videos"}, "mode was .model. and is .videos."),
    ({"settings": {"mask": "lower", "reference": "first"}}, "settings.mask"),
    ({"networks": {"inception": {"sha256": "1"}}}, "FID is measured with another network, or not at all"),
    ({"clips": {"list": "hdtf", "names": "others", "count": 4}}, "the clips differ"),
    ({"expert": "f" * 64}, "the sync expert differs"),
])  # fmt: skip
def test_what_was_judged_in_another_way_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    first, other = read("A", tmp_path / "a"), read("B", tmp_path / "b", protocol=change)
    with pytest.raises(ConfigError, match=f"B was judged with other settings than A: {said}"):
        collect.compare([first, other])


def test_which_rows_were_judged_and_where_changes_nothing(tmp_path: Path) -> None:
    other = {"settings": {"mask": "query", "reference": "first", "rows": ["truth", "model", "wrong"], "device": "cuda"}}
    found = collect.compare([read("A", tmp_path / "a"), read("B", tmp_path / "b", protocol=other)])
    assert found.means["A"]["ssim"] == found.means["B"]["ssim"]
    assert any("GPU" in note for note in found.notes)


def test_crops_of_two_sizes_do_not_stand_in_one_table(tmp_path: Path) -> None:
    """Their true clips score alike: PSNR 100, SSIM 1."""
    clips = {"list": "hdtf", "notes": [], "count": 3, "names": "abc"}
    for name, sizes in (("A", [512]), ("B", [512]), ("C", [128])):
        make_result(tmp_path / name, {"ssim": [0.9, 0.8, 0.7]}, clips=list("abc"), truth={"ssim": 1.0},
                    protocol={"clips": clips | {"size": sizes}})  # fmt: skip
    a, b, c = (collect.read_judged(name, tmp_path / name) for name in "ABC")
    assert any(note.startswith("the crops: 512 px") for note in collect.compare([a, b]).notes)
    with pytest.raises(ConfigError, match=r"judged with other settings than A: clips.size was \[512\] and is \[128\]"):
        collect.compare([a, c])


def test_another_protocol_and_unfinished_results_are_named(tmp_path: Path) -> None:
    old = make_result(tmp_path / "old", FULL, protocol={"protocol": "sidgan-eval-0"})
    with pytest.raises(ConfigError, match=r"Old: .* was judged by sidgan-eval-0, not sidgan-eval-1; judge it again"):
        collect.read_judged("Old", old)
    half = make_result(tmp_path / "half", FULL)
    (half / "records.jsonl").unlink()
    with pytest.raises(InputError, match=r"Half: .* is not finished"):
        collect.read_judged("Half", half)
    with pytest.raises(InputError, match="is no result folder"):
        collect.read_judged("None", tmp_path)


def test_clips_without_figures_of_one_method_count_for_none(tmp_path: Path) -> None:
    lost = {"d": "pictures are shifted (+3 frames)"}
    found = collect.compare([read("A", tmp_path / "a"), read("B", tmp_path / "b", excluded=lost)])
    assert found.clips == 3
    assert found.means["A"]["ssim"].mean == pytest.approx((0.9 + 0.9 + 0.8) / 3)
    assert found.notes[0] == ("left out for all methods, since B has no values: d (pictures are shifted "
                              "(+3 frames))")  # fmt: skip


def test_the_same_names_on_other_footage_are_refused(tmp_path: Path) -> None:
    other = read("B", tmp_path / "b", truth=TRUTH | {"lse_d": 7.9})
    with pytest.raises(InputError, match=r"a: the true clip's lse_d is 7.5 for A and 7.9 for B"):
        collect.compare([read("A", tmp_path / "a"), other])


def test_tables_by_command(tmp_path: Path) -> None:
    make_result(tmp_path / "r", FULL, truth=TRUTH, shift=2.0)
    code, said = sidgan("paper", "table1", "--method", f"Ours={tmp_path / 'r'}", "--out", tmp_path / "t")
    assert code == 0
    assert "Table 1, AVSpeech (nothing judged here" in said
    assert "Table 1, HDTF (4 clips, 40 frames here" in said
    values = json.loads((tmp_path / "t" / "table1.json").read_text(encoding="utf-8"))
    assert values["sets"]["hdtf"]["here"]["means"]["Ours"]["fid"]["mean"] == pytest.approx(4.0, abs=1e-3)
    assert values["sets"]["hdtf"]["paper"]["SIDGAN"]["fid"] == 12.15
    code, said = sidgan("paper", "table2", "--method", f"Ours={tmp_path / 'r'}", "--out", tmp_path / "t")
    assert "not in this table: results on hdtf" in said
    make_result(tmp_path / "mine", FULL, truth=TRUTH, listed="heldout")
    code, said = sidgan("paper", "table2", "--method", f"Ours={tmp_path / 'mine'}", "--out", tmp_path / "t")
    assert code == 2
    assert "does not say on which set" in said
    code, said = sidgan("paper", "table2", "--method", f"Ours@lrw={tmp_path / 'mine'}", "--out", tmp_path / "t")
    assert code == 0
    assert "the clips are 'heldout', not the test list of LRW" in said
    assert "the intervals are over 4 clips; with fewer than 10 they are too narrow" in said
    make_result(tmp_path / "several", FULL, truth=TRUTH, listed="other, test")
    code, said = sidgan("paper", "table2", "--method", f"Ours@lrw={tmp_path / 'several'}", "--split", "test",
                        "--out", tmp_path / "t")  # fmt: skip
    assert code == 0
    assert "the clips are 'test', not the test list of LRW" in said
    for wrong, why in (("x", "be NAME=PLACE or"), ("A@mars=x", "SET one of"), (f"A={tmp_path / 'no'}", "has not been"),
                        (f"A@lrw={tmp_path / 'no'}", "give --data lrw=FOLDER")):  # fmt: skip
        code, said = sidgan("paper", "table1", "--method", wrong, "--out", tmp_path / "t")
        assert code == 2
        assert why in said


def test_figure_7_has_the_papers_points_and_ours(tmp_path: Path) -> None:
    make_result(tmp_path / "r", FULL, truth=TRUTH, shift=3.0)
    code, _ = sidgan("paper", "fig7", "--method", f"Ours={tmp_path / 'r'}", "--out", tmp_path / "f")
    assert code == 0
    assert (tmp_path / "f" / "fig7.png").stat().st_size > 20_000
    panels = json.loads((tmp_path / "f" / "fig7.json").read_text(encoding="utf-8"))["panels"]
    hdtf = next(p for p in panels if p["set"] == "hdtf")
    here = {p["method"]: p for p in hdtf["points"] if p["here"]}
    assert here["Ours"]["x"] == pytest.approx(9.0, abs=1e-3)
    assert here["Ours"]["above_truth"] == pytest.approx(0.0, abs=1e-9)
    assert here[GROUND]["x"] == 0
    paper = {p["method"]: p["above_truth"] for p in hdtf["points"] if not p["here"]}
    assert paper["Wav2Lip"] == pytest.approx(6.00 - 6.76)


def rows_for(tmp_path: Path, differences: dict[str, list[float]]) -> list[table4.Row]:
    """Rows whose seeds lie by so much above [20, 21, 22, 23] dB."""
    return [
        table4.Row(name, tuple(
            read(f"{name}, seed {i}", tmp_path / f"{name}{i}", truth={},
                 values={"mouth_psnr": [20 + d, 21 + d, 22 + d, 23 + d]})
            for i, d in enumerate(some)
        ))
        for name, some in differences.items()
    ]  # fmt: skip


def test_a_difference_is_paired_over_clips_and_knows_its_seeds(tmp_path: Path) -> None:
    rows = rows_for(tmp_path, {"no_pyramid": [-1.0, -1.1, -0.9], "perceptual": [-2.0, 2.0, 0.3], "full": [0.0] * 3})
    found = table4.ablation(rows)
    assert found.means["full"]["mouth_psnr"].mean == pytest.approx(21.5)
    change = found.changes["no_pyramid"]["mouth_psnr"]
    assert change.mean == pytest.approx(-1.0)
    assert -1.15 < change.low < change.high < -0.85, "clips differ by 3 dB, but are the same for both rows"
    unsure = found.changes["perceptual"]["mouth_psnr"]
    assert unsure.low < 0 < unsure.high
    assert "full" not in found.changes
    text = table4.as_table(found).text()
    assert "-1.00 ±" in text
    assert text.count("!") == 2, "one difference is sure; the other mark explains it"
    assert found.to_dict()["rows"]["no_pyramid"]["to_full"]["mouth_psnr"]["mean"] == pytest.approx(-1.0)


def test_failed_runs_are_counted_and_averaged_nowhere(tmp_path: Path) -> None:
    full, flat = rows_for(tmp_path, {"full": [0.0, 0.0], "no_pyramid": [1.0]})
    flat = table4.Row(flat.name, flat.seeds, ("seed 1: the loss is not a number since step 40",))
    table = table4.as_table(table4.ablation([full, flat]))
    lines = {(line.method, line.source): line.cells for line in table.lines}
    assert lines["w/o Pyramid Generator", "here"][0] == "1/2"
    assert lines["Full Setting", "here"][0] == "2/2"
    assert lines["w/o Pyramid Generator", "paper"][1:4] == ("13.01", "6.93", "7.91")
    assert any("a run failed, seed 1: the loss is not a number" in note for note in table.notes)
    assert any(note.startswith("2 seeds a row") for note in table.notes)
    with pytest.raises(InputError, match=r"no run was successful.*not a number"):
        table4.ablation([table4.Row("full", (), ("seed 0: the loss is not a number",))])


@pytest.mark.filterwarnings("error")
def test_a_metric_that_no_clip_has_is_no_warning_of_numpy(tmp_path: Path) -> None:
    values = {"mouth_psnr": [20.0, 21.0, 22.0, 23.0], "opening": [math.nan] * 4}
    rows = [table4.Row(row, (read(row, tmp_path / row, truth={}, values=values),)) for row in ("full", "perceptual")]
    found = table4.ablation(rows)
    assert math.isnan(found.means["full"]["opening"].mean)
    assert found.changes["perceptual"]["mouth_psnr"].mean == 0


def test_table_4_by_command_from_single_results(tmp_path: Path) -> None:
    given = []
    for name, seed in (("full", 0), ("full", 1), ("mine", 0)):
        folder = make_result(tmp_path / f"{name}{seed}", {"lse_d": [7.0 + seed] * 4})
        given += ["--row", f"{name}={folder}"]
    code, said = sidgan("paper", "table4", *given, "--out", tmp_path / "t", "--json")
    assert code == 0
    rows = json.loads(said[said.index("{") :])["rows"]
    assert rows["full"]["runs"] == 2
    assert rows["full"]["means"]["lse_d"]["mean"] == 7.5
    assert rows["mine"]["to_full"]["lse_d"]["mean"] == -0.5
    assert sidgan("paper", "table4", "--out", tmp_path / "t")[0] == 2
    assert "holds no ablation" in sidgan("paper", "table4", tmp_path, "--out", tmp_path / "t")[1]


def test_the_seven_come_in_the_papers_order() -> None:
    assert SEVEN == ("fid", "ssim", "psnr", "id", "lmd", "lse_d", "lse_c")


def test_table_4_draws_people_with_all_of_their_clips() -> None:
    records = [Record(c, "model", 9, {}, person=p) for c, p in (("a", "p"), ("b", "p"), ("c", ""), ("d", "q"))]
    found = SimpleNamespace(results={"one": EvalResult({}, tuple(records))})
    drawn = [np.bincount(clips, minlength=4) for clips in table4._Draws(found)._clips]  # type: ignore[arg-type]
    assert all(one[0] == one[1] for one in drawn)
    assert {one.sum() for one in drawn} == {3, 4, 5, 6}


def test_a_method_is_not_flattered_by_what_it_failed_at(tmp_path: Path) -> None:
    """B has no landmarks in the clip that is hard: its mean would be that of the easy ones."""
    truth = {"lmd": 0.0, "sync": 0.7}
    make_result(tmp_path / "A", {"lmd": [1.0, 2.0, 9.0], "sync": [0.5, 0.6, 0.7]}, clips=list("abc"), truth=truth)
    make_result(tmp_path / "B", {"lmd": [2.0, 3.0, None], "sync": [None] * 3}, clips=list("abc"), truth=truth)
    found = collect.compare([collect.read_judged(name, tmp_path / name) for name in "AB"])
    assert (found.means["A"]["lmd"].mean, found.means["B"]["lmd"].mean) == (1.5, 2.5)
    assert found.means["A"]["sync"].mean == pytest.approx(0.6), "which B has nowhere, as it was not measured"
    assert found.means[GROUND]["lmd"].mean == 0
    assert "LMD px: left out for all methods, since it is undefined for some: c" in found.notes
