"""What an evaluation asks of a network, one function per question; each adds its answer to `Findings`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from fewlabels.backbones import blocks
from fewlabels.embeddings import Embeddings, extract, pooled_blocks, sample
from fewlabels.errors import UserError
from fewlabels.findings import Findings, Subject
from fewlabels.geometry import class_distances, galleries, neighbours
from fewlabels.health import examine
from fewlabels.probes import (
    TITLES,
    few_label_accuracy,
    interval,
    label_efficiency,
    pixel_components,
    stratified_draw,
    with_interval,
)
from fewlabels.projections import principal_components, umap_plane
from fewlabels.unrolling import unrolled

TRAINED, UNTRAINED, PIXELS = "pretrained", "untrained", "pixels (PCA)"
HEALTH = "How like each other views and images are, over how many directions they spread, and how evenly"
ROWS_PER_GALLERY, MAX_GALLERIES, MAX_CLASSES = 10, 30, 30


def efficiency(subject: Subject, findings: Findings) -> None:
    """How few labels are enough?"""
    from fewlabels.figures.efficiency import efficiency_figure

    pool, asked = (subject.everything.select(rows) for rows in (subject.pool, subject.asked))
    before = [subject.embed(subject.untrained, part.index) for part in (pool, asked)]
    known = subject.datamodule.indices("train")[:: max(1, len(subject.datamodule.indices("train")) // 3000)]
    pixels = pixel_components(*(subject.datamodule.images(rows).numpy() for rows in (known, pool.index, asked.index)))
    raw = [Embeddings(x, part.labels, part.index) for x, part in zip(pixels, (pool, asked), strict=True)]
    sources = {TRAINED: (pool, asked), UNTRAINED: (before[0], before[1]), PIXELS: (raw[0], raw[1])}
    wanted = {name: subject.settings[name] for name in ("budgets", "probes", "draws", "seed")}
    table = label_efficiency(sources, **wanted)
    findings.tables["label_efficiency"] = table
    classes = len(np.unique(pool.labels[pool.labels >= 0]))
    figure = efficiency_figure(table, classes=classes, tested=len(asked), where=subject.where,
                               synthetic=subject.datamodule.synthetic)  # fmt: skip
    findings.figures["label_efficiency"] = (figure, "Accuracy against the number of labels")
    for (source, probe, labels), rows in table.groupby(["source", "probe", "labels"]):
        name = {TRAINED: "", UNTRAINED: "_untrained", PIXELS: "_pixels"}[str(source)]
        findings.metrics[f"efficiency/{probe}_{labels}{name}"] = float(rows["balanced_accuracy"].mean())
    findings.sentences[:0] = efficiency_in_words(table, subject.where)


def efficiency_in_words(table: Any, where: str) -> list[str]:
    """The sentences that matter: what few labels give, how many are enough, and what the pretraining is worth."""
    said = []
    total = int(table["labels"].max())
    few = min(table["labels"].unique(), key=lambda n: (abs(n - 90), n))
    for probe, rows in table.groupby("probe", sort=False):

        def scores(source: str, labels: int, rows: Any = rows) -> Any:
            part = rows[(rows["source"] == source) & (rows["labels"] == labels)].sort_values("draw")
            return 100 * part["balanced_accuracy"].to_numpy()

        mean, half = interval(scores(TRAINED, few))
        gain, error = interval(scores(TRAINED, few) - scores(UNTRAINED, few))
        full = float(scores(TRAINED, total).mean())
        enough = next(n for n in sorted(rows["labels"].unique()) if scores(TRAINED, n).mean() >= 0.95 * full)
        said.append(
            f"{TITLES[str(probe)].capitalize()}: {few} labels give {with_interval(mean, half)} % on {where}, "
            f"{with_interval(gain, error, '+')} points against the untrained network; {enough:,} labels reach 95% of "
            f"what {total:,} give ({full:.1f} %)."
        )
    return said


def class_geometry(subject: Subject, findings: Findings) -> None:
    """How do the classes lie to each other?"""
    from fewlabels.figures.matrices import distances_figure

    for kind, split in (("seen", "test"), ("unseen", "unseen")):
        part = subject.everything.select(np.flatnonzero(subject.everything.splits == split))
        if len(np.unique(part.labels[part.labels >= 0])) < 2:
            continue
        found = class_distances(part, max_samples=subject.settings["max_samples"], seed=subject.settings["seed"])
        text = f"images; silhouette {found.silhouette:.2f}; angle within over between classes {found.ratio:.2f}"
        if len(found.names) > MAX_CLASSES:
            text += f"; the {MAX_CLASSES} largest of {len(found.names)} classes"
        figure = distances_figure(*found.largest(MAX_CLASSES), n=found.n, text=text,
                                  synthetic=subject.datamodule.synthetic)  # fmt: skip
        findings.figures[f"distances_{kind}"] = (figure, f"Distances between {kind} classes")
        findings.metrics |= {f"{kind}/silhouette": found.silhouette, f"{kind}/angle_ratio": found.ratio}


def typical(subject: Subject, findings: Findings) -> None:
    """What is typical of a class, what is not, and what is taken for it?"""
    from fewlabels.figures.galleries import gallery_figure

    part = subject.tested
    images = subject.datamodule.images(part.index).numpy()
    found = sorted(galleries(part), key=lambda gallery: -len(gallery.nearest))[:MAX_GALLERIES]
    for start in range(0, len(found), ROWS_PER_GALLERY):
        figure = gallery_figure(found[start : start + ROWS_PER_GALLERY], images, part.labels, part.classes,
                                synthetic=subject.datamodule.synthetic)  # fmt: skip
        number = f"_{start // ROWS_PER_GALLERY + 1}" if len(found) > ROWS_PER_GALLERY else ""
        findings.figures[f"gallery{number}"] = (figure, f"Nearest and furthest images, {subject.where}")


def alike(subject: Subject, findings: Findings) -> None:
    """Which images does the network hold to be alike?"""
    from fewlabels.figures.galleries import neighbours_figure

    part = subject.tested
    queries = part.select(np.sort(stratified_draw(part.labels, 8, seed=subject.settings["seed"])))
    rows, angles = neighbours(queries, part)
    get = subject.datamodule.images
    found = get(part.index[rows].ravel()).numpy()
    figure = neighbours_figure(
        get(queries.index).numpy(), queries.labels, found.reshape(*rows.shape, *found.shape[1:]), part.labels[rows],
        angles, part.classes, n=len(part), synthetic=subject.datamodule.synthetic,
    )  # fmt: skip
    findings.figures["neighbours"] = (figure, f"Queries and their ten nearest, {subject.where}")


def projections(subject: Subject, findings: Findings) -> None:
    """What does the space look like?"""
    from fewlabels.figures.projections import components_figure, plane_figure

    everything, limit, seed = subject.everything, subject.settings["max_samples"], subject.settings["seed"]
    parts = {split: np.flatnonzero(everything.splits == split) for split in ("train", "test", "unseen")}
    chosen = np.concatenate([sample(rows, limit // 3, seed) for rows in parts.values()])
    shown = everything.select(chosen)
    panels = {split: np.asarray(shown.splits == split) for split, rows in parts.items() if len(rows)}
    text = f"images drawn of {len(everything):,}; UMAP, 15 neighbours, cosine, seed {seed}"
    synthetic = subject.datamodule.synthetic
    figure = plane_figure(panels, umap_plane(shown.vectors, seed=seed), shown.labels, shown.classes, text=text,
                          synthetic=synthetic)  # fmt: skip
    findings.figures["umap"] = (figure, "The space of embeddings, flattened by UMAP")
    components, shares = principal_components(shown.vectors)
    figure = components_figure(components, shares, shown.labels, shown.classes, synthetic=synthetic)
    findings.figures["components"] = (figure, "Leading principal components")


def health(subject: Subject, findings: Findings) -> None:
    """Has it learned, and does it still?"""
    from fewlabels.figures.health import health_figure

    rows = subject.datamodule.indices("val")[:512]
    x = subject.datamodule.images(rows)
    generator = torch.Generator().manual_seed(subject.settings["seed"])
    network = subject.method.backbone
    with torch.no_grad():
        one, other = (network(network.normalise(subject.method.views(x, generator))).numpy() for _ in range(2))
    names = ("loss", "loss_chance", "knn_accuracy", "knn_accuracy_untrained")
    known = {name: subject.results[f"val/{name}"] for name in names if f"val/{name}" in subject.results}
    found = examine(one, other, known)
    findings.metrics |= {f"health/{name}": value for name, value in found.numbers.items() if name not in known}
    findings.figures["health"] = (health_figure(one, other, synthetic=subject.datamodule.synthetic), HEALTH)
    findings.sentences.insert(0, f"The network is {found.verdict}: {found.reason}. {found.advice}")


def layers(subject: Subject, findings: Findings) -> None:
    """Where in the network can the classes be read best?"""
    import pandas as pd

    from fewlabels.figures.layers import layers_figure

    pool, asked = (subject.everything.select(rows) for rows in (subject.pool, subject.asked))
    classes = len(np.unique(pool.labels[pool.labels >= 0]))
    labels = min(300, int((pool.labels >= 0).sum()))
    rows = []
    for source, network in ((TRAINED, subject.method.backbone), (UNTRAINED, subject.untrained)):
        stages = blocks(network)
        embed = pooled_blocks(network, stages)
        look = lambda x, embed=embed, network=network: embed(network.normalise(x))  # noqa: E731
        parts = [extract(look, subject.datamodule.loader(part.index), network) for part in (pool, asked)]
        edges = np.cumsum(embed.sizes)  # type: ignore[attr-defined]
        for name, start, stop in zip(stages, [0, *edges[:-1]], edges, strict=True):
            cut = [Embeddings(part.vectors[:, start:stop], part.labels, part.index) for part in parts]
            scores = few_label_accuracy(*cut, probe="linear", labels=labels, draws=subject.settings["draws"],
                                        seed=subject.settings["seed"])  # fmt: skip
            rows += [(source, name, draw, score) for draw, score in enumerate(scores)]
            findings.metrics[f"layers/{name.replace(' ', '_')}{'_untrained' * (source == UNTRAINED)}"] = scores.mean()
    table = pd.DataFrame(rows, columns=["source", "layer", "draw", "balanced_accuracy"])
    figure = layers_figure(table, labels=labels, classes=classes, tested=len(asked),
                           synthetic=subject.datamodule.synthetic)  # fmt: skip
    findings.figures["layers"] = (figure, "Where in the network the classes can be read")


def rotations_told(subject: Subject, findings: Findings) -> None:
    """RotNet alone: which turns does it take for which?"""
    if not hasattr(subject.method, "count"):
        return
    from fewlabels.figures.matrices import confusion_figure
    from fewlabels.views import rotations

    count, told = subject.method.count, []
    method = subject.method
    with torch.no_grad():
        for x, _, _ in subject.datamodule.loader("test"):
            logits = method.head(method.backbone(method.prepare(rotations(x, count))))
            told.append(logits.argmax(1).view(count, len(x)))
    table = np.stack([np.bincount(row, minlength=count) for row in torch.cat(told, 1).numpy()])
    names = [f"{step * 360 // count}°" for step in range(count)]
    figure = confusion_figure(names, table, title="rotation told", synthetic=subject.datamodule.synthetic)
    findings.figures["rotations"] = (figure, "Which turns are taken for which")


OF_IMAGES: tuple[Callable[[Subject, Findings], None], ...] = (
    efficiency, class_geometry, typical, projections, health, layers, alike, rotations_told,
)  # fmt: skip
OF_POINTS: tuple[Callable[[Subject, Findings], None], ...] = (unrolled,)


def chosen(names: Sequence[str] | None) -> list[Callable[[Subject, Findings], None]]:
    """The questions of these names, or all.

    Raises:
        UserError: There is no question of that name.
    """
    known = {question.__name__: question for question in (*OF_IMAGES, *OF_POINTS)}
    for name in names or ():
        if name not in known:
            raise UserError(f"questions names {name!r}, which is none of {', '.join(known)}.")
    return [known[name] for name in names or known]


def ask(subject: Subject, questions: Sequence[Callable[[Subject, Findings], None]]) -> Findings:
    """Ask those that fit the data in turn; one that cannot be answered is noted down, and the others are asked."""
    findings = Findings()
    fitting = OF_POINTS if subject.datamodule.size is None else OF_IMAGES
    for question in (question for question in questions if question in fitting):
        try:
            question(subject, findings)
        except UserError as error:
            findings.left_out.append(f"{(question.__doc__ or '').strip()} {error}")
    return findings
