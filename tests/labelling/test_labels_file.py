"""labels.csv while it is edited: nothing is lost, by whatever end or other editor."""

import errno
import subprocess
import sys

import pytest

from fewlabels.core import atomic_io
from fewlabels.core.errors import UserError
from fewlabels.labelling.labels_file import ConflictError, LabelsFile, only_editor


@pytest.fixture
def file(tmp_path):
    return tmp_path / "labels.csv"


def test_changes_are_on_disk_when_they_return(file):
    labels = LabelsFile(file)
    labels.assign({"b.png": "x", "ü/a,1.png": 'say "y"'}, {})
    assert file.read_text() == 'path,label\nb.png,x\n"ü/a,1.png","say ""y"""\n'
    labels.assign({"b.png": None}, {"b.png": "x"})
    assert LabelsFile(file).labels == labels.labels == {"ü/a,1.png": 'say "y"'}


def test_other_columns_rows_order_and_spelling_are_kept(file):
    file.write_text("\ufeffby;label;path\nme;x;.\\gone.png\nyou;;b.png\n;x;a.png\n")
    LabelsFile(file).assign({"b.png": "y", "c.png": "z"}, {})
    assert file.read_text() == "\ufeffby;label;path\nme;x;.\\gone.png\nyou;y;b.png\n;x;a.png\n;z;c.png\n"


def test_a_label_that_is_no_longer_what_was_seen_is_not_overwritten(file):
    labels = LabelsFile(file)
    labels.assign({"a.png": "x"}, {}, editor="one")
    before = file.read_text()
    with pytest.raises(ConflictError) as conflict:
        labels.assign({"a.png": "y", "b.png": "y"}, {}, editor="two")
    assert conflict.value.labels == {"a.png": "x"}
    assert file.read_text() == before


def test_every_editor_undoes_their_own_changes_in_turn(file):
    labels = LabelsFile(file)
    labels.assign({"a.png": "x", "b.png": "x"}, {}, editor="one")
    labels.assign({"a.png": "y"}, {"a.png": "x"}, editor="one")
    labels.assign({"c.png": "z"}, {}, editor="two")
    assert labels.undo("one").before == {"a.png": "x"}
    assert LabelsFile(file).labels == {"a.png": "x", "b.png": "x", "c.png": "z"}
    labels.undo("one")
    assert LabelsFile(file).labels == {"c.png": "z"}
    assert labels.undo("one") is None


def test_undo_takes_nothing_back_that_another_changed_since(file):
    labels = LabelsFile(file)
    labels.assign({"a.png": "x", "b.png": "x"}, {}, editor="one")
    labels.assign({"a.png": "y"}, {"a.png": "x"}, editor="two")
    with pytest.raises(ConflictError) as conflict:
        labels.undo("one")
    assert conflict.value.labels == {"a.png": "y"}
    assert labels.labels == {"a.png": "y", "b.png": "x"}
    assert labels.undo("one") is None


def test_what_another_program_writes_meanwhile_counts(file):
    labels = LabelsFile(file)
    labels.assign({"a.png": "x"}, {})
    file.write_text("path,label,note\na.png,corrected,by hand\n")
    with pytest.raises(ConflictError):
        labels.assign({"a.png": "y"}, {"a.png": "x"})
    labels.assign({"b.png": "y"}, {})
    assert file.read_text() == "path,label,note\na.png,corrected,by hand\nb.png,y,\n"


def test_a_full_disk_changes_nothing(file, monkeypatch):
    labels = LabelsFile(file)
    labels.assign({"a.png": "x"}, {})

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_io.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        labels.assign({"b.png": "y"}, {})
    monkeypatch.undo()
    assert labels.labels == LabelsFile(file).labels == {"a.png": "x"}
    assert [*file.parent.iterdir()] == [file]
    labels.assign({"b.png": "y"}, {})
    assert LabelsFile(file).labels == {"a.png": "x", "b.png": "y"}


def test_one_image_with_two_labels_is_refused(file):
    file.write_text("path,label\na.png,x\na.png,y\n")
    with pytest.raises(UserError, match="'x' in line 2, and 'y' in line 3"):
        LabelsFile(file)


WRITER = """
import sys
from pathlib import Path
from fewlabels.labelling.labels_file import LabelsFile
labels = LabelsFile(Path(sys.argv[1]))
for number in range(100000):
    labels.assign({f"{number}.png": "x"}, {})
    print(number, flush=True)
"""


@pytest.mark.subprocess
def test_what_was_acknowledged_survives_a_kill(file):
    for _ in range(5):
        file.unlink(missing_ok=True)
        command = [sys.executable, "-c", WRITER, str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(30):
                process.stdout.readline()
            process.kill()
            acknowledged = 30 + len(process.stdout.read().splitlines())
        assert len(LabelsFile(file).labels) in (acknowledged, acknowledged + 1)


def test_a_second_editor_is_told_where_the_first_is(file):
    message = r"is being edited already: http://127.0.0.1:1234\."
    with only_editor(file, "http://127.0.0.1:1234"), pytest.raises(UserError, match=message), only_editor(file, ""):
        pass
    with only_editor(file, "again"):
        pass


def test_labels_of_a_removed_file_are_written_again(tmp_path, caplog):
    labels = LabelsFile(tmp_path / "labels.csv")
    labels.assign({"1.png": "a", "2.png": "b"}, {})
    (tmp_path / "labels.csv").unlink()
    assert not labels.refresh()
    assert "has been removed. Its 2 labels are written again at the next change" in caplog.text
    labels.assign({"3.png": "a"}, {})
    assert (tmp_path / "labels.csv").read_text() == "path,label\n1.png,a\n2.png,b\n3.png,a\n"


def test_an_empty_file_has_no_labels_and_a_folder_is_none(tmp_path):
    (tmp_path / "labels.csv").touch()
    labels = LabelsFile(tmp_path / "labels.csv")
    labels.assign({"1.png": "a"}, {})
    assert (tmp_path / "labels.csv").read_text() == "path,label\n1.png,a\n"
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\). Give a CSV file"):
        LabelsFile(tmp_path)
