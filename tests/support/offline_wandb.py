"""What W&B keeps of an offline run, read by its own message types."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as protocol


def records(path: Path) -> Iterator[Any]:
    """The records of a W&B transaction log: LevelDB's log format (blocks of 32 KiB, each part of a record with a header
    of checksum, length and kind: whole, first, middle, last) after a header of seven bytes."""
    data = path.read_bytes()
    assert data.startswith(b":W&B")
    place, message = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        message += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            record = protocol.Record()
            record.ParseFromString(message)
            yield record
            message = b""


def told(results: Path, run: str) -> tuple[Any, dict[str, Any], list[dict[str, Any]]]:
    """W&B's run, its summary, and its history."""
    (path,) = results.glob(f"wandb/offline-run-*/run-{run}.wandb")
    found, summary, history = None, {}, []
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found = record.run
        elif kind == "summary":
            summary |= {
                ".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.summary.update
            }
        elif kind == "history":
            items = record.history.item
            history.append({".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items})
    return found, summary, history
