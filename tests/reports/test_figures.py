"""Figures: what is drawn is what the records say, read back from matplotlib's artists; the front by its definition."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.results.sections import OWNERS, Forgetting, Memory, PhasePeak
from harness.results.sweep_files import write_sweep
from reports.__main__ import main
from reports.commands import figures as command
from reports.figures import _published, curves, forgetting, lr, memory, pareto, profile, rank, tuning
from reports.figures._data import Data, NoData, data_of
from reports.figures._front import pareto as front
from reports.figures._labels import spread
from reports.figures._style import colour, styled
from reports.read.runs import load_sweep
from reports.statistics.paired import interval
from reports.statistics.verdicts import compare
from reports.values.frame import tidy
from tests.support.records import add, add_base, key, run_folder, spoiled, sweep

ROOT = Path(__file__).parents[2]
E2E = ROOT / "docs/results/e2e"
ODD = r'<script>alert("x")</script> $\alpha_1$ 50% & _a_ | "b"'


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with styled():
        yield


def data(results: Path, name: str = "s") -> Data:
    return data_of(load_sweep(results, name))


def points(axes: Axes, gid: str = "point") -> list[tuple[float, float]]:
    """The drawn points, sorted."""
    lines = [line for line in axes.lines if line.get_gid() == gid]
    return sorted((float(x), float(y)) for line in lines for x, y in line.get_xydata())  # type: ignore[union-attr]


def near(pairs: Iterable[Any]) -> Any:
    """These pairs, sorted, to within rounding."""
    return pytest.approx(np.array(sorted(pairs), dtype=float))


def values(figure: Figure, gid: str = "point") -> list[list[tuple[float, float]]]:
    return [points(axes, gid) for axes in figure.axes]


def caption(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())


def ranks(results: Path, **fields: Any) -> None:
    """LoRA at ranks 1, 4 and 16 with two seeds each, alpha in proportion; a sweep `s`."""
    for r in (1, 4, 16):
        for seed in (0, 1):
            method = {"name": "lora", "rank": r, "alpha": 2 * r}
            texts = spoiled(0.3 + 0.02 * seed - 0.01 * math.log2(r), seed=r + seed)
            add(
                results,
                f"r{r}-{seed}",
                texts,
                method,
                key=key(method, settings__seed=seed),
                label=f"lora r={r}",
                **fields,
            )
    sweep(results, *(f"r{r}-{seed}" for r in (1, 4, 16) for seed in (0, 1)))


def rates(results: Path, scores: dict[float, float]) -> Figure:
    for rate, bleu in scores.items():
        method = {"name": "lora", "rank": 8, "lr": rate}
        add(
            results,
            f"at-{rate:g}",
            None,
            method,
            label="lora r=8",
            learning_rate=rate,
            quality={"bleu": bleu, "val_loss": 5 - bleu / 20},
        )
    sweep(results, *(f"at-{rate:g}" for rate in scores))
    return lr.draw(data(results))


# Positions


def test_the_tuning_figure_draws_the_trials_that_went_to_the_end_and_rings_what_was_chosen() -> None:
    fair = ROOT / "docs/results/fair"
    (path,) = fair.glob("sweeps/*.json")
    runs = [run["tuned"] for run in json.loads(path.read_text())["runs"] if "tuned" in run]
    ended = defaultdict(list)
    for row, name in {(run["row"], name) for run in runs for name in run["trials"]}:
        record = json.loads((fair / "trials" / name / "record.json").read_text())
        if record["trial"] and (rung := record["trial"]["rungs"][-1])["step"] == record["trial"]["steps"]:
            ended[row, record["learning_rate"]].append(rung["val_loss"])
    means = {place: float(np.mean(each)) for place, each in ended.items()}
    figure = tuning.draw(data(fair, "fair_e2e"))
    left = figure.axes[0]
    assert points(left, "points") == near((rate, loss) for (_, rate), loss in means.items())
    chosen = {(run["row"], run["value"]) for run in runs}
    assert points(left, "best") == near((place[1], means[place]) for place in chosen)
    low, high = left.get_ylim()
    above = [loss for loss in means.values() if loss > high]
    assert all(low < means[place] < high for place in chosen)
    assert 0 < len(above) < len(means) / 10, "five went astray, one to 8.8"
    assert f"Above its top: {len(above)} of {len(means)}, {min(above):.3g} to {max(above):.3g}." in caption(figure)


@pytest.mark.parametrize("losses", [[2.0] * 10, [2.0] * 19 + [3.0], [2.0], [2.0, 9.0]])
def test_an_axis_of_few_or_equal_losses_is_not_cut(losses: list[float]) -> None:
    axes = Figure().subplots()
    axes.plot(losses)
    before = axes.get_ylim()
    assert tuning._clip(axes, losses, []) == ""
    assert axes.get_ylim() == before


def test_points_of_the_pareto_figure_are_the_frames_values() -> None:
    loaded = load_sweep(E2E, "e2e")
    frame = tidy(loaded, compare(loaded))
    trained = frame[frame["trainable_parameters"] > 0]
    columns = {"train_peak_bytes": 2.0**30, "trainable_parameters": 1.0, "train_tokens_per_second": 1.0}
    figure = pareto.draw(data_of(loaded))
    assert len(trained) == 7
    for axes, (column, unit) in zip(figure.axes, columns.items(), strict=True):
        assert np.array(points(axes)) == near(zip(trained[column] / unit, trained["bleu"], strict=True))
        # A bar for each, which holds its point's score.
        assert sum(line.get_gid() == "interval" for line in axes.lines) == 7


def test_forgetting_is_the_change_of_loss_and_the_gain_that_of_the_score() -> None:
    loaded = load_sweep(E2E, "e2e")
    frame = tidy(loaded, compare(loaded)).query("trainable_parameters > 0")
    text, panel = values(forgetting.draw(data_of(loaded)))
    gain = frame["change"]
    assert np.array(text) == near(zip(gain, frame["general_text_loss_change_nats_per_token"], strict=True))
    assert np.array(panel) == near(zip(gain, frame["panel_share_change"], strict=True))


def test_the_profile_has_a_point_for_each_known_value() -> None:
    loaded = load_sweep(E2E, "e2e")
    drawn = values(profile.draw(data_of(loaded)))
    assert [len(found) for found in drawn] == [8, 7, 7, 7, 8, 7]  # the base answers too
    scores = sorted(record.quality["bleu"] or 0 for _, record in loaded.done)
    assert [x for x, _ in drawn[0]] == pytest.approx(scores)
    assert [y for _, y in drawn[0]] == list(range(8))  # the best on top


def test_bars_of_memory_are_the_tables_peaks() -> None:
    loaded = load_sweep(E2E, "e2e")
    frame = tidy(loaded, compare(loaded))
    figure = memory.draw(data_of(loaded))
    for axes, column in zip(figure.axes, ("evaluate_peak_bytes", "train_peak_bytes"), strict=True):
        bars: dict[float, float] = {}
        for patch in axes.patches:  # of each owner one, side by side
            y = round(float(patch.get_y()), 6)  # type: ignore[attr-defined]
            bars[y] = bars.get(y, 0.0) + float(patch.get_width())  # type: ignore[attr-defined]
        drawn = sorted(width for width in bars.values() if width)
        assert drawn == pytest.approx(sorted(frame[column].dropna() / 2**30), rel=1e-6)


def test_memory_is_stacked_by_owner_at_the_highest_peak_of_training_and_of_evaluation(tmp_path: Path) -> None:
    owners = dict.fromkeys(OWNERS, 0)
    gib = 2**30
    ledger = {
        "forward": PhasePeak(bytes=4 * gib, by_owner=owners | {"base_weights": gib, "activations": 3 * gib}),
        "step": PhasePeak(bytes=5 * gib, by_owner=owners | {"base_weights": gib, "optimizer_state": 4 * gib}),
        "generate": PhasePeak(bytes=3 * gib, by_owner=owners | {"base_weights": gib, "kv_cache": 2 * gib}),
    }
    add(tmp_path, "lora", spoiled(0.2, seed=3), ledger=ledger)
    sweep(tmp_path, "lora")
    training, evaluation = memory.draw(data(tmp_path)).axes
    for axes, expected in ((training, [(0, 1), (1, 4)]), (evaluation, [(0, 1), (1, 2)])):
        bars = [(patch.get_x(), patch.get_width()) for patch in axes.patches]  # type: ignore[attr-defined]
        assert [bar for bar in bars if bar[1]] == expected
    assert training.get_title(loc="left") == "training"


def test_cuda_memory_is_stacked_up_to_what_the_allocator_holds(tmp_path: Path) -> None:
    peaks = Memory(train_cuda_allocated=3 * 2**30, train_cuda_reserved=4 * 2**30)
    add(tmp_path, "lora", spoiled(0.2, seed=3), memory=peaks)
    sweep(tmp_path, "lora")
    (axes,) = memory.draw(data(tmp_path)).axes
    bars = [(patch.get_x(), patch.get_width()) for patch in axes.patches]  # type: ignore[attr-defined]
    assert bars == [(0, 3), (3, 1)]


def test_curves_are_the_mean_over_seeds_of_what_was_logged(tmp_path: Path) -> None:
    ranks(tmp_path)
    for seed in (0, 1):
        lines = [{"step": step, "loss": 3.0 - step + seed} for step in (1, 2)] + [{"step": 3, "loss": math.nan}]
        lines[1]["val_loss"] = 1.0 + seed
        text = "\n".join(map(json.dumps, lines)) + '\n{"step": 4, "lo'
        (run_folder(tmp_path, f"r4-{seed}") / "curve.jsonl").write_text(text)
    training, validation = values(curves.draw(data(tmp_path)), "curve")
    assert training == [(1, 2.5), (2, 1.5)]
    assert validation == [(2, 1.5)]


def test_scores_by_rank_are_means_over_seeds_with_their_intervals(tmp_path: Path) -> None:
    ranks(tmp_path)
    found = data(tmp_path)
    figure = rank.draw(found)
    axes = next(axes for axes in figure.axes if axes.get_ylabel() == "BLEU")
    runs = {run.id: run for run in found.sweep.runs}
    pairs = {r: [runs[f"r{r}-0"], runs[f"r{r}-1"]] for r in (1, 4, 16)}
    means = {r: np.mean([run.done.quality["bleu"] for run in pair if run.done]) for r, pair in pairs.items()}  # type: ignore[misc]
    assert np.array(points(axes, "points")) == near(means.items())
    ends = {r: interval(pair, "bleu") for r, pair in pairs.items()}
    bars = ((r, end) for r in ends for end in (ends[r].low, ends[r].high))
    assert np.array(points(axes, "interval")) == near(bars)
    assert axes.get_xscale() == "log"
    assert "2 seeds (0, 1)" in caption(figure)
    assert "One learning rate, 0.001" in caption(figure)


def test_the_published_curve_stands_beside_on_an_axis_that_spans_as_much(tmp_path: Path) -> None:
    """The figures are those of LoRA's appendix (Hu et al. 2021), r = 1, 4, 1024."""
    table = {
        "paper": "LoRA: Low-Rank Adaptation (Hu et al. 2021)",
        "model": "GPT-2 Medium",
        **dict.fromkeys(("title", "arxiv", "table", "dataset", "provenance"), "not looked at"),
        "columns": ["r", "BLEU", "METEOR"],
        "scores": {"BLEU": {"ours": "bleu"}, "METEOR": {"ours": "meteor", "factor": 100}},
        "match": {"method.name": "lora"},
        "protocol": {"data.name": "restaurants"},
        "rows": [
            {"values": [r, *scores], "match": {"method.rank": r}}
            for r, *scores in ((1, 68.72, 0.4565), (4, 70.38, 0.4689), (1024, 69.37, None))
        ],
    }
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "table.yaml").write_text(yaml.safe_dump(table))
    ranks(tmp_path)
    records = data(tmp_path).records
    found = _published.published(records, folder)
    assert found is not None
    assert found.scores == {"bleu": {1: 68.72, 4: 70.38, 1024: 69.37}, "meteor": {1: 45.65, 4: 46.89}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_published, "FOLDER", folder)
        patch.setattr(rank, "published", lambda records: _published.published(records, folder))
        ours, theirs = rank.draw(data(tmp_path)).axes
    assert points(theirs, "points") == [(1, 68.72), (4, 70.38), (1024, 69.37)]
    assert np.diff(ours.get_ylim()) == pytest.approx(np.diff(theirs.get_ylim()))
    assert "Hu et al. 2021" in theirs.get_title(loc="left")
    (folder / "table.yaml").write_text(yaml.safe_dump(table | {"protocol": {"data.name": "e2e"}}))
    assert _published.published(records, folder) is None, "another task"


def test_the_best_learning_rate_is_marked_and_the_edge_of_the_grid_told(tmp_path: Path) -> None:
    figure = rates(tmp_path / "edge", {1e-4: 10.0, 1e-3: 20.0, 1e-2: 30.0})
    assert values(figure, "points") == [[(1e-4, 10.0), (1e-3, 20.0), (1e-2, 30.0)]]
    assert values(figure, "best") == [[(1e-2, 30.0)]]
    assert "beyond the grid: at-0.0001 0.01." in caption(figure)
    figure = rates(tmp_path / "inside", {1e-4: 10.0, 1e-3: 40.0, 1e-2: 30.0})
    assert values(figure, "best") == [[(1e-3, 40.0)]]
    assert "beyond the grid" not in caption(figure)


# The front, and labels


def test_the_front_is_what_no_other_point_dominates() -> None:
    generator = np.random.default_rng(7)
    for size in (1, 2, 3, 10, 50):
        for _ in range(40):
            given = [(float(x), float(y)) for x, y in generator.integers(0, 6, size=(size, 2))]
            expected = [
                i for i, (x, y) in enumerate(given) if not any(a >= x and b >= y and (a > x or b > y) for a, b in given)
            ]
            assert front(given) == expected, given


def test_the_front_of_losses_is_at_the_lower_side(tmp_path: Path) -> None:
    for name, loss in (("lora", 2.0), ("ia3", 1.0)):
        add(tmp_path, name, None, quality={"val_loss": loss})
    sweep(tmp_path, "lora", "ia3")
    found = data(tmp_path)
    assert found.score == "val_loss"
    for axes in pareto.draw(found).axes:
        assert {y for _, y in points(axes, "front")} == {1.0}


@pytest.mark.parametrize("name", ["e2e", "methods"])
def test_labels_lie_inside_their_axes_and_over_no_other(name: str) -> None:
    figure = pareto.draw(data(ROOT / "docs/results" / name, name))
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        frame = axes.get_window_extent().padded(1)
        assert len(boxes) >= 4
        for i, box in enumerate(boxes):
            assert np.all(frame.min <= box.min)
            assert np.all(box.max <= frame.max)
            assert not any(box.overlaps(other) for other in boxes[:i])


def test_spread_keeps_order_bounds_and_distance() -> None:
    generator = np.random.default_rng(8)
    for count in (1, 2, 5, 11):
        wanted = list(generator.uniform(-5, 105, size=count))
        placed = spread(wanted, 8.0, 0.0, 100.0)
        assert np.argsort(wanted).tolist() == np.argsort(placed).tolist()
        assert min(placed) >= 0
        assert max(placed) <= 100 + 1e-9
        assert all(gap >= 8 - 1e-9 for gap in np.diff(sorted(placed)))
    assert spread([10.0, 50.0], 8.0, 0.0, 100.0) == [10.0, 50.0], "what has room stays"


def test_a_method_has_one_colour_everywhere() -> None:
    assert colour("lora") == "#0072b2"
    assert colour("boft") == colour("boft")


# Files


def written(results: Path, output: Path, *extra: str, name: str = "s") -> dict[str, bytes]:
    arguments = [name, "--results", str(results), "--output", str(output), *extra]
    assert command.main(arguments) == 0
    return {path.name: path.read_bytes() for path in sorted(output.iterdir())} if output.exists() else {}


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    first = written(E2E, tmp_path / "a", "--only", "pareto", name="e2e")
    arguments = ["e2e", "--only", "pareto", "--results", str(E2E), "--output", str(tmp_path / "b")]
    subprocess.run([sys.executable, "-m", "reports", "figures", *arguments], cwd=ROOT, check=True, capture_output=True)
    assert first == {path.name: path.read_bytes() for path in sorted((tmp_path / "b").iterdir())}
    assert set(first) == {"e2e_pareto.svg"}
    assert all(b"<dc:date>" not in content for content in first.values())


def test_names_with_markup_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = Forgetting(
        text="t", tokens=1, loss_before=2.0, loss_after=2.5, kl=0.1, panel_before=0.5, panel_after=0.4, panel_by_task={}
    )
    ranks(tmp_path, forgetting=lost, base_quality={"bleu": 3.0})
    for n in range(3):
        add(tmp_path, f"odd{n}", spoiled(0.2, seed=n), {"name": "ia3"}, label=ODD, forgetting=lost)
    write_sweep(tmp_path, "s", "Q?", [{"id": f"odd{n}", "label": ODD, "overrides": ""} for n in range(3)])
    files = written(tmp_path, tmp_path / "out")
    assert set(files) == {f"s_{name}.svg" for name in ("forgetting", "memory", "pareto", "profile", "rank")}
    for content in files.values():
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(content).iter()}
        assert "script" not in tags
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "s: no figure curves: no run has a curve.jsonl",
        "s: no figure lr: no rows differ only in the learning rate",
        "s: no figure tuning: its rows were not tuned, or the trials are not in its results folder",
    ]


def test_png_is_as_wide_as_it_says(tmp_path: Path) -> None:
    (content,) = written(E2E, tmp_path, "--format", "png", "--only", "memory", name="e2e").values()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") == 800


def test_every_file_is_a_figure_with_a_docstring() -> None:
    assert command.names() == ["curves", "forgetting", "lr", "memory", "pareto", "profile", "rank", "tuning"]
    for name in command.names():
        tree = ast.parse((command.FOLDER / f"{name}.py").read_text())
        assert ast.get_docstring(tree)
        assert any(isinstance(node, ast.FunctionDef) and node.name == "draw" for node in tree.body)


def test_nothing_imports_pyplot() -> None:
    code = (
        "import sys, reports.figures.rank, reports.figures.profile, reports.figures.lr, reports.figures.curves\n"
        "import reports.figures.memory\n"
        "print(sorted({'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


# Bad inputs


def test_one_run(tmp_path: Path) -> None:
    add(tmp_path, "lora", spoiled(0.2, seed=3))
    sweep(tmp_path, "lora")
    assert set(written(tmp_path, tmp_path / "out")) == {"s_memory.svg", "s_profile.svg"}


def test_all_failed_gives_no_figure_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(tmp_path, "lora", None, status="oom", cause="no memory")
    sweep(tmp_path, "lora", "ia3")
    assert written(tmp_path, tmp_path / "out") == {}
    assert capsys.readouterr().err == "s: no figures: none of its 2 runs is finished\n"


def test_what_is_not_a_number_is_left_out(tmp_path: Path) -> None:
    add_base(tmp_path)
    add(tmp_path, "lora", None, quality={"bleu": 0.5, "val_loss": 0.25})
    path = run_folder(tmp_path, "lora") / "record.json"  # a record that was written otherwise than by the harness
    path.write_text(path.read_text().replace("0.5", "NaN", 1).replace("0.25", "Infinity", 1))
    add(tmp_path, "ia3", None, quality={"bleu": 20.0})
    add(tmp_path, "full", None, quality={"bleu": 30.0}, throughput=None)
    sweep(tmp_path, "zero_shot", "lora", "ia3", "full", "gone")
    figure = pareto.draw(data(tmp_path))
    assert [[y for _, y in found] for found in values(figure)] == [[20.0, 30.0]] * 2
    assert "1 of 5 runs failed or were not run." in caption(figure)


def test_rows_without_the_score_are_left_out(tmp_path: Path) -> None:
    add(tmp_path, "a", None, {"name": "lora"}, quality={"accuracy": 0.5, "bleu": 20.0})
    add(tmp_path, "b", None, {"name": "ia3"}, quality={"accuracy": 0.6})
    add(tmp_path, "c", None, {"name": "full"}, quality={"bleu": 20.0})
    sweep(tmp_path, "a", "b", "c")
    assert [[y for _, y in found] for found in values(pareto.draw(data(tmp_path)))] == [[0.5, 0.6]] * 3


def test_runs_without_any_score(tmp_path: Path) -> None:
    add(tmp_path, "lora", None)
    add(tmp_path, "ia3", None)
    sweep(tmp_path, "lora", "ia3")
    assert set(written(tmp_path, tmp_path / "out")) == {"s_memory.svg", "s_profile.svg"}


def test_more_rows_than_a_page_has_lines(tmp_path: Path) -> None:
    for n in range(120):
        add(tmp_path, f"m{n}", None, quality={"bleu": float(n)})
    sweep(tmp_path, *(f"m{n}" for n in range(120)))
    figure = profile.draw(data(tmp_path))
    assert sorted(x for x, _ in values(figure)[0]) == list(range(20, 120))
    assert "The 100 best of 120 rows." in caption(figure)


def test_an_unfinished_sweep_has_no_data(tmp_path: Path) -> None:
    sweep(tmp_path, "gone")
    with pytest.raises(NoData, match="none of its 1 runs"):
        data(tmp_path)


def test_misuse_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "nosuch", "--results", str(E2E)]) == 2
    assert "no such sweep; there are: e2e" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["figures", "e2e", "--results", str(E2E), "--output", str(tmp_path / "file"), "--only", "memory"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --output {tmp_path / 'file'}/e2e_memory.svg: cannot be written")
    assert main(["figures", "e2e", "--only", "pie"]) == 2
    assert "invalid choice: 'pie'" in capsys.readouterr().err
