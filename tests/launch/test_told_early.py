"""What is wrong with a run's texts, tokenizer or chat template is told before weights are loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import TINY, Harness
from tests.support.made_models import byte_tokenizer, chat_tokenizer, saved

CHATS = [[{"role": "user", "content": f"pub {i}"}, {"role": "assistant", "content": f"river {i}"}] for i in range(9)]
TEMPLATES = {
    "raises": ("{{ raise_exception('Roles must alternate') }}", "Roles must alternate"),
    "is no Jinja": ("{% for m in messages %}{{ m.content ", "unexpected end of template"),
    "is none": (None, "has no chat template"),
}


@pytest.mark.parametrize("wrong", TEMPLATES)
def test_a_chat_template_that_cannot_be_used(wrong: str, harness: Harness, tmp_path: Path) -> None:
    template, says = TEMPLATES[wrong]
    model = saved(tmp_path / "model", byte_tokenizer("<s>") if template is None else chat_tokenizer(template))
    (model / "model.safetensors").write_bytes(b"no weights")  # which nobody comes to see
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps({"messages": turns}) + "\n" for turns in CHATS))
    words = [word for word in TINY if not word.startswith("model=")]
    ended = harness("model=path", f"model.path={model}", "data=chat", f"data.path={path}", small=(*words,))
    assert ended.returncode == 2, ended.stderr
    (line,) = [each for each in ended.stderr.splitlines() if each.startswith("error: ")]
    assert says in line
    assert "SafetensorError" not in line
