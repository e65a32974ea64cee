"""What is said of a learning rate that nobody gave."""

from __future__ import annotations

import pytest

from harness.config.beforehand import before_sweep, own_rate, own_rates
from tests.support.command_line import Harness
from tests.support.tiny import METHODS, settings


@pytest.mark.parametrize("method", METHODS)
def test_a_methods_own_rate_has_a_source_and_another_one_none(method: str) -> None:
    architecture = f"model.architecture={settings(f'method={method}').method.facts.architecture}"
    own = settings(f"method={method}", architecture)
    if not own.method.trains:
        assert own_rate(own) is None
        return
    assert own_rate(own) == own.method.facts.lr_from
    assert own.method.lr is not None
    assert own_rate(settings(f"method={method}", architecture, f"method.lr={own.method.lr * 2}")) is None


def test_rows_are_counted_not_seeds() -> None:
    rows = [settings(f"method={each}", f"seed={seed}") for each in ("lora", "ia3", "zero_shot") for seed in (0, 1)]
    line = own_rates([*rows, settings("method=vera", "method.lr=0.5")])
    assert line is not None
    assert line.startswith("learning rates: 2 rows run at their methods' own, not searched for this sweep")
    assert own_rates(rows[-2:]) is None
    assert own_rates([settings("method=lora"), settings("method=lora", "method.lr=0.5")]) is None, "rates are swept"


def test_weights_that_are_not_kept_are_said() -> None:
    full, kept = settings("method=full"), settings("method=full", "keep_model=true")
    assert before_sweep([full, settings("method=bitfit", "model.architecture=opt")], tuned=True) == [
        "not kept: the trained weights of full; keep_model=true keeps them"
    ]
    assert before_sweep([kept, settings("method=zero_shot")], tuned=True) == []


def test_a_run_and_a_sweep_say_where_their_rates_come_from(harness: Harness) -> None:
    alone = harness("method=lora", "train.steps=2", "train.warmup_steps=1")
    assert alone.returncode == 0, alone.stderr
    last = alone.stdout.splitlines()[-1]
    assert last.startswith("learning rate 0.0063: the lowest validation loss of eight rates on E2E (sweep fair_e2e")
    assert last.endswith("; tune=lr searches one for this task")
    given = harness("-m", "method=lora", "seed=0,1", "train.steps=2", "train.warmup_steps=1")
    assert "learning rates: 1 row runs at its method's own, not searched for this sweep" in given.stderr
