"""Judging a generator: redraw clips from their own sound (`evaluate`) or from the voice of others (`revoice`)."""

from sidgan.evaluation.reconstruction import ROWS, evaluate
from sidgan.evaluation.results import COLUMNS, EvalResult, Interval, Record, bootstrap, table
from sidgan.evaluation.revoicing import revoice

__all__ = ["COLUMNS", "ROWS", "EvalResult", "Interval", "Record", "bootstrap", "evaluate", "revoice", "table"]
