"""Mistakes on a command line: each is answered by a message that names the key and the remedy."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import CompactHydraException

from fewlabels.cli.hydra_messages import RENAMED, explain, renamed
from fewlabels.cli.resolvers import CONF, register_resolvers

MESSAGES = {
    "pretrain": {
        "method=simclr method.temprature=0.1": "Did you mean method.temperature? method=simclr has",
        "method=simclr data=flowers data.views.degrees=9": "To set it write +data.views.degrees=… with a plus",
        "methd=simclr": "methd: there is no such key. Did you mean method?",
        "method=simclear": "method=simclear: there is no such choice. Did you mean simclr? Choose from arcface, rotnet",
        "method=": "method=: there is no such choice. Choose from arcface",
        "optimizer=adam": "optimizer=adam: there is no such choice. Did you mean adamw?",
        "method.k=[1": "method.k=[1 cannot be read (no viable alternative at input '[1'). Write key=value, a list as",
        "data.size": "data.size cannot be read",
        "analyses=[umap]": "analyses: pretrain has no such config group. It is a config group of evaluate.",
        "method@other=simclr": "method@other: a config group has its place. Write method=… without @.",
        "callbacks.health=null": "callbacks.health has been renamed: use callbacks.representation_quality.",
        "callbacks.health.every_n_epochs=3": "callbacks.health has been renamed: use callbacks.representation_quality.",
        "~callbacks.speed": "callbacks.speed has been renamed: use callbacks.throughput.",
        "data.kind=points": "data.kind has been renamed: use data.modality.",
        "draw=3": "draw: there is no such key. The configuration has backbone,",
    },
    "finetune": {
        "method=simclr": "method: finetune has no such config group. It is a config group of pretrain. finetune has b",
        "search=optuna": "search: finetune has no such config group. It is a config group of pretrain.",
        "method.views.degres=3": "Did you mean method.views.degrees",
        "objective=val/loss": "objective: there is no such key. The configuration has backbone, callbacks, checkpoint",
    },
    "evaluate": {
        "logger=csv": "logger: evaluate has no such config group. It is a config group of pretrain and finetune.",
        "questions=[efficiency]": "questions has been renamed: use analyses. Choose from class_distances,",
        "questions=3": "questions has been renamed: use analyses.",
        "repeat=3": "repeat: there is no such key. Did you mean repeats?",
        "analyses=[label_efficency]": "analyses=label_efficency: there is no such choice. Did you mean label_efficien",
        "analyses=umap": "analyses=umap: there is no such choice. Choose from class_distances",
    },
}


CASES = [(script, arguments) for script, cases in MESSAGES.items() for arguments in cases]


@pytest.mark.parametrize(("script", "arguments"), CASES)
def test_a_mistake_on_the_command_line_is_explained_in_a_sentence(script, arguments):
    register_resolvers()
    with (
        initialize_config_dir(str(CONF), version_base="1.3"),
        pytest.raises(CompactHydraException) as caught,
    ):
        compose(script, arguments.split())
    message = explain(caught.value, script)
    assert MESSAGES[script][arguments] in message
    assert "hydra" not in message.lower()
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(("script", "arguments"), [
    ("pretrain", "callbacks.health=null"), ("pretrain", "method.k=[1"), ("finetune", "method=simclr"),
    ("evaluate", "logger=csv"), ("evaluate", "questions=[efficiency]"),
])  # fmt: skip
def test_a_script_exits_with_the_explanation_and_without_traceback(cli, tmp_path, script, arguments):
    done = cli(script, *arguments.split())
    assert done.code == 1
    assert MESSAGES[script][arguments] in done.err
    assert len(done.text.splitlines()) == 2
    assert not any(tmp_path.iterdir()), "a run that never started leaves nothing behind"


def test_every_key_of_version_0_1_has_its_present_name():
    for old, new in RENAMED.items():
        assert renamed(old) == new
        assert renamed(f"{old}.part") == f"{new}.part"
        assert renamed(f"{old}s") in (None, RENAMED.get(f"{old}s"))
        assert renamed(new) is None
