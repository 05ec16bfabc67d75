"""Paths and class names on the command line arrive as they were typed."""

import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fewlabels.cli.app import compose_config
from fewlabels.cli.arguments import prepare_arguments
from fewlabels.cli.hydra_messages import explain
from fewlabels.cli.resolvers import CONF, register_resolvers
from fewlabels.cli.values import CLASS_NAMES, LISTS, PATHS, elements, flat_names, for_hydra, unquoted
from fewlabels.core.errors import UserError
from fewlabels.training.run_dir import as_text, from_overrides

NAMES = (
    "Données", "My Photos (2021)", "a=b", "#1", "{a}", "a,b", "O'Brien", 'the "best"', "back\\", "a\\ b", "two  spaces",
    " blank ", "[a]", "a: b", "100%", "x;y", "a<b>c", "1_2", "$5", "~tilde", "€ & co!", "caf\udce9", "-m", "a\\'b",
)  # fmt: skip
"""Of folders, in any script."""
ALONE = ("123", "1_2", "1e3", "true", "0x10", "inf", "'half", '"half', "NULL", "a", "[x")
"""Paths that are such a name and no more."""


def read(argument, *, sweeps=False):
    """What Hydra makes of the value of an argument; of a sweep, all values as their job gets them."""
    override = OverridesParser.create().parse_override(for_hydra(argument, sweeps=sweeps))
    if not override.is_sweep_override():
        return override.value()
    jobs = [f"key={value}" for value in override.sweep_string_iterator()]
    return [OverridesParser.create().parse_override(job).value() for job in jobs]


@pytest.mark.parametrize("path", [*(f"/x/{name}" for name in NAMES), *(f"{name}/y" for name in NAMES), *ALONE])
def test_a_path_is_the_text_that_was_typed(path):
    for key in PATHS - {"run"}:
        for sign in ("", "+", "++"):
            assert read(f"{sign}{key}={path}") == path
    if "," not in path:  # which separates runs
        assert read(f"run={path}") == path
        assert read(f"data.root={path},/other", sweeps=True) == [path.strip(), "/other"] or path[0] in "'\""


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=()), min_size=1))
def test_any_text_is_a_path(text):
    quoted = text[0] in "'\"" and text[-1] == text[0] and len(text) > 1
    if not (text == "null" or "${" in text or text[:1] == "~" or quoted):
        assert read(f"data.root={text}") == text
        assert from_overrides([for_hydra(f"data.root={text}", sweeps=False)]).data.root == text


@pytest.mark.parametrize("name", NAMES)
def test_every_command_composes_with_such_paths(name):
    root = f"/x/{name}"
    assert compose_config("data=flowers", f"data.root={root}", "method=simclr")["data"]["root"] == root
    assert compose_config(f"checkpoint={root}", f"data.labels={root}", script="finetune")["checkpoint"] == root
    assert compose_config(f"labelled.root={root}", script="predict")["labelled"]["root"] == root
    assert compose_config(f"labels={root}", script="label")["labels"] == root
    composed = compose_config(f"export={root}", f"to={root}", script="import_ecotaxa")
    assert (composed["export"], composed["to"]) == (root, root)


def test_null_is_no_path_and_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert read("data.root=null") is None
    assert read("data.root=") == ""
    assert read("checkpoint=~/runs/a=b") == "/home/me/runs/a=b"
    assert read("data.root=~") == "/home/me"
    assert read("data.root=~other/x") == "~other/x"
    assert read("checkpoint=~/a,null,imagenet", sweeps=True) == ["/home/me/a", None, "imagenet"]
    assert flat_names("~/a,b") == ["/home/me/a", "b"]


@pytest.mark.parametrize("argument", [
    "data.root='/x/a b,c'", 'data.root="/x/a=b"', "data.root='it\\'s'", "data.root=${oc.env:HOME}/x",
    "checkpoint=${x}", "data.seen=${data.unseen}", "data.seen=['a,b',c]", 'data.seen=["a (x)"]', "data.seen=null",
    "data.unseen=3", "data.seen=[]", "seed=1", "method.k=[1", "data.group=(a)",
])  # fmt: skip
def test_what_hydra_reads_already_is_left_as_it_is(argument):
    assert for_hydra(argument, sweeps=False) == argument
    assert for_hydra(argument, sweeps=True) == argument


def test_an_interpolation_beside_a_special_character_stays_an_interpolation():
    config = OmegaConf.create({"seed": 3})
    made = from_overrides([for_hydra("hydra.run.dir=runs/a=b/${seed}", sweeps=False)])
    assert OmegaConf.to_container(OmegaConf.merge(config, made), resolve=True)["hydra"]["run"]["dir"] == "runs/a=b/3"


def test_in_a_sweep_a_comma_separates_unless_the_whole_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b", "a=1,b=2"):
        (tmp_path / name).mkdir()
    assert read("data.root=a,c", sweeps=True) == ["a", "c"]
    assert read("data.root=a,b", sweeps=True) == "a,b"
    assert read("checkpoint=null,imagenet,a=1", sweeps=True) == [None, "imagenet", "a=1"]
    assert read("checkpoint=a=1,b=2", sweeps=True) == "a=1,b=2"
    assert read("checkpoint='a,b',\"c,d\",e", sweeps=True) == ["a,b", "c,d", "e"]
    assert read("checkpoint=O'Brien,b", sweeps=True) == ["O'Brien", "b"]
    assert read("checkpoint=choice(a,b)", sweeps=True) == ["a", "b"]
    assert read("run=[a=1,b],[c d]", sweeps=True) == [["a=1", "b"], ["c d"]]
    assert read("hydra.sweep.dir=x,y", sweeps=True) == "x,y"


def test_lists_of_paths_are_lists_of_texts():
    assert read("run=Été,b (1)") == ["Été", "b (1)"]
    assert read("run=[[A=1,'x,y'],[null]]") == [["A=1", "x,y"], [None]]
    assert read("export=[Été.zip, b c.zip]") == ["Été.zip", "b c.zip"]
    assert read("trust=[my_methods]") == ["my_methods"]
    assert set(LISTS) <= PATHS
    assert flat_names("[[A=1,'x,y'],[b]]") == ["A=1", "x,y", "b"]


NAMED = [
    "1_2",
    "2019_05",
    "1e3",
    "null",
    "part<Crustacea",
    "0x10",
    "true",
    "Étoile",
    "a b",
    "(x)",
    "3",
    "a[1]",
    "#",
    "~",
]


@pytest.mark.parametrize("key", sorted(CLASS_NAMES))
def test_names_of_classes_are_texts(key):
    typed = ",".join(NAMED)
    assert read(f"{key}=[{typed}]") == NAMED
    assert read(f"{key}=[ a , 'b,c' , \"d's\" ]") == ["a", "b,c", "d's"]
    assert read(f"{key}=[1_2,a],[3]", sweeps=True) == [["1_2", "a"], ["3"]]
    assert read(f"{key}=1,2", sweeps=True) == [1, 2]
    assert read(f"{key}=3") == 3
    assert read(f"{key}=null") is None


@pytest.mark.parametrize("key", ["seen", "unseen"])
def test_names_of_classes_stay_texts_in_the_configuration_and_in_its_file(tmp_path, key):
    config = compose_config("data=plankton", "method=simclr", f"data.{key}=[{','.join(NAMED)}]")
    assert config["data"][key] == NAMED
    saved = tmp_path / "config.yaml"
    saved.write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    assert OmegaConf.load(saved).data[key] == NAMED
    assert compose_config("data=plankton", "method=simclr", "data.unseen=3")["data"]["unseen"] == 3
    assert compose_config("data=plankton", "method=simclr", "data.unseen=null")["data"]["unseen"] is None


@pytest.mark.parametrize(("value", "parts"), [
    ("", [""]), ("a", ["a"]), ("a,b", ["a", "b"]), ("[a,b],c", ["[a,b]", "c"]), ("'a,b',c", ["'a,b'", "c"]),
    ("['a]',b],c", ["['a]',b]", "c"]), ("'a\\',b',c", ["'a\\',b'", "c"]), ("x'a,b'", ["x'a", "b'"]),
    ("'a,b", ["'a", "b"]), ("[a,b", ["[a", "b"]), ("a[,b]", ["a[", "b]"]), ("[a[1],b]", ["[a[1],b]"]),
])  # fmt: skip
def test_a_value_is_split_outside_of_quotes_and_brackets(value, parts):
    assert elements(value) == parts


def test_quotes_are_removed_as_hydra_removes_them():
    assert [unquoted(text) for text in ("'a,b'", '"a"', "O'B", "'a", "'a','b'")] == ["a,b", "a", "O'B", "'a", "'a','b'"]


@pytest.mark.parametrize("value", ["a (b", "Données", "a=b", "it's", 'a "b" #', "x\\ {"])
def test_the_message_shows_the_very_value_in_quotes(value):
    register_resolvers()
    argument = f"method.name={value}"
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(OverrideParseException) as caught:
        compose("pretrain", prepare_arguments([argument]))
    message = explain(caught.value, "pretrain")
    assert message.startswith(f"{argument} cannot be read (")
    shown = message.partition("in quotes: ")[2].removesuffix(".")
    (typed,) = shlex.split(shown)  # as the shell hands it over
    assert OverridesParser.create().parse_override(typed).value() == value


def test_overrides_that_are_held_back_are_read_by_the_same_grammar():
    assert from_overrides(["data.seen=['1_2',\"null\"]", "data.size=3"]) == {
        "data": {"seen": ["1_2", "null"], "size": 3}
    }
    assert from_overrides([f"data.root={as_text('/x/#1: {a}')}"]).data.root == "/x/#1: {a}"
    with pytest.raises(UserError, match=r"data.group=\(a cannot be read .* in quotes: 'data.group=\"\(a\"'"):
        from_overrides(["data.group=(a"])
    with pytest.raises(UserError, match=r"data\.size=1,2 has several values"):
        from_overrides(["data.size=1,2"])


def test_a_held_back_override_that_cannot_be_read_is_answered_at_once(cli, tmp_path):
    done = cli("suggest", "run=imagenet", "data.group=(a")
    assert (done.code, "'data.group=\"(a\"'" in done.err) == (1, True), done.err
    assert not any(Path(tmp_path).iterdir())
