"""Evaluation of a generator: redraw clips from their own sound (`evaluate`).

`evaluate_to` also does so with other voices, writes the figures into a result folder and can resume; `evaluate_videos`
evaluates the output of any tool; `robustness_to` measures how a model degrades under difficult conditions.

::

    lists, parts ─▶ which clips    subject ─▶ a clip, its ground truth, and how a generator redraws it
                                   rows    ─▶ who dubs it: the generator with right or wrong sound, or a baseline
    reconstruction, revoicing ─▶ judging ─▶ measures: every metric by name ─▶ results: records, means, intervals
    prepared, videos, robustness ─▶ folder, protocol: resumable result folder, one protocol each ─▶ report, charts
"""

from sidgan.evaluation.networks import NetworkFiles
from sidgan.evaluation.prepared import Settings, evaluate_to
from sidgan.evaluation.reconstruction import evaluate
from sidgan.evaluation.remarks import notes
from sidgan.evaluation.report import write_report
from sidgan.evaluation.results import COLUMNS, SYSTEMS, EvalResult, Interval, Record, bootstrap, table
from sidgan.evaluation.robustness import FACTORS, RobustnessSettings, robustness_to
from sidgan.evaluation.rows import ROWS
from sidgan.evaluation.videos import VideoSettings, evaluate_videos

__all__ = [
    "COLUMNS", "FACTORS", "ROWS", "SYSTEMS", "EvalResult", "Interval", "NetworkFiles", "Record", "RobustnessSettings",
    "Settings", "VideoSettings", "bootstrap", "evaluate", "evaluate_to", "evaluate_videos",
    "notes", "robustness_to", "table", "write_report",
]  # fmt: skip
