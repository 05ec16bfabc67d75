"""Look at what a network has learned: load it beside itself untrained, ask every question, keep the answers."""

import copy
import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose
from lightning.pytorch import seed_everything
from omegaconf import OmegaConf

from fewlabels.data import splits
from fewlabels.errors import UserError
from fewlabels.experiment import make
from fewlabels.files import write_whole
from fewlabels.findings import Findings, Subject, embed_rows
from fewlabels.loading import read_checkpoint
from fewlabels.loggers import amend_wandb_run, quieten
from fewlabels.questions import ask, chosen
from fewlabels.report import Section, Table, efficiency_table, facts, write_report
from fewlabels.rundir import command_line, save_results

log = logging.getLogger(__name__)
HEADINGS = {
    "Few labels": ("label_efficiency", "layers"),
    "The curve": ("unrolled",),
    "Health": ("health", "rotations"),
    "The space": ("umap", "components", "distances"),
    "The images": ("gallery", "neighbours"),
}
"""Headings of the report, and how the names of the figures under them begin."""


def evaluate(settings: dict[str, Any], directory: Path) -> None:
    """Evaluate one network and write embeddings, figures, tables, results and the report.

    Args:
        settings: As conf/evaluate.yaml describes them, in plain containers.
        directory: Of the run, or another if another set of data is looked at.

    Raises:
        UserError: No such run or checkpoint, images that its network cannot take, or a network that has diverged.
    """
    quieten()
    questions = chosen(settings["questions"])
    findings = ask(subject := load(settings), questions)
    save(subject, findings, directory)
    pictures = {name: directory / "figures" / f"{name}.png" for name in findings.figures}
    tables = findings.tables | {"embeddings": subject.table(settings["seed"])}
    amend_wandb_run(directory, metrics=findings.metrics, pictures=pictures, tables=tables)
    for sentence in [*findings.sentences, *(f"Left out: {why}" for why in findings.left_out)]:
        log.info(sentence)


def load(settings: dict[str, Any]) -> Subject:
    """The network, the same network untrained, its data, and the embeddings of all of them."""
    checkpoint, path = read_checkpoint(settings["run"] or settings["checkpoint"])
    config = checkpoint["fewlabels"]["config"]
    described = checkpoint["fewlabels"]["backbone"]
    datamodule = make(data_settings(config["data"], settings["data"], described))
    datamodule.setup()
    image = {name: getattr(datamodule, name) for name in ("channels", "size", "mean", "std")}
    for name in ("channels", "size"):
        if image[name] != (before := described.get(name)):
            raise UserError(
                f"data={datamodule.name} has {name} {image[name]}, but the network was trained with {before}. Give "
                f"data.{name}={before}, or images like those that it was trained on."
            )
    seed_everything(config["seed"], verbose=False)  # the network's first weights
    backbone = make(config["backbone"], **image)
    untrained = copy.deepcopy(backbone).eval()
    method = make(config["method"], backbone=backbone, seed=config["seed"]).eval()
    if method.supervised:
        method.learn(names := checkpoint["fewlabels"]["classes"], [1] * len(names))
    method.load_state_dict(checkpoint["state_dict"])
    rows = np.sort(np.concatenate([datamodule.indices(s) for s in ("train", "val", "test", "unseen")]))
    everything = embed_rows(backbone, datamodule, rows)
    if broken := int((~np.isfinite(everything.vectors)).any(1).sum()):
        raise UserError(
            f"{path}: {broken} of {len(everything)} embeddings are not finite: the training has diverged. Pretrain "
            "anew with a lower method.optimizer.lr."
        )
    pool, asked, where = parts(datamodule, everything.index)
    return Subject(datamodule, method, untrained, everything, pool, asked, where, settings, results(path),
                   description(config, checkpoint, datamodule, path))  # fmt: skip


def description(config: dict[str, Any], checkpoint: dict[str, Any], datamodule: Any, path: Path) -> dict[str, Any]:
    """What was trained, on what and for how long, by name."""
    done = results(path)
    return {
        "method": config["method"]["called"],
        "backbone": checkpoint["fewlabels"]["backbone"].get("name", "mlp"),
        "data": f"{datamodule.name}, {len(datamodule.paths):,} {what_it_holds(datamodule)}",
        "pretrained on": f"{len(datamodule.indices('train')):,} of them, {checkpoint['epoch'] + 1} epochs, seed "
        f"{config['seed']}",
        "time": f"{done['seconds'] / 60:.1f} minutes" if "seconds" in done else "unknown",
        "checkpoint": path,
        "trained by": command(path.parent.parent / "config.yaml"),
    }


def what_it_holds(datamodule: Any) -> str:
    """What a data set consists of, in words."""
    if datamodule.size is None:
        return "points, drawn by the program"
    origin = "SYNTHETIC" if datamodule.synthetic else datamodule.root or "fetched"
    return f"images of {datamodule.size} px, {origin}"


def command(file: Path) -> str:
    """The command line that a run's config.yaml is headed by."""
    first = file.read_text().partition("\n")[0] if file.is_file() else ""
    return first.removeprefix("# ") if first.startswith("# ") else "unknown"


def data_settings(trained_on: dict[str, Any], changes: list[str], described: dict[str, Any]) -> dict[str, Any]:
    """The data that a run was trained on, with changes `data.key=value`; or, with `data=name`, another set.

    Images of another set are brought to the size, channels and normalisation that the network is described with, unless
    the changes say otherwise.
    """
    if any(change.startswith("data=") for change in changes):
        composed: Any = OmegaConf.to_container(compose("pretrain", overrides=changes), resolve=True)
        given = {change.partition("=")[0] for change in changes}
        kept = {key: described[key] for key in ("size", "channels", "mean", "std") if f"data.{key}" not in given}
        return dict(composed["data"]) | kept
    node = OmegaConf.create({"data": trained_on})
    OmegaConf.set_struct(node, True)
    try:
        merged = OmegaConf.merge(node, OmegaConf.from_dotlist(changes))
    except Exception as error:
        raise UserError(f"{' '.join(changes)}: {error}") from None
    data: Any = OmegaConf.to_container(merged, resolve=True)
    return dict(data["data"])


def parts(datamodule: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Where labels are drawn from, what is asked about (both as positions in `rows`), and how to call the latter.

    Of points the training and the test part. Of images classes unseen in pretraining, halved by the hash of the path,
    if there are two or more; else the training images whose labels may be used, and the test part.
    """
    if datamodule.size is None:
        return *(np.searchsorted(rows, datamodule.indices(split)) for split in ("train", "test")), "held-out points"
    unseen = len(datamodule.unseen_classes)
    if unseen > 1:
        pool = datamodule.indices("unseen")
        half = splits.assign([datamodule.paths[row] for row in pool], 0.0, 0.5) == "test"
        pool, asked, where = pool[~half], pool[half], f"{unseen} classes unseen in pretraining"
    else:
        pool, asked = datamodule.labelled(), datamodule.indices("test")
        where = f"{len(datamodule.seen_classes)} classes seen in pretraining"
    return np.searchsorted(rows, pool), np.searchsorted(rows, asked), where


def results(checkpoint: Path) -> dict[str, float]:
    """What the run of a checkpoint wrote down; nothing if it wrote nothing."""
    file = checkpoint.parent.parent / "results.json"
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def save(subject: Subject, findings: Findings, directory: Path) -> None:
    """Write everything that was found."""
    (directory / "figures").mkdir(parents=True, exist_ok=True)
    subject.everything.save(directory / "embeddings.parquet")
    for name, (figure, _) in findings.figures.items():
        figure.savefig(directory / "figures" / f"{name}.png", dpi=150)
    for name, table in findings.tables.items():
        write_whole(directory / f"{name}.csv", table.to_csv(index=False))
    save_results(subject.results | findings.metrics, directory)
    write_report(
        directory / "report.html",
        title=subject.title,
        subtitle=f"Evaluated {datetime.now().astimezone():%Y-%m-%d %H:%M}; {directory}",
        sentences=findings.sentences,
        sections=sections(subject, findings),
        synthetic=subject.datamodule.synthetic,
    )


def sections(subject: Subject, findings: Findings) -> list[Section]:
    """The report from top to bottom."""
    shown = {
        heading: [figure for name, figure in findings.figures.items() if name.startswith(names)]
        for heading, names in HEADINGS.items()
    }
    table = findings.tables.get("label_efficiency")
    tables = [] if table is None else [efficiency_table(table, probe) for probe in table["probe"].unique()]
    asked = Section("What was run", tables=[facts(subject.described)], code=[command_line()])
    return [
        *(Section(name, figures, tables if name == "Few labels" else ()) for name, figures in shown.items()),
        Section("Left out", tables=[Table("", ["", ""], [["", why] for why in findings.left_out], text=True)])
        if findings.left_out
        else Section("Left out"),
        asked,
    ]
