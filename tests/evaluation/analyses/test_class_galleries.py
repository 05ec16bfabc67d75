from dataclasses import replace

import numpy as np

from fewlabels.evaluation.analyses.class_galleries import ClassGalleries


def names(calls):
    return [[gallery.name for gallery in args[0]] for args, _ in calls]


def test_every_class_of_the_test_images_has_a_gallery(context, drawn):
    calls = drawn("class_galleries", "gallery_figure")["gallery_figure"]
    result = ClassGalleries().run(context)
    assert names(calls) == [["rod", "star"]]
    assert list(result.figures) == ["gallery"]
    ((_, images, labels, classes), _) = calls[0]
    assert np.array_equal(images, context.data.images(context.test_embeddings.index).numpy())
    assert [classes[label] for label in labels] == [path.split("/")[0] for path in context.test_embeddings.paths]


def test_galleries_are_divided_into_figures(context, made_up, drawn):
    calls = drawn("class_galleries", "gallery_figure")["gallery_figure"]
    result = ClassGalleries(rows=2).run(made_up(test=np.arange(120)))
    assert names(calls) == [["bud", "cell"], ["disc", "rod"], ["star"]]
    assert list(result.figures) == ["gallery_1", "gallery_2", "gallery_3"]


def test_only_the_largest_classes_are_shown_in_the_order_of_their_labels(context, made_up, drawn):
    calls = drawn("class_galleries", "gallery_figure")["gallery_figure"]
    labels = context.embeddings.labels
    sizes = {0: 6, 1: 12, 2: 8, 3: 7, 4: 9}  # all of at least as many as a row of the gallery shows
    test = np.concatenate([np.flatnonzero(labels == label)[:size] for label, size in sizes.items()])
    ClassGalleries(max_classes=3).run(made_up(test=test))
    assert names(calls) == [["cell", "disc", "star"]]


def test_unlabelled_images_have_no_gallery(context, made_up, drawn):
    calls = drawn("class_galleries", "gallery_figure")["gallery_figure"]
    labels = np.where(context.embeddings.labels == 3, -1, context.embeddings.labels)
    ClassGalleries().run(replace(context, embeddings=replace(context.embeddings, labels=labels)))
    assert names(calls) == [["star"]]


def test_the_figure_is_drawn(context):
    figure, caption = ClassGalleries().run(context).figures["gallery"]
    assert figure.get_size_inches()[0] > 5
    assert caption == "Nearest and furthest images, 2 classes unseen in pretraining"
