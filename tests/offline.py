"""Read what an offline run of Weights & Biases wrote: its transaction log, in W&B's own message types."""

import json
import struct
from pathlib import Path
from typing import Any

BLOCK = 32768


def records(file: Path) -> list[Any]:
    """All records of a .wandb file: a header of 7 bytes, then blocks of chunks (checksum, length, type, data)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, chunks, found = file.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        left = BLOCK - position % BLOCK
        if left < 7:  # too little for a chunk's header: padding
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if kind == 0:
            break
        chunks += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a record of one chunk, or the last chunk of one
            record = Record()
            record.ParseFromString(chunks)
            found.append(record)
            chunks = b""
    return found


def summary(directory: Path) -> dict[str, Any]:
    """All offline runs of a run directory together: logged metrics and figures, config, runs and exit codes."""
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
