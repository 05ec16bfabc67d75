"""Every method with every dataset, from configuration to a trained step; and every mistake to its message."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from fewlabels.cli.app import compose_config
from fewlabels.cli.resolvers import CONF, register_resolvers
from fewlabels.core.backbones import vision
from fewlabels.core.errors import UserError
from fewlabels.core.optim import OptimizerConfig
from fewlabels.data.cifar10 import Cifar10
from fewlabels.data.stl10 import Stl10
from fewlabels.training.build import (
    build_experiment,
    build_loggers,
    build_trainer,
    evaluation_data_node,
    instantiate_node,
    resolve_precision,
)
from fewlabels.training.fit import train
from fewlabels.training.loggers import MetricsCSV
from test_conf import DATA, METHODS

SMALL = (
    "trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1", "trainer.enable_progress_bar=false", "logger=csv", "data.batch_size=8",
)  # fmt: skip
IMAGES = ("backbone=mobilenet_v3_small", "data.size=32", "data.min_class_size=1")


def load_official(self):
    """Replace a download: 60 images in the layout of CIFAR-10 and STL-10."""
    names = ["ship", "bird", "cat"]
    splits = ["train"] * 40 + ["test"] * 20
    paths = [f"{names[i % 3]}/{split}-{i:05d}" for i, split in enumerate(splits)]
    return paths, np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)


QUICK = {("simclr", "plankton"), ("siamese", "spirals")}
PAIRS = [
    pytest.param(method, data, marks=() if (method, data) in QUICK else (pytest.mark.slow,))
    for method, data in itertools.product(METHODS, DATA)
    if data != "spirals" or method == "siamese"
]
"""All pairs of method and dataset; tests/test_conf.py checks the error of other methods on spirals."""


@pytest.mark.parametrize(("method", "data"), PAIRS)
def test_every_method_trains_a_step_on_every_dataset(run, folder, monkeypatch, method, data):
    monkeypatch.setattr(Cifar10, "_load", load_official)
    monkeypatch.setattr(Stl10, "_load", load_official)
    settings = [] if data == "spirals" else list(IMAGES)
    settings += [] if data in ("spirals", "cifar10", "stl10") else [f"data.root={folder}"]
    settings += ["data.unseen=1"] if data == "plankton" else []
    directory = run("pretrain", "run", f"method={method}", f"data={data}", *SMALL, *settings)
    checkpoint = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 1
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


MISTAKES = {
    "no root": (["data.root=nowhere"], r"data\.root=nowhere does not exist"),
    "batch too large": (["data.batch_size=500"], r"data\.batch_size=500 .*at most"),
    "temperature 0": (["method.temperature=0"], r"method\.temperature=0"),
    "no labels": (["data.label_fraction=0"], r"data\.label_fraction=0"),
    "too many labels": (["data.label_fraction=2"], r"data\.label_fraction=2"),
    "unknown network": (["backbone.name=resnet19"], r"resnet19 .*resnet18"),
    "images that a network cannot take": (["data.size=40", "backbone.name=vit_b_16"], r"data\.size"),
    "images too small": (["data.size=1"], r"data\.size=1: give at least 8 pixels"),
    "a batch of one": (["data.batch_size=1"], r"data\.batch_size=1: method=simclr .* at least 2"),
    "zero deviation": (["data.std=[0,0,0]"], r"data\.std=\[0, 0, 0\]: .* above 0"),
    "mean is not a number": (["data.mean=[.nan]"], r"data\.mean=\[nan\]: give finite"),
    "no class to train on": (["data.seen=[]"], r"data\.seen=\[\] names no class"),
    "negative class size": (["data.min_class_size=-1"], r"data\.min_class_size=-1: give at"),
    "hue out of range": (["data.views.hue=0.9"], r"data\.views\.hue=0\.9: .* from 0 to 0\.5"),
    "scale out of range": (["data.views.scale=[0.5,2]"], r"data\.views\.scale=\[0\.5, 2\]"),
    "unknown source": (["data.root=null", "data.source=web"], r"data\.source=web must be one of auto, folder"),
    "learning rate 0": (["method.optimizer.lr=0"], r"method\.optimizer\.lr=0"),
    "no head": (["method.head.layers=0"], r"method\.head\.layers=0"),
    "text for a number": (["data.size=abc"], r"data\.size='abc' has the wrong type: give a whole number"),
    "a number for names": (["data.seen=3"], r"data\.seen=3 has the wrong type: give a list, \[a,b\] or null"),
    "unknown precision": (["trainer.precision=17"], r"trainer: Lightning refuses these settings"),
    "unknown class": (["data.unseen=[rose]"], r"rose"),
}


@pytest.fixture(scope="module")
def simclr():
    """The configuration of SimCLR on small images, unresolved."""
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("pretrain", ["method=simclr", "data=flowers", *SMALL, *IMAGES])


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_remedy(simclr, folder, tmp_path, lightning_log_levels, mistake):
    overrides, message = MISTAKES[mistake]
    paths = [f"data.root={folder}", f"data.cache_dir={tmp_path / 'cache'}"]
    cfg = OmegaConf.merge(simclr, OmegaConf.from_dotlist([*paths, *overrides]))
    with pytest.raises(UserError, match=message):
        train(OmegaConf.to_container(cfg, resolve=True), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "a run that never started leaves nothing behind"


def test_the_seed_determines_the_initial_weights(tmp_path, lightning_log_levels):
    def initial(seed):
        config = compose_config(*SMALL, f"seed={seed}")
        return build_experiment(config, tmp_path).method.state_dict()

    one, again, other = initial(1), initial(1), initial(2)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("name", "used"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW), ("lars", None)])
def test_every_optimizer_of_conf_is_built_as_configured(name, used):
    node = compose_config("method=simclr", "data=flowers", f"optimizer={name}")["method"]["optimizer"]
    config = instantiate_node(node, "method.optimizer")
    assert isinstance(config, OptimizerConfig)
    network = torch.nn.Linear(3, 2)
    optimizer, _ = config.build(network, total_steps=100, steps_per_epoch=10, global_batch=256)
    assert used is None or type(optimizer) is used
    assert type(optimizer).__name__.lower() == name


def test_precision_auto_is_bf16_only_where_the_cpu_computes_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for native, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert resolve_precision({"precision": "auto", "accelerator": "cpu"}) == expected
    assert resolve_precision({"precision": "16-mixed", "accelerator": "cpu"}) == "16-mixed"


def network(name):
    return vision(name=name, channels=1, size=32, mean=[0.5], std=[0.25])


@pytest.mark.parametrize(("name", "precision"), [("resnet18", "bf16-mixed"), ("mobilenet_v3_small", "32-true")])
def test_on_a_cpu_precision_auto_is_float32_for_mobile_networks(monkeypatch, name, precision):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_precision({"precision": "auto", "accelerator": "auto"}, network(name)) == precision
    asked = {"precision": "bf16-mixed", "accelerator": "auto"}
    assert resolve_precision(asked, network(name)) == "bf16-mixed"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert resolve_precision({"precision": "auto", "accelerator": "auto"}, network(name)) == "bf16-mixed"


def test_bf16_on_a_cpu_that_emulates_it_is_used_with_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for native, warnings in ((True, 0), (False, 1)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        assert resolve_precision({"precision": "bf16-mixed", "accelerator": "cpu"}) == "bf16-mixed"
        assert len(caplog.messages) == warnings
    assert "emulates bf16, about 20 times slower than float32. Use trainer.precision=auto" in caplog.text
    for precision, accelerator in (("32-true", "cpu"), ("bf16-mixed", "mps")):
        resolve_precision({"precision": precision, "accelerator": accelerator})
    assert len(caplog.messages) == 1


def test_in_a_slurm_shell_a_plain_command_is_one_process(tmp_path, monkeypatch):
    for name, value in (("SLURM_NTASKS", "4"), ("SLURM_JOB_ID", "7"), ("SLURM_PROCID", "0"), ("SLURM_NNODES", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_STEP_ID", raising=False)
    trainer = build_trainer(compose_config("logger=csv", "trainer=cpu"), tmp_path, network("resnet18"))
    assert (trainer.world_size, trainer.global_rank) == (1, 0)


@pytest.mark.parametrize("overrides", [["logger=csv"], ["logger=wandb", "logger.wandb=null"]])
def test_metrics_csv_is_always_among_the_loggers(tmp_path, overrides):
    loggers = build_loggers(compose_config(*overrides), tmp_path)
    assert [type(logger) for logger in loggers] == [MetricsCSV]


def test_an_evaluation_keeps_the_data_of_its_run_unless_overridden():
    node = {"name": "flowers", "size": 32, "root": None}
    assert evaluation_data_node(node, [], {}) == node
    assert evaluation_data_node(node, ["data.root=x"], {}) == node | {"root": "x"}
    with pytest.raises(UserError, match=r"data\.sizes=48: "):
        evaluation_data_node(node, ["data.sizes=48"], {})


def test_other_data_get_the_input_of_the_network():
    trained = {"size": 48, "channels": 1, "mean": [0.5], "std": [0.25]}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        other = evaluation_data_node({}, ["data=flowers", "data.size=40"], trained)
    assert (other["name"], other["size"], other["channels"], other["std"]) == ("flowers", 40, 1, [0.25])


@pytest.mark.images
@pytest.mark.slow
@pytest.mark.parametrize(("data", "count", "classes"), [("flowers", 4317, 5), ("plankton", 22_882, 76)])
def test_real_images_train_a_step(run, tmp_path, monkeypatch, data, count, classes):
    root = Path(os.environ["FEWLABELS_IMAGES"]) / data
    settings = [f"data.root={root}", f"data.cache_dir={tmp_path / 'cache'}", "data.size=32", IMAGES[0]]
    directory = run("pretrain", "run", "method=simclr", f"data={data}", *SMALL, *settings)
    assert "train/contrastive_top1" in (directory / "metrics.csv").read_text()
    (store,) = (tmp_path / "cache").glob(f"{data}-*.npy")
    assert len(np.load(store, mmap_mode="r")) == count
    config = yaml.safe_load((directory / "config.yaml").read_text())["data"]
    folders = [folder for folder in root.iterdir() if folder.is_dir()]
    large = [folder for folder in folders if sum(1 for _ in folder.iterdir()) >= config["min_class_size"]]
    assert len(large) == classes
