"""Problems in HumanEval's form, of our own."""

from __future__ import annotations

import json

PROBLEMS: list[dict[str, str]] = [
    {
        "task_id": "own/0",
        "prompt": 'def double(x: int) -> int:\n    """Twice x.\n    >>> double(2)\n    4\n    """\n',
        "canonical_solution": "    return 2 * x\n",
        "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-1) == -2\n",
        "entry_point": "double",
    },
    {
        "task_id": "own/1",
        "prompt": "from typing import List\n\n\ndef square(x):\n    return x * x\n\n\n"
        "def squares(xs: List[int]) -> List[int]:\n    '''The squares.'''\n",
        "canonical_solution": "\n    \n    found = []\n    for x in xs:\n        found.append(square(x))\n"
        "    return found\n",
        "test": "METADATA = {'author': 'x|||y'}\n\n\ndef check(candidate):\n    assert candidate([1, 3]) == [1, 9]\n",
        "entry_point": "squares",
    },
    {
        "task_id": "own/2",
        "prompt": "def first(text):\n",
        "canonical_solution": "    import re\n    return re.split(r'[<>&]', text)[0]\n",
        "test": "def check(candidate):\n    assert candidate('a<b>') == 'a'\n",
        "entry_point": "first",
    },
]


def reference(problem: dict[str, str]) -> str:
    """As conf/data/humaneval.yaml writes it."""
    return json.dumps({key: problem[key] for key in ("prompt", "test", "entry_point")})
