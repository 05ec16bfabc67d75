"""Reading back what Weights & Biases wrote offline: its transaction log, with its own message types."""

import json
import struct
from pathlib import Path
from typing import Any

BLOCK = 32768


def records(file: Path) -> list[Any]:
    """Every record of a .wandb file: 7 bytes of header, then blocks of records, each with checksum, length and type."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, parts, found = file.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        left = BLOCK - position % BLOCK
        if left < 7:  # what cannot hold a header is padding
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if kind == 0:
            break
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


def summary(directory: Path) -> dict[str, Any]:
    """What the offline runs of a run directory hold together: metrics and figures, config, run and exit codes."""
    logged: dict[str, Any] = {}
    config: dict[str, Any] = {}
    runs, codes = [], []
    for file in sorted((directory / "wandb").glob("offline-run-*/run-*.wandb")):
        for record in records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                runs.append(record.run)
            if kind in ("run", "config"):
                update = (record.run.config if kind == "run" else record.config).update
                config |= {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in update}
            elif kind == "exit":
                codes.append(record.exit.exit_code)
            items = {"history": record.history.item, "summary": record.summary.update}.get(kind, ())
            logged |= {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
    return {"logged": logged, "config": config, "runs": runs, "codes": codes}
