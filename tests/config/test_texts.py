"""What a cell may be: missing, named twice, half a character, empty; and answers that would not be left whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data import Example, load, template
from harness.data.tables import read_table
from harness.errors import UserError
from harness.evaluation.scores import cut_answers
from harness.results.record import Record
from tests.support.command_line import TINY
from tests.support.tasks import JSONL, chosen, hub, problems, write

NAN = float("nan")
MISSING = (None, NAN, float("inf"), float("-inf"))
SPLITS = ("train", "validation", "test")


def made(folder: Path, rows: list[dict[str, object]]) -> tuple[str, ...]:
    """The rows as all three splits, with inputs of their own."""
    for split in SPLITS:
        write(folder / f"{split}.jsonl", [{"n": f"{split} {i}", **row} for i, row in enumerate(rows)])
    return ("data=jsonl", f"data.path={folder}")


def shown(folder: Path, rows: list[dict[str, object]], prompt: str) -> list[str]:
    """The prompts of the test split, without what tells its rows apart."""
    given = made(folder, rows)
    texts = load(chosen(*given, f"data.prompt='{{{{ n }}}}|{prompt}'", "data.answer=x").data)[0].test
    return [text.source.partition("|")[2] for text in texts]


@pytest.mark.parametrize("value", MISSING)
@pytest.mark.parametrize(
    "prompt",
    [
        "{{ x }}", "{{ row[\"x\"] }}", "{{ xs[0] }}", "{{ xs | join }}", "{{ d.x }}", "{{ d.xs[1] }}", "{{ x ~ d.x }}",
        "{{ x | upper }}", "{{ \"%s\" % x }}", "{% if x %}no{% endif %}", "{% if x is not none %}no{% endif %}",
        "{{ x | default(\"\", true) }}", "{% for each in x %}no{% endfor %}", "{{ row.get(\"nothing\") }}",
    ],
)  # fmt: skip
def test_what_is_missing_is_an_empty_text(value: float | None, prompt: str, tmp_path: Path) -> None:
    row = {"x": value, "xs": [value], "d": {"x": value, "xs": ["a", value]}}
    assert shown(tmp_path, [row], prompt) == [""]


def test_what_says_something_stays(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"x": x} for x in ("None", "nan", "null", 0, False, 1.5, "")]
    assert shown(tmp_path, rows, "{{ x }}") == ["None", "nan", "null", "0", "False", "1.5", ""]
    assert template("{{ none }}{{ x }}").render(x=NAN) == ""


def test_missing_in_every_format(tmp_path: Path) -> None:
    frame = pd.DataFrame({"q": ["a", None], "f": [NAN, 1.0], "s": [[None, "b"], None]})
    frame.to_parquet(tmp_path / "x.parquet")
    frame[["q", "f"]].to_csv(tmp_path / "x.csv", index=False)
    (tmp_path / "x.json").write_text('[{"q": "a", "f": NaN, "s": [null, "b"]}, {"q": null, "f": 1.0, "s": null}]')
    cells = [{"q": "a", "f": "", "s": ["", "b"]}, {"q": "", "f": 1.0, "s": ""}]
    assert read_table(tmp_path, "x.parquet", None) == cells == read_table(tmp_path, "x.json", None)
    assert read_table(tmp_path, "x.csv", None) == [{"q": "a", "f": ""}, {"q": "", "f": "1.0"}]


def test_missing_on_the_hub(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, object]]] = {
        s: [{"q": f"{s} {i}", "m": [None, "y"][i], "a": "b"} for i in (0, 1)] for s in SPLITS
    }
    given = ("data=hub", hub(tmp_path, "default", rows), "data.prompt='{{ q }}{{ m }}'", "data.answer='{{ a }}'")
    assert [example.source for example in load(chosen(*given).data)[0].test] == ["test 0", "test 1y"]


@pytest.mark.parametrize("value", [*MISSING, "", " "])
@pytest.mark.parametrize("more", [[], ["data.verbalizer={good:good,None:bad,nan:worse}", "data.metrics=[classes]"]])
def test_an_answer_that_is_missing_is_refused(value: object, more: list[str], tmp_path: Path) -> None:
    given = made(tmp_path, [{"a": "good"}, {"a": value}])
    (line,) = problems(*given, "data.prompt='{{ n }}'", "data.answer='{{ a }}'", *more)
    assert line == "train.jsonl, row 2: data.answer gives no text; fill in the answer or remove the row"


TWINS = {
    "csv": "q,a,q\nx,y,z\n",
    "bom.csv": "\ufeffq,a,q\nx,y,z\n",
    "quoted.csv": '"q",a,q\nx,y,z\n',
    "tsv": "q\tq\ta\nx\ty\tz\n",
    "jsonl": '{"q": "x", "a": "y"}\n{"q": "x", "a": "y", "q": "z"}\n',
    "nested.jsonl": '{"a": "y", "d": [{"q": 1, "q": 2}]}\n',
    "json": '[{"q": "x", "a": "y", "q": "z"}]',
}


@pytest.mark.parametrize(("name", "content"), TWINS.items())
def test_two_columns_of_one_name(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / f"x.{name}").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"2 (columns|keys) are named 'q'") as caught:
        read_table(tmp_path, f"x.{name}", None)
    assert str(tmp_path / f"x.{name}") in str(caught.value)


def test_two_columns_of_one_name_elsewhere(tmp_path: Path) -> None:
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["q", "q"]), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("x,y,z\n")
    with pytest.raises(UserError, match=r"x.parquet: 2 columns are named 'q'"):
        read_table(tmp_path, "x.parquet", None)
    with pytest.raises(UserError, match=r"data.columns: 2 columns are named 'q'"):
        read_table(tmp_path, "x.csv", ["q", "a", "q"])
    for name in ("trainset", "devset", "testset_w_refs"):
        (tmp_path / f"{name}.csv").write_text("mr,ref,ref\nx,y,z\n")
    (line,) = problems("data=e2e", f"data.path={tmp_path}")
    assert "trainset.csv, line 1: 2 columns are named 'ref'" in line


def test_columns_without_a_name(tmp_path: Path) -> None:
    """A table's index is one, a spreadsheet's empty columns are several, of which none can be meant."""
    (tmp_path / "index.csv").write_text(",q\n0,x\n")
    (tmp_path / "empty.csv").write_text("q,,\nx,,\n")
    assert read_table(tmp_path, "index.csv", None) == [{"": "0", "q": "x"}]
    assert read_table(tmp_path, "empty.csv", None) == [{"q": "x"}]


def test_a_carriage_return_ends_no_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes('q,a\r\nb\rc,"d\re\r\nf"\r\n\r\ng\u2028h,i\x0bj'.encode())
    assert read_table(tmp_path, "x.csv", None) == [{"q": "b\rc", "a": "d\re\r\nf"}, {"q": "g\u2028h", "a": "i\x0bj"}]
    (tmp_path / "x.tsv").write_bytes(b'q\ta\r\nb\rc\t"d\n')
    assert read_table(tmp_path, "x.tsv", None) == [{"q": "b\rc", "a": '"d'}]
    (tmp_path / "mac.csv").write_bytes(b"q,a\rb,c\r")
    with pytest.raises(UserError, match=r"mac.csv, line 1: a carriage return alone ends no line"):
        read_table(tmp_path, "mac.csv", None)


HALF = "half of a surrogate pair"


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "\\ude00\\ud83d"])
@pytest.mark.parametrize("row", ['{{"q": "x {0}"}}', '{{"q": "x", "{0}": 1}}', '{{"q": "x", "d": [{{"e": "{0}"}}]}}'])
@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_half_a_surrogate_pair_is_named_with_its_row(half: str, row: str, form: str, tmp_path: Path) -> None:
    rows = ['{"q": "\\ud83d\\ude00"}', row.format(half)]
    (tmp_path / f"x.{form}").write_text("\n".join(rows) if form == "jsonl" else f"[{','.join(rows)}]")
    with pytest.raises(UserError, match=HALF) as caught:
        read_table(tmp_path, f"x.{form}", None)
    assert f"x.{form}, row 2, " in str(caught.value)
    str(caught.value).encode()  # can be written itself


def test_half_a_surrogate_pair_in_settings(tmp_path: Path) -> None:
    given = (*made(tmp_path, [{"a": "b"}]), "data.answer='{{ a }}'")
    for override in ("data.prompt='{{ n }}\ud83d'", "data.stop=['\udcff']", "eval.paraphrases=['{{ source }}\udcff']"):
        found = problems(*given, "data.prompt='{{ n }}'", override)
        assert len(found) == 1
        assert found[0].startswith(override.partition("=")[0])
        assert HALF in found[0]
    (line,) = problems(*given, "data.prompt='{{ n ~ \"\\ud83d\" }}'")
    assert line.startswith("train.jsonl, row 1: data.prompt: has \\ud83d, half of")
    panel = tmp_path / "panel.yaml"
    panel.write_text('sum:\n  judge: words\n  items:\n  - prompt: "a"\n    answers: ["b \\ud83d"]\n')
    (line,) = problems(f"forgetting.panel={panel}")
    assert f"forgetting.panel={panel}: " in line


def test_numbers_and_brackets_that_json_cannot_hold(tmp_path: Path) -> None:
    for content in ('{"q": ' + "9" * 5000 + "}", '{"q": ' + "[" * 100_000 + "}"):
        (tmp_path / "x.jsonl").write_text(content)
        with pytest.raises(UserError, match=r"x.jsonl, line 1: is not JSON"):
            read_table(tmp_path, "x.jsonl", None)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    "more",
    [
        [],
        ["data.chat=true"],
        ["data.prompt=['{{ n }}','{{ q }}']"],
        ["data.verbalizer={b:b}", "data.head=true", "data.metrics=[classes]", "data.head_prompt='{{ q }}'"],
    ],
)
def test_an_empty_prompt_is_refused(split: str, more: list[str], tmp_path: Path) -> None:
    for each in SPLITS:
        rows: list[dict[str, object]] = [{"n": f"{each} {i}", "q": f"{each} {i}", "a": "b"} for i in range(40)]
        if each == split:
            rows[1:] = [row | {"q": [None, ""][i % 2]} for i, row in enumerate(rows[1:])]
        write(tmp_path / f"{each}.jsonl", rows)
    (line,) = problems("data=jsonl", f"data.path={tmp_path}", "data.prompt='{{ q }}'", "data.answer='{{ a }}'", *more)
    assert line.startswith(f"{split}.jsonl, row ")
    assert "data.prompt gives no text; fill in the input or remove the row" in line


def test_an_empty_prompt_of_a_task_in_a_mixture(tmp_path: Path) -> None:
    given = made(tmp_path, [{"a": "b"}])[1].replace("data.path", "data.tasks.own.path")
    own = (
        "+data@data.tasks.own=jsonl",
        given,
        "data.tasks.own.prompt='{{ n[:0] }}'",
        "data.tasks.own.answer='{{ a }}'",
    )
    (line,) = problems("data=mix", *own)
    assert line.startswith("data.tasks.own: train.jsonl, row 1: data.prompt gives no text")
    found = problems("data=restaurants", "data.prompt='{% if source == 1 %}x{% endif %}'")
    assert found == ("train, example 1: data.prompt gives no text; fill in the input or remove the row",)
    assert "'foo' is undefined" in problems("data=restaurants", "data.prompt='{{ foo }}'")[0]


def test_white_space_and_nul_are_text(tmp_path: Path) -> None:
    assert shown(tmp_path, [{"x": " "}, {"x": "a\0b"}], "{{ x }}") == [" ", "a\0b"]


def test_an_answer_that_would_be_cut_is_told() -> None:
    source = chosen("data=jsonl", "data.path=x", *JSONL[1:], "data.stop=['###']").data
    examples = [Example("x", ("one", "two\nlines")), Example("y", ("a\u2028b",)), Example("z", ("c ### d",))]
    several, stopped = cut_answers(source, examples)
    assert several.startswith("data.multiline=false: 1 of 4 references have several lines")
    assert "data.multiline=true" in several
    assert stopped.startswith("data.stop: 1 of 4 references hold one of ['###']")
    assert cut_answers(source.model_copy(update={"multiline": True, "stop": ()}), examples) == []
    assert cut_answers(source.model_copy(update={"classes": ("one", "two\nlines")}), examples) == []


def test_a_run_warns_of_answers_that_it_cuts(run_point: Callable[..., Record], tmp_path: Path) -> None:
    given = made(tmp_path, [{"a": "one\ntwo"}, {"a": "three"}])
    record = run_point(*given, "data.prompt='{{ n }}'", "data.answer='{{ a }}'", "method=zero_shot", small=TINY)
    assert record.status == "ok", record.cause
    assert [warning for warning in record.warnings if "data.multiline=false: 1 of 2 references" in warning]


@pytest.mark.parametrize("written", ["{{ q.items }}", "{{ row['q'].items }}", "{{ a.strip }}"])
def test_a_method_is_no_text(written: str, tmp_path: Path) -> None:
    """Its text would be where it lies in memory: another one in each process."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"q": {"items": 3}, "a": "yes"}\n' * 5)
    (line,) = problems(*TINY, "data=jsonl", f"data.path={path}", f'data.prompt="{written}"', "data.answer='{{ a }}'")
    assert "is a method; call it" in line
    assert line.startswith("data.prompt: cannot be filled with x.jsonl, row 1")
