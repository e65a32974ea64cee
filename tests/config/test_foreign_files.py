"""What comes from someone else (a run folder, a model's folder) never runs code that nobody asked for."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pyarrow as pa
import pytest
from datasets import Dataset
from jinja2 import TemplateError
from pyarrow import parquet

from harness import limits
from harness.config.validate import own_class, saved_settings
from harness.data import filled, tables, template
from harness.errors import UserError, run_command, shown
from harness.models.local import LocalModel
from harness.places import CONF, ROOT
from harness.prepare.chat import rendered
from reports.formats.export import exported, tidy_frame
from reports.formats.output import deliver, write
from reports.gate.rows import Comparison, Row
from reports.gate.show import junit
from reports.values.table import Table
from tests.support.made_models import byte_tokenizer, chat_tokenizer, saved
from tests.support.tiny import settings


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that the foreign code would write."""
    return tmp_path / "was here"


# Templates

REACHES = [
    "{{ cycler.__init__.__globals__.os.popen('touch MARK').read() }}",
    "{{ self.__init__.__globals__['__builtins__']['open']('MARK', 'w') }}",
    "{{ source.__class__.__mro__[-1].__subclasses__() }}",
    "{{ ''['__class__'] }}{{ source }}",
    "{{ (source|attr('__class__')).__mro__ }}",
    "{{ '{0.__class__.__mro__}'.format(source) }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{{ lipsum.__globals__['os'].system('touch MARK') }}",
    "{{ [].append.__self__ }}{% set _ = [].__class__ %}",
]


@pytest.mark.parametrize("text", REACHES)
@pytest.mark.parametrize("where", ["data.prompt", "eval.paraphrases"])
def test_templates_reach_no_code(text: str, where: str, mark: Path) -> None:
    text = text.replace("MARK", str(mark))
    text += "" if "source" in text else "{{ source }}"
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    value = f"'{quoted}'" if where == "data.prompt" else f"['{quoted}']"

    def used() -> None:
        settings(f"{where}={value}")
        template(text).render(source="name[Aromi]")

    with pytest.raises((UserError, TemplateError), match=r"unsafe|undefined|no attribute"):
        used()
    assert not mark.exists()


def test_templates_change_nothing_that_they_are_given() -> None:
    rows = ["a"]
    with pytest.raises(Exception, match=r"unsafe|not safely"):
        template("{{ rows.append('b') }}").render(rows=rows)
    assert rows == ["a"]


NO_TEXT = {
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}": "takes longer than",
    "{{ source * 10000000000 }}": "takes more than",
    "{{ '%9999999999d' | format(1) }}": "takes more than",
    "{{ source.center(9999999999) }}": "takes more than",
    "{{ '{:9999999999}'.format(1) }}": "takes more than",
    "{% set t = namespace(a=source) %}{% for i in range(99) %}{% set t.a = t.a ~ t.a %}{% endfor %}": "takes more than",
}
"""Templates that would take all the time or memory that there is."""


@pytest.mark.parametrize("text", NO_TEXT)
def test_templates_take_little(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    before = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM)
    timer = signal.getitimer(signal.ITIMER_REAL)[0]
    with pytest.raises(TemplateError, match=NO_TEXT[text]):
        filled(text, source="name[Aromi]")
    assert (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM)) == before
    assert timer - 10 < signal.getitimer(signal.ITIMER_REAL)[0] <= timer, "another's timer goes on"
    model = chat_tokenizer(text.replace("source", "messages[0].content"))
    with pytest.raises(UserError, match=f"chat template refuses these turns .{NO_TEXT[text]}"):
        rendered(model, [{"role": "user", "content": "a"}], call=True)
    assert filled("{{ source }}", source="a") == "a"


# A model's own code

CODE = """
open(MARK, "w").close()
from transformers import LlamaConfig, LlamaForCausalLM
class Config(LlamaConfig):
    model_type = "foreign"
class Model(LlamaForCausalLM):
    config_class = Config
"""


def foreign(folder: Path, mark: Path, model_type: str) -> LocalModel:
    """A tiny Llama whose folder names code of its own."""
    saved(folder, byte_tokenizer("<s>"))
    (folder / "foreign.py").write_text(CODE.replace("MARK", repr(str(mark))))
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "foreign.Config", "AutoModelForCausalLM": "foreign.Model"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": model_type, "auto_map": names}))
    return LocalModel(name="foreign", path=str(folder))


def test_code_of_a_model_is_not_run(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(prompt: str = "") -> str:
        raise AssertionError(f"asks at the terminal: {prompt}")

    monkeypatch.setattr("builtins.input", asked)
    model = foreign(tmp_path / "model", mark, "foreign")
    for read in (model.parts, lambda: model.load(None, "cpu", None)):
        with pytest.raises(UserError, match=r"comes with Python code of its own.*model\.trust_remote_code=true"):
            read()
    assert not mark.exists()


def test_a_model_that_transformers_knows_is_read_without_its_code(tmp_path: Path, mark: Path) -> None:
    model = foreign(tmp_path / "model", mark, "llama")
    loaded, _ = model.load(None, "cpu", None)
    assert type(loaded).__name__ == "LlamaForCausalLM"
    model.outline(model.parts()[0], None, "eager")
    assert not mark.exists()


def test_trust_is_asked_for_and_recorded(tmp_path: Path, mark: Path) -> None:
    plain = foreign(tmp_path / "model", mark, "foreign")
    trusted = plain.model_copy(update={"trust_remote_code": True})
    loaded, _ = trusted.load(None, "cpu", None)
    assert type(loaded).__name__ == "Model"
    assert mark.exists()
    assert trusted.identity() == plain.identity() | {"trust_remote_code": True}
    assert "Python code of its own" in trusted.describe()


# Classes of a saved configuration


@pytest.mark.parametrize(
    "name",
    [
        "foreign.Model",
        "os.system",
        "subprocess.Popen",
        "harness.config.compose.CONF",
        "harness.config.validate.Path",
        "harness.errors.UserError",
        "harness.launch.worker.Worker",
        "harness..config.RunSettings",
        "harness_foreign.Model",
        "tests.tiny.Adapted",
        "harness",
        "",
        None,
        3,
        ["harness.models.hub.HubModel"],
    ],
)
def test_only_own_settings_are_classes(
    name: object, tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign.py").write_text(CODE.replace("MARK", repr(str(mark))))
    (tmp_path / "harness_foreign.py").write_text(CODE.replace("MARK", repr(str(mark))))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="name one, as the files in conf/ do"):
        own_class(name)
    assert not mark.exists()


def test_a_foreign_class_in_a_run_folder(tmp_path: Path) -> None:
    config = {"model": {"_target_": "posix.system", "command": "false"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as raised:
        saved_settings(tmp_path / "config.json")
    found = [line for line in raised.value.problems if line.startswith("model._target_: posix.system: is no class")]
    assert len(found) == 1


def test_every_class_of_conf_is_own() -> None:
    lines = [line for path in CONF.rglob("*.yaml") for line in path.read_text().splitlines()]
    names = {line.split()[1] for line in lines if line.strip().startswith("_target_:")}
    assert len(names) > 20
    for name in names:
        own_class(name)


# Where answers go


def test_a_device_stays_a_device() -> None:
    for name in ("/dev/null", "/dev/full"):
        before = Path(name).stat()
        with contextlib.suppress(UserError):
            write(Path(name), "text")
        assert stat.S_ISCHR(Path(name).stat().st_mode)
        assert Path(name).stat().st_ino == before.st_ino
    with pytest.raises(UserError, match="--output /dev/full: cannot be written"):
        write(Path("/dev/full"), "text")


@pytest.mark.parametrize("content", ["text", b"text"])
def test_links_and_pipes_are_written_through(content: str | bytes, tmp_path: Path) -> None:
    for target in ("there", "not there"):
        (tmp_path / "there").write_text("before")
        link = tmp_path / f"link to {target}"
        link.symlink_to(tmp_path / target)
        write(link, content)
        assert link.is_symlink()
        assert (tmp_path / target).read_text() == "text"
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        reading = pool.submit((tmp_path / "pipe").read_text)
        write(tmp_path / "pipe", content)
        assert reading.result(timeout=20) == "text"
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_keeps_its_mode_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("before")
    path.chmod(0o600)
    write(path, "text")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with contextlib.suppress(UserError):
        write(loop, "text")
    for wrong in (tmp_path, path / "below a file"):
        with pytest.raises(UserError, match="cannot be written"):
            write(wrong, "text")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["loop", "secret"]


# What a record holds

HOSTILE = "lora \x1b]0;title\x07\x1b[2J\u202egpj.exe\x9b31m"


def test_a_records_text_does_not_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    deliver(f"| {HOSTILE} |\t1\n", None)
    said = capsys.readouterr().out
    assert said == "| lora \\u001b]0;title\\u0007\\u001b[2J\\u202egpj.exe\\u009b31m |\t1\n"
    assert json.loads(f'"{shown(HOSTILE)}"') == HOSTILE, "JSON reads the same"
    assert shown("Škoda, 名前, שלום, emoji 🧪\u200d🔬") == "Škoda, 名前, שלום, emoji 🧪\u200d🔬"

    def fails() -> int:
        raise UserError(HOSTILE)

    assert run_command(fails) == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"])
def test_a_cell_is_no_formula(text: str) -> None:
    table = Table("t", (), (), (), (), pd.DataFrame({"label": [text, "a\rb\r\nc"], "change": [-0.5, 2.0]}))
    rows = list(csv.reader(io.StringIO(str(exported(tidy_frame([table]), "csv")))))
    assert rows == [["label", "change"], [f"'{text}", "-0.5"], ["a b c", "2.0"]]
    assert json.loads(str(exported(tidy_frame([table]), "json")))[0] == {"label": text, "change": -0.5}


def test_junit_is_xml_whatever_a_record_holds() -> None:
    row = Row("quality", HOSTILE, "status", "regression", note="it ran before; now error: \x00 \ud800 \ufffe <&>")
    text = junit(Comparison((row,), (), 0.01, (), ((HOSTILE, "it was not measured"),)), HOSTILE)
    case = ElementTree.fromstring(text.encode()).findall("testcase")
    assert len(case) == 2
    assert "<&>" in str(case[1][0].get("message"))


# Files that grow

GROWS = """
import resource, sys
from pathlib import Path
import pyarrow, datasets
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
from harness.data.tables import read_table
from harness.errors import UserError
try:
    read_table(Path(sys.argv[1]), sys.argv[2], None)
except UserError as error:
    print(error)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("kind", ["a repeated value", "a long one", "nulls", "a packed one"])
def test_a_small_parquet_file_does_not_fill_the_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    columns = {
        "a repeated value": lambda: pa.array(["x" * 1000]).dictionary_encode().take(pa.array([0] * 1_000_000)),
        "a long one": lambda: pa.array(["x" * 10_000_000]).dictionary_encode().take(pa.array([0] * 400)),
        "nulls": lambda: pa.nulls(20_000_000, pa.int64()),
        "a packed one": lambda: pa.array(["x" * 200_000_000]),
    }
    parquet.write_table(pa.table({"text": columns[kind]()}), path, compression="zstd", row_group_size=10**9)
    assert path.stat().st_size < 200_000
    command = [sys.executable, "-c", GROWS, str(tmp_path), path.name]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    line, peak = ended.stdout.splitlines()
    assert line.startswith(f"{path}: its ")
    assert "MiB of rows, which no honest data set does" in line
    assert int(peak) < 1_000_000, "KiB"


def test_parquet_rows_are_those_of_datasets(tmp_path: Path) -> None:
    rows = {
        "text": ["a", None, "ü\n"] * 700,
        "number": [1, 2, None] * 700,
        "list": [["a"], [], None] * 700,
        "more": [{"a": 1.5}, None, {"a": None}] * 700,
        "same": ["yes"] * 2100,
    }
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet", row_group_size=500)
    theirs = Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache")).to_list()
    assert tables._parquet(tmp_path / "rows.parquet") == theirs
