"""The page in headless Chromium, on records made here; fronts, sorts and what fits computed again in Python."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sacrebleu.metrics.bleu import BLEU

from harness.data.cuisine import Cuisine
from harness.data.embedded import Restaurants
from harness.results.folder import read_record, run_id, write_record
from harness.results.record import Record
from harness.results.sections import Inference, Memory, Parameters, Throughput
from harness.results.sweep_files import write_sweep
from reports.__main__ import main
from reports.page.collect import collect
from reports.page.references import embedded
from reports.read.rows import groups, untuned
from reports.read.run import Run
from reports.read.runs import Sweep, finite, load_run, sweep_names
from reports.statistics.paired import difference
from reports.values.columns import MINUS, written
from tests.support.records import run_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="there is no chromium")

RESTAURANTS = "1435254f7b80984010dfa74608a3a6e669effdd366cddc12212cde61b8d3230b"
OTHER = "f" * 64
HOSTILE = "<script>alert(1)</script> a|b & c_d 100% <!-- </script>"
IDS: dict[str, str] = {}
"""Of the runs made here, by the names that tests call them."""
SENTENCES = embedded().of(RESTAURANTS, 20)
SCORER = BLEU(lowercase=True, effective_order=True)


def make(results: Path, name: str, label: str, bleu_of: float | None = None, **changed: Any) -> Record:
    """Write a finished record (or as `changed` says), with predictions that spoil references by `bleu_of`."""
    rng = random.Random(name)
    method = {"name": name.split("-")[0], "rank": changed.pop("rank", 8)}
    method |= {"lr": changed["learning_rate"]} if "learning_rate" in changed else {"label": label}
    key: dict[str, Any] = {"settings": {"method": method, "train": {"steps": changed.pop("steps", 12)}}}
    key["settings"]["seed"] = changed.pop("seed", 0)
    key |= {
        "model": {"name": "tiny"},
        "data": {"name": changed.pop("data", "restaurants"), "sha256": changed.pop("sha256", RESTAURANTS)},
    }
    key |= {"environment": {"device": "cpu", "threads": 1}, "repeat": 0}
    said, quality = [], {"val_loss": rng.uniform(1, 3)}
    if bleu_of is not None:
        for index, (_, references) in SENTENCES.items():
            text = " ".join("word" if rng.random() < bleu_of else word for word in references[0].split())
            score = SCORER.sentence_score(text, list(references))
            counts = [score.sys_len, score.ref_len, *score.counts, *score.totals]
            said.append({"index": index, "prediction": text, "bleu": counts})
        totals = [sum(line["bleu"][i] for line in said) for i in range(10)]
        args = (totals[2:6], totals[6:], totals[0], totals[1])
        quality["bleu"] = float(BLEU.compute_bleu(*args, smooth_method="exp").score)
    parts = {"trainable": int(10 ** rng.uniform(2, 7)), "added": 0, "total": 10**8, "full_copy_bytes": 2 * 10**8}
    fields: dict[str, Any] = {
        "status": "ok",
        "quality": quality,
        "test_examples": 20,
        "learning_rate": 0.002,
        "parameters": Parameters(**parts, adapter_bytes=4 * parts["trainable"]),
        "memory": Memory(train_rss_growth=int(rng.uniform(0.5, 4) * 2**30)),
        "throughput": Throughput(
            tokens_per_second=rng.uniform(50, 900), samples_per_second=1.0, tokens_per_second_iqr=1.0, timed_steps=5
        ),
        "seconds": {"total": rng.uniform(5, 500), "evaluate": rng.uniform(1, 50)},
        "base_quality": {"bleu": 5.0},
    }
    IDS[name] = run_id(method["name"], key)
    record = Record(
        id=IDS[name], key=key, started="2026-11-24", method=method["name"], label=label, **(fields | changed)
    )
    write_record(results, record)
    folder = run_folder(results, record.id)
    if said:
        (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))
    (folder / "curve.jsonl").write_text('{"step": 1, "loss": 3.5}\n{"step": 2, "loss": 2.5, "val_loss": 2.75}\n')
    return record


def answering(**seconds: float) -> dict[str, list[Inference]]:
    """By model, the time of a token; four requests at once take twice as long."""
    lengths = {"prompt_tokens": 32, "new_tokens": 5, "repeats": 5}
    return {
        model: [
            Inference(batch_size=n, prefill_seconds=3 * each * n, decode_seconds_per_token=each * n, **lengths)
            for n in (2, 1)
        ]
        for model, each in seconds.items()
    }


FAILED: dict[str, Any] = {"parameters": None, "memory": None, "throughput": None, "quality": {}, "test_examples": None}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty comparable runs, three of one row's seeds, two of another budget, and everything that goes wrong."""
    folder = tmp_path_factory.mktemp("made") / "results"
    for i in range(27):
        times: dict[str, Any] = {"null_reasons": {"inference": "off for this row"}}
        if i % 3 == 0:  # merged, as one would serve it
            times = {"inference": answering(base=0.5, unmerged=0.4, merged=i / 1000)}
        elif i % 3 == 1:
            times = {"inference": answering(base=0.5, unmerged=i / 1000)}
        make(folder, f"{['lora', 'ia3', 'vera'][i % 3]}-{i:012d}", f"row {i}", bleu_of=i / 40, rank=i + 1, **times)
    for seed in range(3):
        make(folder, f"lora-seed{seed}", "seeded", bleu_of=0.1 + seed / 100, seed=seed, rank=99)
    for i in range(2):
        make(folder, f"dora-budget{i}", f"budget {i}", bleu_of=0.02, steps=999, rank=50 + i)
    make(folder, "lora-hostile", HOSTILE, bleu_of=0.3, rank=77, steps=12)
    make(folder, "other-data", "other data", bleu_of=0.3, data="e2e", sha256=OTHER)
    make(folder, "full-oom", "too big", **FAILED, status="oom", cause="CUDA out of memory & more <b>", step=3)
    make(folder, "full-nan", "not a number", steps=77, quality={"val_loss": -0.25, "bleu": -0.125})
    path = run_folder(folder, IDS["full-nan"]) / "record.json"
    path.write_text(path.read_text().replace("-0.125", "NaN").replace("-0.25", "Infinity"))
    for name, text in {
        "full-truncated": '{"schema_version": 1, "id": "fu',
        "full-newer": '{"schema_version": 99}',
    }.items():
        run_folder(folder, name).mkdir()
        (run_folder(folder, name) / "record.json").write_text(text)
    listed = [{"id": IDS[f"lora-seed{seed}"], "label": "seeded", "overrides": "a=b"} for seed in range(3)]
    write_sweep(folder, "seeds & more", "?", [*listed, {"id": "never-run", "label": "never run", "overrides": ""}])
    (folder / "sweeps" / "broken.json").write_text('{"name": ')
    return folder


@pytest.fixture(scope="module")
def file(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all of them."""
    output = tmp_path_factory.mktemp("page") / "page.html"
    assert main(["page", "--results", str(results), "--output", str(output)]) == 0
    return output


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


Open = Callable[..., "Page"]


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Open]:
    """Opens a page at a hash; afterwards nothing may have been asked of anyone, nor said on the console."""
    pages, said, asked = [], [], []

    def start(hash: str = "", path: Path = file, width: int = 1280, **options: Any) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 800}, **options)
        page.set_default_timeout(30_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url.partition("#")[0]))
        page.goto(f"{path.as_uri()}#{hash}")
        page.wait_for_selector("html[data-ready]", state="attached")
        pages.append((page, path.as_uri()))
        return page

    yield start
    assert said == []
    assert set(asked) <= {uri for _, uri in pages}
    for page, _ in pages:
        page.close()


def records(results: Path) -> dict[str, Record]:
    """The readable ones, by id."""
    found = {}
    for path in results.glob("runs/*/record.json"):
        if path.parent.name not in ("full-truncated", "full-newer"):
            found[path.parent.name] = read_record(path)
    return found


def cells(page: Page, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def test_sorting_puts_missing_last_both_ways(opened: Open, results: Path) -> None:
    page = opened("cols=bleu")
    scores = [record.quality.get("bleu") for record in records(results).values()]
    known = sorted(score for score in scores if finite(score) is not None and score is not None)
    total = page.locator("table.runs tbody tr").count()
    for direction, ordered in (("descending", known[::-1]), ("ascending", known)):
        page.click("th[data-key=bleu] button")
        assert page.get_attribute("th[data-key=bleu]", "aria-sort") == direction
        shown = [text.split("\n")[0] for text in cells(page, "table.runs tbody td")]
        assert shown[: len(known)] == [f"{value:.2f}" for value in ordered]
        assert shown[len(known) :] == ["—"] * (total - len(known))


def test_every_number_is_written_as_in_the_tables(opened: Open, results: Path, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    assert main(["page", "--results", str(ROOT / "docs/results/e2e"), "--output", str(output)]) == 0
    paths = {"bleu": "score", "val_loss_nats_per_token": "loss", "trainable_parameters": "count"}
    paths |= {"adapter_bytes": "disk", "train_rss_growth_bytes": "memory", "train_tokens_per_second": "speed"}
    page = opened(f"cols={','.join(paths)}", path=output)
    (asked,) = (ROOT / "docs/results/e2e/sweeps").glob("e2e.*.json")
    listed = json.loads(asked.read_text())["runs"]
    found = [read_record(ROOT / "docs/results/e2e/runs" / run["id"] / "record.json") for run in listed]
    values: dict[str, list[float | None]] = {
        "bleu": [r.quality["bleu"] for r in found],
        "val_loss_nats_per_token": [r.quality["val_loss"] for r in found],
        "trainable_parameters": [r.parameters.trainable if r.parameters else None for r in found],
        "adapter_bytes": [r.parameters.adapter_bytes if r.parameters else None for r in found],
        "train_rss_growth_bytes": [r.memory.train_rss_growth if r.memory else None for r in found],
        "train_tokens_per_second": [r.throughput.tokens_per_second if r.throughput else None for r in found],
    }
    import pandas as pd

    order = cells(page, "table.runs thead th")
    for key, kind in paths.items():
        place = [th.get_attribute("data-key") for th in page.locator("table.runs thead th").all()].index(key)
        column = [text.split("\n")[0] for text in cells(page, f"table.runs tbody tr > :nth-child({place + 1})")]
        known = [value for value in values[key] if value is not None]
        unit, texts = written(kind, pd.Series(known))  # type: ignore[arg-type]
        assert [text for text in column if text != "—"] == texts, key
        assert unit in order[place]


@pytest.mark.parametrize(
    "filters", ["q=row 1", "method=ia3", "status=oom", "sweep=seeds & more", "q=LORA&data=e2e", "q=%"]
)
def test_filters(opened: Open, results: Path, filters: str) -> None:
    page = opened()
    wanted = dict(part.split("=") for part in filters.split("&") if "=" in part)
    if filters.startswith("sweep"):
        wanted = {"sweep": "seeds & more"}
    for name, value in wanted.items():
        if name == "q":
            page.fill("input[name=q]", value)
        else:
            page.select_option(f"#filters select[name={name}]", value)
    found = records(results)
    if "method" in wanted:
        expected = sorted(r.label for r in found.values() if r.method == "ia3")
    elif "sweep" in wanted:
        expected = ["never run", "seeded", "seeded", "seeded"]
    elif "status" in wanted:
        expected = ["too big"]
    elif "data" in wanted:
        expected = []
    elif wanted["q"] == "%":
        expected = [HOSTILE]
    else:
        expected = sorted(label for r in found.values() if "row" in (label := r.label) and "1" in f"{r.label} {r.id}")
    assert sorted(cells(page, "table.runs tbody tr .link")) == expected


def test_the_score_that_rows_are_compared_by_is_among_the_columns_that_are_shown_first(
    opened: Open, tmp_path: Path
) -> None:
    results, output = tmp_path / "results", tmp_path / "page.html"
    scores = {"val_loss": 1.5, "chrf": 40.0, "meteor": 30.0, "nist": 5.0, "rouge1": 60.0, "ser": 10.0}
    make(results, "lora-a", "a", quality=scores, rank=1)
    make(results, "lora-b", "b", quality=scores | {"bleu": 50.0}, rank=2)
    assert main(["page", "--results", str(results), "--output", str(output)]) == 0
    assert "BLEU" in opened(path=output).inner_text("table.runs thead")


def test_runs_are_filtered_by_how_their_rate_was_found(opened: Open, tmp_path: Path) -> None:
    results = tmp_path / "results"
    how = {"row": "method=lora", "setting": "method.lr", "own": 0.002, "value": 0.01, "others": [], "trials": ["t"]}
    how |= {"edge": False, "default": False, "at_own": False, "sampler": "grid", "searched": ""}
    listed: list[dict[str, Any]] = []
    for name, tuned in {"found": how, "outermost": how | {"edge": True}, "plain": how | {"default": True}}.items():
        make(results, f"lora-{name}", name, bleu_of=0.2, rank=len(listed) + 1)
        listed.append({"id": IDS[f"lora-{name}"], "label": name, "overrides": "", "tuned": tuned})
    make(results, "lora-alone", "alone", bleu_of=0.2, rank=9)
    write_sweep(results, "t", "?", listed)
    plain = [{name: run[name] for name in ("id", "label", "overrides")} for run in listed]
    write_sweep(results, "a sweep that tuned nothing", "?", plain)
    output = tmp_path / "page.html"
    assert main(["page", "--results", str(results), "--output", str(output)]) == 0
    page = opened(path=output)
    for rate, labels in {
        "tuned": ["found"],
        "tuned, at the edge of its grid": ["outermost"],
        "own, beside a tuned one": ["plain"],
        "not tuned": ["alone"],
    }.items():
        page.select_option("#filters select[name=rate]", rate)
        assert cells(page, "table.runs tbody tr .link") == labels
    assert opened().locator("#filters select[name=rate]").count() == 0, "nothing to choose where no sweep was tuned"


def test_failures_are_rows_with_their_cause(opened: Open) -> None:
    page = opened()
    causes = "\n".join(cells(page, "table.runs td.cause"))
    for said in ("CUDA out of memory & more <b>", "at step 3", "not a whole record", "written in schema 99"):
        assert said in causes
    assert "broken.json" in page.inner_text("header .warning")
    row = page.locator("table.runs tbody tr", has_text="not a number")
    assert "bleu is not a finite number (nan)" in str(row.locator(".dash").evaluate_all("a => a.map(e => e.title)"))
    assert HOSTILE in cells(page, "table.runs tbody tr .link")


def front(found: list[Record], x: Callable[[Record], float], lower: bool) -> set[str]:
    """Brute force: labels of those that none beats; x as said, BLEU the higher the better."""
    at = [(x(r) if lower else -x(r), -(r.quality["bleu"] or 0.0), r.label) for r in found]
    return {label for a, b, label in at if not any(p <= a and q <= b and (p < a or q < b) for p, q, _ in at)}


@pytest.mark.parametrize("measure", ["trainable_parameters", "train_tokens_per_second"])
def test_the_front_is_that_of_brute_force_in_each_comparable_set(opened: Open, results: Path, measure: str) -> None:
    page = opened(f"view=tradeoff&x={measure}&y=bleu")
    sets: dict[tuple[str, int], list[Record]] = {}
    for record in records(results).values():
        if finite(record.quality.get("bleu")) is not None:
            place = (record.key["data"]["name"], record.key["settings"]["train"]["steps"])
            sets.setdefault(place, []).append(record)
    lower = measure == "trainable_parameters"
    expected = [
        front(found, lambda r: r.parameters.trainable if lower else r.throughput.tokens_per_second, lower)  # type: ignore[union-attr]
        for found in sets.values()
    ]
    tables = [
        set(cells(page, f".front-table >> nth={i} >> .link")) for i in range(page.locator(".front-table").count())
    ]
    assert sorted(map(sorted, tables)) == sorted(map(sorted, expected))
    assert len(expected) == 3
    said = page.inner_text(".warning >> nth=-1")
    assert "training steps (12, 999)" in said
    assert "data (restaurants, e2e)" in said
    page.click("text=Show only the largest set")
    assert page.locator(".front-table").count() == 1


def test_a_run(opened: Open, results: Path) -> None:
    page = opened()
    page.locator("table.runs tbody tr", has=page.get_by_text("row 0", exact=True)).locator(".link").click()
    text = page.inner_text("dialog")
    record = records(results)[IDS["lora-000000000000"]]
    for said in ("restaurants", f"{record.quality['bleu']:.2f}", record.id):
        assert said in text
    assert page.locator("dialog svg path.front").count() == 2
    inputs = cells(page, "dialog .example .input")
    assert [line.split(maxsplit=1)[1] for line in inputs] == [source for source, _ in SENTENCES.values()]
    # Nothing was spoiled in this run, so that each prediction is its reference.
    assert page.locator("dialog .example ins, dialog .example del").count() == 0
    assert cells(page, "dialog .prediction") == cells(page, "dialog .reference")
    page.click("dialog summary")
    assert "settings.method.rank" in page.inner_text("dialog dl.mono")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    page.wait_for_url(lambda url: "run=" not in url)  # the dialog says a moment later that it is closed
    assert page.evaluate("document.activeElement.textContent") == "row 0"


def test_marked_differences_give_both_texts_again(opened: Open, results: Path) -> None:
    page = opened(f"run={IDS['vera-000000000020']}")
    said = [
        json.loads(line)["prediction"]
        for line in (run_folder(results, IDS["vera-000000000020"]) / "predictions.jsonl").open()
    ]
    assert cells(page, "dialog .prediction") == said
    references = cells(page, "dialog .reference")
    assert all(text in SENTENCES[i][1] for i, text in enumerate(references))
    assert {word for text in cells(page, "dialog .example ins") for word in text.split()} == {"word"}


def test_references_of_other_data_only_where_asked(opened: Open, results: Path, tmp_path: Path) -> None:
    assert "References are not shown" in opened(f"run={IDS['other-data']}").inner_text("dialog")
    given = tmp_path / "references.jsonl"
    line = {
        "data": OTHER,
        "test_examples": 20,
        "index": 0,
        "input": "asked",
        "references": ["for </script>"],
    }
    folder = tmp_path / "results"
    make(folder, "other-data", "other data", bleu_of=0.3, data="e2e", sha256=OTHER)
    given.write_text(json.dumps(line) + "\n")
    output = tmp_path / "page.html"
    assert main(["page", "--results", str(folder), "--output", str(output), "--references", str(given)]) == 0
    assert cells(opened(f"run={IDS['other-data']}", path=output), "dialog .example .input") == ["0 asked"]


def runs_of(results: Path, *names: str) -> list[Run]:
    return [load_run(results, {"id": name, "label": name, "overrides": ""}) for name in names]


def test_compare(opened: Open, results: Path) -> None:
    first, second = IDS["lora-000000000000"], IDS["ia3-000000000010"]
    page = opened()
    for label in ("row 0", "row 10"):
        page.locator("table.runs tbody tr", has=page.get_by_text(label, exact=True)).locator("input").click()
    page.click("text=Compare the two picked")
    fields = [row.split("\t") for row in cells(page, "table.config tbody tr")]
    assert fields == [
        ["settings.method.name", "lora", "ia3"],
        ["settings.method.rank", "1", "11"],
        ["settings.method.label", "row 0", "row 10"],
    ]
    gap = difference(*([run] for run in runs_of(results, second, first)), "bleu")
    value, interval = page.inner_text("tr[data-key=bleu] td >> nth=2").split("\n")
    low, high = (float(end.replace(MINUS, "-")) for end in interval.split(" to "))
    assert float(value.replace(MINUS, "-")) == pytest.approx(gap.value, abs=0.006)
    assert (low, high) == pytest.approx((gap.interval.low, gap.interval.high), abs=0.011)
    assert page.locator(".example").count() > 0
    page.click("text=Swap")
    assert [row.split("\t")[1] for row in cells(page, "table.config tbody tr")] == ["ia3", "11", "row 10"]
    page.reload()
    assert page.locator("table.config tbody tr").count() == 3
    warned = opened(f"view=compare&a={first}&b={IDS['dora-budget0']}")
    assert "training steps (12, 999)" in warned.inner_text(".warning >> nth=-1")


def test_the_chooser(opened: Open, results: Path) -> None:
    page = opened("view=choose&q=row&cq=bleu&cs=train_tokens_per_second")
    page.fill("input[name=cml]", "3")
    page.fill("input[name=cql]", "40")
    page.fill("input[name=csl]", "200")
    fitting = {
        r.label: r.id
        for r in records(results).values()
        if r.label.startswith("row") and r.memory and r.throughput
        if (r.memory.train_rss_growth or 0) <= 3 * 2**30
        if (r.quality["bleu"] or 0) >= 40 and r.throughput.tokens_per_second >= 200
    }
    assert set(cells(page, "table.fits tbody .link")) == set(fitting)
    assert len(fitting) > 3
    scores = {label: records(results)[name].quality["bleu"] or 0.0 for label, name in fitting.items()}
    best = max(scores, key=lambda label: scores[label])
    for row in page.locator("table.fits tbody tr").all():
        label = row.locator(".link").inner_text()
        gap = difference(*([run] for run in runs_of(results, fitting[best], fitting[label])), "bleu").interval
        tied = "best at these rates" if label == best else "tied with the best at these rates"
        word = tied if label == best or gap.contains_zero else "below the best"
        assert row.get_attribute("data-verdict") == word
    page.fill("input[name=cml]", "0.01")
    assert page.inner_text("[role=status]").startswith("0 rows fit")


def test_rows_of_several_seeds_are_paired_as_in_the_tables(opened: Open, tmp_path: Path) -> None:
    results, output = tmp_path / "results", tmp_path / "page.html"
    seeds = {"one": (0, 1, 2), "two": (2, 0, 1), "some": (1, 2, 7), "none": (5, 6), "single": (0,)}
    for rank, (label, own) in enumerate(seeds.items(), 1):
        for seed in own:
            make(results, f"lora-{label}{seed}", label, bleu_of=0.1 * rank + seed / 40, seed=seed, rank=rank)
    assert main(["page", "--results", str(results), "--output", str(output)]) == 0
    text = output.read_text()
    output.write_text(text.replace("})();\n</script>", "window.inside = { rows, pairedInterval };\n})();\n</script>"))
    page = opened("view=choose&cq=bleu", path=output)
    runs = {label: runs_of(results, *(IDS[f"lora-{label}{seed}"] for seed in own)) for label, own in seeds.items()}
    for a, b in itertools.combinations(seeds, 2):
        ours = difference(runs[a], runs[b], "bleu").interval
        row = "inside.rows.find((row) => row.label === {!r})"
        shown = page.evaluate(f"inside.pairedInterval({row.format(a)}, {row.format(b)}, 'bleu')")
        step = (ours.high - ours.low) / 200  # of independent seeds the page has 65,536 steps of a heavy tail
        near = step if len(set(seeds[a]) & set(seeds[b])) < 2 else 0.01
        assert (shown["low"], shown["high"]) == pytest.approx((ours.low, ours.high), abs=near), (a, b)


def test_what_does_not_beat_a_constant_answer_is_neither_best_nor_tied(opened: Open, tmp_path: Path) -> None:
    results, output = tmp_path / "results", tmp_path / "page.html"
    for rank, (label, share) in enumerate({"weak": 0.8, "good": 0.05}.items(), 1):
        make(results, f"lora-{label}", label, bleu_of=share, rank=rank, baselines={"best_constant": 26.24})
    assert main(["page", "--results", str(results), "--output", str(output)]) == 0
    page = opened("view=choose&cq=bleu", path=output)
    lines = page.locator("table.fits tbody tr").all()
    verdicts = {line.locator(".link").inner_text(): line.get_attribute("data-verdict") for line in lines}
    assert verdicts == {"weak": "below a constant answer", "good": "best at these rates"}


def test_best_is_said_of_rows_whose_rates_were_searched_as_in_the_tables(opened: Open, tmp_path: Path) -> None:
    results, output = tmp_path / "results", tmp_path / "page.html"
    how = {"row": "method=lora", "setting": "method.lr", "own": 0.002, "value": 0.01, "others": [], "trials": ["t"]}
    how |= {"edge": False, "default": False, "at_own": False, "sampler": "grid", "searched": ""}
    rows = {  # rank, rate, how it was tuned
        "found": (1, 0.01, how),
        "again": (2, 0.01, how),
        "own of found": (1, 0.002, how | {"default": True}),
        "own of again": (2, 0.002, how | {"default": True}),
        "kept": (3, 0.002, how | {"at_own": True}),
        "rank alone": (4, 0.002, how | {"setting": "method.rank"}),
        "by hand": (5, 0.002, None),
        "by hand, higher": (5, 0.02, None),
        "untuned": (6, 0.002, None),
    }
    listed: list[dict[str, Any]] = []
    for number, (label, (rank, rate, tuned)) in enumerate(rows.items()):
        make(results, f"lora-{label}", label, bleu_of=0.1 + number / 50, rank=rank, learning_rate=rate)
        listed.append({"id": IDS[f"lora-{label}"], "label": label, "overrides": ""})
        listed[-1] |= {"tuned": tuned | {"row": f"method=lora method.rank={rank}"}} if tuned else {}
    write_sweep(results, "t", "?", listed)
    assert main(["page", "--results", str(results), "--output", str(output)]) == 0
    text = output.read_text()
    output.write_text(text.replace("})();\n</script>", "window.inside = { rows, unsearched };\n})();\n</script>"))
    page = opened("view=choose&cq=bleu", path=output)
    by_id = {row.id: row for row in groups(Sweep("", "", tuple(row.run for row in collect([results])[0])))}
    known = {label: by_id[IDS[f"lora-{label}"]] for label in rows}
    for size in (1, 2, 3):
        for chosen in itertools.combinations(rows, size):
            of = f"inside.rows.filter((row) => {list(chosen)}.includes(row.label))"
            there = bool(untuned([known[label] for label in chosen]))
            assert page.evaluate(f"inside.unsearched({of})") == there, chosen
    for chosen, there in {
        ("found", "again"): False,
        ("found", "kept"): False,
        ("found", "own of again"): True,
        ("own of found", "own of again"): True,
        ("found", "by hand", "by hand, higher"): False,
        ("found", "by hand"): True,
        ("rank alone", "kept"): True,
        ("untuned",): False,
    }.items():
        assert bool(untuned([known[label] for label in chosen])) == there, chosen


def test_latency_is_a_limit_of_the_chooser(opened: Open, results: Path) -> None:
    page = opened("view=choose&q=row&cq=bleu")
    assert page.input_value("select[name=cs]") == "decode_ms_per_token"
    page.fill("input[name=csl]", "10")
    assert set(cells(page, "table.fits tbody .link")) == {f"row {i}" for i in range(11) if i % 3 < 2}
    assert "9 rows: latency, batch 1: each token not measured" in page.inner_text("#chosen")
    page.locator("table.fits tbody .link").first.click()
    assert "latency, batch 1: first token" in page.inner_text("dialog")
    missing = opened(f"run={IDS['vera-000000000002']}")
    said = missing.locator("dialog p", has_text="off for this row").inner_text()
    assert all(f"latency, batch 1: {which} token" in said for which in ("each", "first"))


def test_seeds_are_one_row_of_the_chooser_and_sets_stay_apart(opened: Open, results: Path) -> None:
    page = opened("view=choose&cq=bleu")
    row = page.locator("table.fits tbody tr", has_text="seeded")
    mean = sum(records(results)[IDS[f"lora-seed{seed}"]].quality["bleu"] or 0.0 for seed in range(3)) / 3
    assert row.count() == 1
    assert "3 seeds" in row.inner_text()
    assert f"{mean:.2f}" in row.inner_text()
    assert page.locator("table.fits").count() == 3
    assert "may not be ranked together" in page.inner_text(".warning >> nth=-1")


def test_keyboard(opened: Open) -> None:
    page = opened("cols=bleu")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th')?.dataset.key") == "bleu":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.get_attribute("th[data-key=bleu]", "aria-sort") == "descending"
    assert page.evaluate("document.activeElement.closest('th').dataset.key") == "bleu"
    page.focus("#tab-table")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#tab-tradeoff", "aria-selected") == "true"
    page.focus(".chart")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#live")
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


@pytest.mark.parametrize(
    "view", ["", "view=tradeoff", "view=choose", "view=compare&a={lora-seed0}&b={lora-hostile}", "run={lora-hostile}"]
)
def test_a_phone_scrolls_sideways_in_tables_alone(opened: Open, view: str) -> None:
    page = opened(view.format(**IDS), width=360)
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(
        "document.querySelector('dialog').scrollWidth <= Math.max(360, document.querySelector('dialog').clientWidth)"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(opened: Open, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    names = "ground text muted accent good bad warn bad-soft warn-soft accent-soft raised ins del".split()  # noqa: SIM905
    values = page.evaluate(
        "names => names.map(n => [n, getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim()])",
        names,
    )
    color = dict(values)

    def luminance(name: str) -> float:
        parts = [int(color[name][i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert (luminance("ground") < 0.1) == (scheme == "dark")
    pairs = [("text", "ground"), ("muted", "ground"), ("accent", "ground"), ("good", "raised"), ("bad", "bad-soft")]
    pairs += [("warn", "warn-soft"), ("accent", "accent-soft"), ("muted", "raised"), ("text", "ins"), ("text", "del")]
    pairs += [("muted", "accent-soft"), ("bad", "ground")]
    for one, other in pairs:  # WCAG 2, level AA of text
        light, dark = sorted((luminance(one), luminance(other)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (one, other)


def test_print_leaves_out_controls(opened: Open) -> None:
    page = opened(color_scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert page.locator("table.runs").is_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ground').trim()") == "#fff"


def test_one_failed_run_and_two_records_of_one_id(opened: Open, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    make(one, "full-oom", "too big", **FAILED, status="oom", cause="no memory")
    make(other, "full-oom", "too big", **FAILED, status="oom", cause="still no memory")
    output = tmp_path / "page.html"
    assert main(["page", "--results", str(one), "--output", str(output)]) == 0
    page = opened(path=output)
    for view in ("tradeoff", "compare", "choose", "table"):
        page.click(f"#tab-{view}")
    assert page.locator("table.runs tbody tr").count() == 1
    assert main(["page", "--results", str(one), str(other), str(one), "--output", str(output)]) == 0
    page = opened(path=output)
    assert page.locator("table.runs tbody tr").count() == 2
    assert "recorded differently in 2 folders" in page.inner_text("table.runs")


def test_what_the_user_can_put_right(tmp_path: Path, capsys: pytest.CaptureFixture[str], results: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"data": "x", "test_examples": 1, "index": 0, "input": "a", "references": "b"}\n')
    output = ["--output", str(tmp_path / "page.html")]
    for arguments, said in (
        (["--results", str(tmp_path / "none")], "none is no folder; run something into it"),
        (["--results", str(results), "--references", str(bad)], "bad.jsonl:1: not an object of data, test_examples"),
        (["--results", str(results), "--references", str(tmp_path / "absent")], "cannot be read"),
        (["--results", str(results), "--examples", "-1"], "--examples: must be 0 or more"),
    ):
        assert main(["page", *output, *arguments]) == 2
        assert said in capsys.readouterr().err
    assert main(["page", "--results", str(results), "--output", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_data_cannot_break_out_of_its_element(file: Path) -> None:
    text = file.read_text()
    inside = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S)
    assert all("<" not in part and json.loads(part) is not None for part in inside)
    assert len(re.findall("</script>", text)) == len(inside) + 1
    assert "http://www.w3.org/2000/svg" in text  # the name of a namespace, the only address
    assert len(re.findall("https?://", text)) == 1


def test_embedded_references_are_those_of_the_harness() -> None:
    """The file that the page takes them from is what the data generate, and a run's examples are drawn alike."""
    import yaml

    from harness.data import load
    from harness.data.splits import by_task

    known = embedded()
    for kind, name in ((Restaurants, "restaurants"), (Cuisine, "cuisine")):
        settings = yaml.safe_load((ROOT / f"conf/data/{name}.yaml").read_text())
        splits, content = load(kind.model_validate({k: v for k, v in settings.items() if k != "_target_"}))
        whole = [(example.source, example.references) for example in splits.test]
        assert list(known.whole[content]) == whole
        for count in (1, 20, len(whole)):
            scored = [(e.source, e.references) for e in by_task(splits.test, count)]
            assert scored == list(known.of(content, count).values())
    assert known.whole.keys() >= {RESTAURANTS}


def test_sweeps_in_folders_are_named() -> None:
    rows, problems = collect([ROOT / "docs/results/rank_ablation"])
    assert not problems
    assert {name for row in rows for name in row.sweeps} == set(sweep_names(ROOT / "docs/results/rank_ablation"))
    assert all(row.sweeps for row in rows)


def test_folders_that_are_no_runs_leave_the_rest(opened: Open, tmp_path: Path) -> None:
    """A name without `-`, an empty folder, a file among the runs, scores that are called like what every object has."""
    folder = tmp_path / "results"
    make(folder, "lora-000000000001", "a row", bleu_of=0.4)
    names = {"constructor": 1.0, "__proto__": 2.0, "toString": 3.0, "bleu": 4.0}
    make(folder, "lora-000000000002", "another", quality=names, base_quality=names, baselines=names)
    for name in ("nodash", "-", "constructor", "__proto__", "a b"):
        (folder / "runs" / name).mkdir()
    (folder / "runs" / "nothing.txt").touch()
    output = tmp_path / "page.html"
    assert main(["page", "--results", str(folder), "--output", str(output)]) == 0
    for view in ("table", "tradeoff", "compare", "choose"):
        page = opened(f"view={view}", path=output)
        assert page.locator("#panel > *").count() > 0
        assert "2 ok" in (page.text_content("#summary") or "")
    page = opened("", path=output)
    assert page.locator("table.runs tbody tr").count() == 7
    page.get_by_role("button", name="another").click()
    assert "constructor" in (page.text_content("#detail") or "")


@pytest.mark.parametrize(
    "value", ["constructor", "__proto__", "toString,hasOwnProperty,valueOf", "<b>", "%00", "1e999", "-1"]
)
def test_no_address_breaks_a_panel(value: str, opened: Open) -> None:
    parameters = (
        "cols",
        "sort",
        "dir",
        "page",
        "view",
        "x",
        "y",
        "logx",
        "a",
        "b",
        "run",
        "cm",
        "cq",
        "cs",
        "cql",
        "q",
    )
    parameters += ("sweep", "method", "set", "constructor", "__proto__")
    page = opened("")
    for view in ("", "table", "tradeoff", "compare", "choose"):
        for name in parameters:
            page.evaluate("hash => { location.hash = hash; }", f"view={view}&{name}={value}")
            assert page.locator("#panel > *").count() > 0, (view, name)
