"""The page of a result folder: one file, nothing from elsewhere, nothing left unsaid."""

import json
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidgan.errors import InputError
from sidgan.evaluation import COLUMNS, write_report
from sidgan.evaluation.charts import Bar, curves, intervals
from sidgan.evaluation.judging import Verdict
from sidgan.evaluation.meanings import DUBBERS, MEANINGS, SYSTEMS
from sidgan.evaluation.results import SYSTEMS as JUDGED
from sidgan.evaluation.results import Record
from sidgan.evaluation.rows import ROWS
from sidgan.evaluation.strips import SIDE, write_strip

VOID = {"meta", "img"}


class Balance(HTMLParser):
    """Counts open elements and collects addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()


def figure(mean: float | None) -> dict[str, float | None]:
    return {"mean": mean, "low": None if mean is None else mean - 1, "high": None if mean is None else mean + 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A result folder of eight judged clips, the k-th of which has a mouth PSNR of 20 + k, and two excluded ones."""
    for name in ("frames", "strips"):
        (tmp_path / name).mkdir()
    records = []
    for k in range(8):
        rows = {"truth": {"mouth_psnr": 100.0, "sync": 0.9}, "model": {"mouth_psnr": 20.0 + k, "sync": 0.9 - 0.1 * k}}
        records.append({"name": f"clip/{k}", "stem": f"clip__{k}", "split": "test", "excluded": None,
                        "values": {"composite": rows}, "strip": ["truth", "model"]})  # fmt: skip
        truth, mine = np.linspace(0, 1, 5), np.array([0, np.nan, 1, 2, 1])
        np.savez(tmp_path / "frames" / f"clip__{k}.npz", **{
            "frame": np.arange(5), "composite/truth/open": truth, "composite/model/open": mine,
            "composite/model/mouth_psnr": np.full(5, 20.0),
        })  # fmt: skip
        cv2.imwrite(str(tmp_path / "strips" / f"clip__{k}.jpg"), np.full((16, 16, 3), 20 * k, np.uint8))
    for name, why in (("x<script>y", "no face in the true video"), ("late & lost", "pictures are shifted (+3 frames)")):
        records.append({"name": name, "stem": "z", "split": "test", "excluded": why})
    means = {"composite": {"truth": {"mouth_psnr": figure(100.0), "fid": figure(None)},
                           "model": {"mouth_psnr": figure(23.5), "fid": figure(None)}}}  # fmt: skip
    summary = {"test": {"clips": 8, "frames": 40, "skipped_frames": {}, "excluded_clips": {"no face": 2},
                        "means": means}}  # fmt: skip
    protocol = {"protocol": "sidgan-eval-1", "mode": "model", "model": "ab" * 32, "networks": {},
                "settings": {"mask": "query"}}  # fmt: skip
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "protocol.json").write_text(json.dumps(protocol))
    return tmp_path


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(folder: Path) -> None:
    text = write_report(folder).read_text()
    page = Balance()
    page.feed(text)
    assert not page.open
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<script", text)
    assert write_report(folder).read_text() == text, "the same folder gives the same bytes"


def test_excluded_clips_and_the_protocol_are_told(folder: Path) -> None:
    text = write_report(folder).read_text()
    assert "Clips that were not judged: 2" in text
    for name, why in (("x<script>y", "no face in the true video"), ("late & lost", "pictures are shifted (+3 frames)")):
        assert f"<td>{escape(name)}</td><td>{why}</td>" in text
    assert "ab" * 32 in text
    assert "settings.mask" in text
    assert "no FID and LSE" in text
    assert "<th>FID</th>" not in text, "a column without a figure is left out"


def test_the_best_and_worst_clips_are_shown_once_each(folder: Path) -> None:
    text = write_report(folder).read_text()
    titles = dict(re.findall(r"<h4>clip/(\d) <small>(.*?)</small></h4>", text))
    assert titles == {
        "0": "worst by mouth dB, best by sync p", "1": "worst by mouth dB", "7": "best by mouth dB, worst by sync p",
        "6": "worst by sync p",
    }  # fmt: skip
    assert text.count("data:image/jpeg") == 4
    (folder / "strips" / "clip__0.jpg").unlink()
    assert write_report(folder).read_text().count("data:image/jpeg") == 3, "without its strip a clip has its curves"
    (folder / "frames" / "clip__0.npz").unlink()
    assert "<h4>clip/0 " in write_report(folder).read_text(), "and without those its name"


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished result"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_everything_in_a_table_is_explained() -> None:
    assert set(COLUMNS) == set(MEANINGS)
    assert set(ROWS) <= set(DUBBERS)
    assert set(JUDGED) <= set(SYSTEMS)


def test_charts_put_values_in_their_places() -> None:
    bars = [Bar("truth", 10.0, 10.0, 10.0), Bar("model", 5.0, 4.0, 6.0), Bar("wrong", 0.0, float("nan"), float("nan"))]
    places = [float(x) for x in re.findall(r'circle cx="([\d.]+)"', intervals("dB", bars, 1))]
    assert places[1] == pytest.approx((places[0] + places[2]) / 2)
    assert places == sorted(places, reverse=True)
    text = curves("opening", np.arange(5), {"model": np.array([0.0, 1.0, np.nan, 1.0, 0.0])})
    (path,) = re.findall(r'path d="([^"]+)"', text)
    assert path.count("M") == 2, "a gap where a value is unknown"
    heights = [float(y) for _, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]
    assert heights[0] == heights[-1] > heights[1]
    alone = curves("opening", np.arange(3), {"model": np.array([np.nan, 1.0, np.nan])})
    assert re.search(r'path d="M[\d.]+ [\d.]+h0" .*stroke-linecap="round"', alone), "a dot where a line has no length"
    assert curves("none", np.arange(2), {"model": np.full(2, np.nan)}) == ""


def test_a_strip_has_a_line_for_each_row(tmp_path: Path) -> None:
    def verdict(row: str, system: str, grey: int) -> Verdict:
        pictures = [np.full((256, 256, 3), grey, np.uint8)] * 3
        return Verdict(Record("c", row, 3, {}, system), pictures=pictures)

    some = [verdict("model", "composite", 100), verdict("truth", "composite", 200), verdict("model", "raw", 0),
            verdict("average", "composite", 50)]  # fmt: skip
    assert write_strip(tmp_path / "a.jpg", some) == ["truth", "model"]
    picture = cv2.imread(str(tmp_path / "a.jpg"))
    assert picture.shape == (2 * SIDE, 3 * SIDE, 3)
    assert abs(int(picture[5, 5, 0]) - 200) < 3
    assert abs(int(picture[SIDE + 5, 5, 0]) - 100) < 3
