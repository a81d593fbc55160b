"""Every invariant's test can fail: the product is broken on purpose, and the test must notice."""

import inspect
from pathlib import Path

import pytest
from sabotage import BREAKS, HEADER, Break, broken, caught

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "invariants.md"


def named(case: Break) -> str:
    return f"{case.promise}-{case.what}-{case.check.__name__}".replace(" ", "_")


@pytest.mark.parametrize("case", BREAKS, ids=named)
def test_a_broken_product_is_noticed(case: Break) -> None:
    assert caught(case)


def test_what_breaks_is_put_back() -> None:
    case = BREAKS[0]
    code = inspect.unwrap(case.function).__code__
    caught(case)
    assert inspect.unwrap(case.function).__code__ is code
    case.check(*case.arguments)


def test_a_break_that_no_longer_fits_says_so() -> None:
    with pytest.raises(LookupError, match="adapt this break"):
        broken(BREAKS[0].function, "no such words", "")


def test_every_check_also_runs_on_the_product_as_it_is() -> None:
    ordinary = "".join(p.read_text() for p in HERE.rglob("test_*.py") if p.name != Path(__file__).name)
    for case in BREAKS:
        module = case.check.__module__.rpartition(".")[2]
        assert f"{module}.{case.check.__name__}(" in ordinary, f"no test runs {case.check.__name__}"


def cells(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:]] for line in lines if line.startswith("|")]


def test_the_page_tells_every_break_and_no_other() -> None:
    promises, breaks = PAGE.read_text().split(HEADER)
    rows = [line for line in breaks.splitlines()[2:] if line.startswith("|")]
    assert len(rows) == len(BREAKS), "run tests/sabotage.py for a new table"
    for row, case in zip(rows, BREAKS, strict=True):
        assert row.startswith(case.row()), "run tests/sabotage.py for a new table"
    held = {row[0]: row[2] for row in cells(promises.splitlines())}
    for case in BREAKS:
        assert f"`{case.check.__name__}`" in held[case.promise], f"{case.promise} does not name this check"
