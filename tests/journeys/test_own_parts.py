"""A method, a metric and a data source of one's own, in a folder beside an installed package; and a gate on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.installed import FAST, lines

ONE_RUN = ("--repeats", "1", "method=value_weights", "seed=0", *FAST)


def test_a_method_and_a_metric(said: Callable[..., str], tmp_path: Path) -> None:
    init, *runs = lines("own.md", "peft-harness ")
    (table,) = lines("own.md", "peft-harness-reports")
    said(init)
    for line in runs:
        said(line, *(FAST if "+sweep" in line else ()))
    text = said(table)
    assert "| value weights" in text
    assert "digits" in text
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "results"}


def test_a_gate(said: Callable[..., str], tmp_path: Path) -> None:
    """It is quiet as long as nothing changes, and not when the method is another one."""
    save, regress = lines("regressions.md", "peft-harness-reports")
    said(lines("own.md", "peft-harness ")[0])
    assert said(save, *ONE_RUN) == "baseline.yaml: 1 runs, 1 repeats\n"
    quiet = said(regress)
    assert "value weights" not in quiet
    code = tmp_path / "mine/method/value_weights.py"
    code.write_text(code.read_text().replace("values[:: self.every]", "values[:1]"))
    found = said(regress, code=1)
    assert "value weights" in found
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "baseline.yaml"}
