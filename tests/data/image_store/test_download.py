"""Archives from a local server: complete, interrupted, resumed, broken, malicious."""

import errno
import hashlib
import io
import re
import tarfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.data.flowers import Flowers
from fewlabels.data.image_store import download
from fewlabels.data.image_store.download import download_archive
from fewlabels.data.plankton import Plankton

CONF = Path(__file__).parents[3] / "conf" / "data"


@pytest.fixture
def server(archive_server):
    archive_server.content = archive({f"rose/{number}.png": png(number) for number in range(20)})
    return archive_server


def png(shade):
    buffer = io.BytesIO()
    Image.new("L", (8, 8), shade).save(buffer, "PNG")
    return buffer.getvalue()


def archive(files, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "set"


def siblings(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_an_archive_is_unpacked_and_deleted(server, target):
    download_archive(server.url, target, len(server.content))
    assert len(list(target.glob("rose/*.png"))) == 20
    assert siblings(target) == [".set.lock", "set"]


def test_an_existing_folder_is_not_downloaded_again(server, target):
    target.mkdir(parents=True)
    (target / "mine.png").touch()
    download_archive(server.url, target)
    assert server.ranges == []


@pytest.mark.parametrize("known", [True, False])
def test_an_interrupted_download_is_resumed(server, target, known):
    server.cuts = [5000, 7000]
    download_archive(server.url, target, len(server.content) if known else None)
    assert server.ranges == [None, "bytes=5000-", "bytes=12000-"]
    assert len(list(target.glob("rose/*.png"))) == 20


DATES = ("Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT")


@pytest.mark.parametrize(("tag", "date", "condition"), [
    ('"one"', None, '"one"'), (None, DATES[0], DATES[0]), ('"one"', DATES[0], '"one"'), ('W/"one"', DATES[0], DATES[0]),
    ('W/"one"', None, None),
])  # fmt: skip
def test_the_rest_of_the_same_version_is_asked_for(server, target, tag, date, condition):
    server.tag, server.date, server.cuts = tag, date, [5000]
    download_archive(server.url, target)
    assert (server.ranges, server.conditions) == ([None, "bytes=5000-"], [None, condition])
    assert len(list(target.glob("rose/*.png"))) == 20
    assert siblings(target) == [".set.lock", "set"]


@pytest.mark.parametrize("obeys", [True, False])
@pytest.mark.parametrize(("before", "after"), [
    (('"one"', None), ('"two"', None)), ((None, DATES[0]), (None, DATES[1])), (('W/"one"', None), ('W/"two"', None)),
    ((None, None), (None, None)),
])  # fmt: skip
def test_a_file_that_changed_meanwhile_is_refused_and_nothing_is_kept(server, target, before, after, obeys):
    server.cuts, server.obeys = [5000, 0, 0], obeys
    server.tag, server.date = before
    with pytest.raises(UserError, match="received 5,000 bytes"):
        download_archive(server.url, target)
    assert siblings(target) == [".set.lock", ".set.set.tar.part", ".set.set.tar.part.json"]
    server.tag, server.date, server.cuts = *after, []
    server.content = archive({f"lily/{number}.png": png(number) for number in range(30)})  # of another length too
    with pytest.raises(UserError, match=r"has changed since its download began .* The 5,000 bytes of the earlier file"):
        download_archive(server.url, target)
    assert siblings(target) == [".set.lock"]
    download_archive(server.url, target)
    assert server.ranges[-1] is None
    assert len(list(target.glob("lily/*.png"))) == 30


def test_a_file_that_changes_between_two_attempts_is_refused(server, target, monkeypatch):
    server.tag, server.cuts = '"one"', [5000]
    receive = download._receive

    def change(*arguments):
        try:
            return receive(*arguments)
        finally:
            server.tag = '"two"'

    monkeypatch.setattr(download, "_receive", change)
    with pytest.raises(UserError, match=r'ETag was "one", and is "two"'):
        download_archive(server.url, target)
    assert siblings(target) == [".set.lock"]


@pytest.mark.parametrize("letters", [str.lower, str.upper])
def test_the_sum_of_a_download_is_checked(server, target, letters):
    download_archive(server.url, target, sha256=letters(hashlib.sha256(server.content).hexdigest()))
    assert len(list(target.glob("rose/*.png"))) == 20


def test_a_download_with_another_sum_is_deleted(server, target):
    expected = "0" * 64
    with pytest.raises(UserError, match=rf"has the SHA-256 [0-9a-f]{{64}}; expected data\.sha256={expected}"):
        download_archive(server.url, target, len(server.content), sha256=expected)
    assert siblings(target) == [".set.lock"]


def test_an_unknown_sum_is_told(server, target, caplog):
    with caplog.at_level("INFO"):
        download_archive(server.url, target)
    assert f"data.sha256=null); its SHA-256 is {hashlib.sha256(server.content).hexdigest()}" in caplog.text


@pytest.mark.parametrize("name", ["flowers", "plankton"])
def test_every_dataset_has_a_sum_or_says_that_there_is_none(name):
    node = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert node["sha256"] is None or re.fullmatch("[0-9a-f]{64}", node["sha256"])


def test_without_range_support_the_download_starts_over(server, target):
    server.cuts, server.resumes = [5000], False
    download_archive(server.url, target)
    assert len(list(target.glob("rose/*.png"))) == 20


def test_a_failed_download_reports_its_length_and_is_resumed_by_the_next_call(server, target):
    server.cuts = [5000, 1000, 0]
    with pytest.raises(UserError, match=r"set\.tar\.part: received 6,000 bytes of 30720 .* to resume"):
        download_archive(server.url, target, len(server.content))
    assert not target.exists()
    download_archive(server.url, target, len(server.content))
    assert server.ranges[-1] == "bytes=6000-"
    assert len(list(target.glob("rose/*.png"))) == 20


def test_a_server_may_omit_the_length(server, target):
    server.sends_length = False
    download_archive(server.url, target)
    assert len(list(target.glob("rose/*.png"))) == 20


def test_a_partial_file_longer_than_the_archive_is_deleted(server, target):
    target.parent.mkdir(parents=True)
    (target.parent / ".set.set.tar.part").write_bytes(bytes(100_000))
    download_archive(server.url, target)
    assert server.ranges == ["bytes=100000-", None]
    assert len(list(target.glob("rose/*.png"))) == 20


def test_a_wrong_length_is_an_error(server, target):
    with pytest.raises(UserError, match=r"has 30,720 bytes; expected data\.archive_bytes=12345"):
        download_archive(server.url, target, 12345)
    assert siblings(target) == [".set.lock"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_broken_archive_leaves_no_files(server, target, mode, damage):
    complete = archive({f"a/{number}.png": png(number) * 30 for number in range(20)}, mode)
    server.content = complete[: len(complete) // 2] if damage == "cut" else b"noise" * 1000
    with pytest.raises(UserError, match="not a complete tar archive"):
        download_archive(server.url, target)
    assert siblings(target) == [".set.lock"]


def broken_hard_link():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.LNKTYPE, "missing"
        tar.addfile(link)
    return buffer.getvalue()


UNUSABLE = {
    "a zip archive": (b"PK\x03\x04" + bytes(100), "is a zip archive of 104 bytes"),
    "a web page": (b"<!doctype html><title>Please log in</title>", "is a web page of 43 bytes"),
    "an empty file": (b"", "is a file of 0 bytes"),
    "an empty archive": (archive({}), "is empty"),
    "a file used as a folder": (archive({"a": b"1", "a/0.png": b"2"}), "cannot|can be unpacked here"),
    "a broken hard link": (broken_hard_link(), "missing"),
    "a file name that is too long": (archive({"n" * 300: b"1"}), "File name too long"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_archives_are_described_in_one_line_and_deleted(server, target, case):
    server.content, message = UNUSABLE[case]
    with pytest.raises(UserError, match=message) as caught:
        download_archive(server.url, target)
    assert "\n" not in str(caught.value)
    assert "data.url" in str(caught.value)
    assert siblings(target) == [".set.lock"]


def test_a_wrong_address_is_an_error(server, target):
    server.missing = True
    with pytest.raises(UserError, match=r"404.*Check data\.url") as caught:
        download_archive(server.url, target)
    assert "received" not in str(caught.value)


@pytest.mark.parametrize("name", ["../outside.png", "a/../../outside.png", "/../outside.png"])
def test_paths_outside_the_folder_are_refused(server, target, name):
    server.content = archive({"a/0.png": png(0), name: png(1)})
    with pytest.raises(UserError, match="is unsafe and was deleted"):
        download_archive(server.url, target)
    assert siblings(target) == [".set.lock"]
    assert not list(target.parent.parent.rglob("outside.png"))


def test_links_outside_the_folder_are_refused(server, target):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "../../outside"
        tar.addfile(link)
    server.content = buffer.getvalue()
    with pytest.raises(UserError, match="is unsafe and was deleted"):
        download_archive(server.url, target)
    assert siblings(target) == [".set.lock"]


def test_a_full_disk_is_an_error(server, target, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(UserError, match=r"cannot store the download for data\.root=.*No space left"):
        download_archive(server.url, target)
    assert not target.exists()


def test_an_unreachable_server_and_other_protocols_are_errors(target):
    with pytest.raises(UserError, match="received 0 bytes of an unknown number from http://127"):
        download_archive("http://127.0.0.1:9/set.tar", target)
    with pytest.raises(UserError, match=r"data\.url=file:///etc/passwd must start with https"):
        download_archive("file:///etc/passwd", target)


def test_flowers_are_downloaded_in_the_layout_of_flower_photos(server, image_settings, target):
    files = {f"flower_photos/{name}/{number}.jpg": png(9) for name in ("daisy", "tulips") for number in range(9)}
    server.content = archive(files | {"flower_photos/LICENSE.txt": b"CC-BY"}, "w:gz")
    image_settings |= {"root": str(target), "download": True, "url": server.url}
    module = Flowers(archive_bytes=len(server.content), **image_settings)
    module.prepare_data()
    module.setup()
    assert module.classes == ["daisy", "tulips"]
    assert len(module.paths) == 18
    assert not module.synthetic


def test_plankton_is_downloaded_in_the_layout_of_flowcamnet(server, image_settings, target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {f"FlowCamNet/imgs/{name}/{number}.png": png(9) for name in ("Retaria", "Odontella") for number in range(9)}
    server.content = archive(files | {"FlowCamNet/taxa.csv.gz": b"objid"})
    module = Plankton(**image_settings | {"source": "download", "url": server.url, "unseen": ["Retaria"]})
    module.prepare_data()
    module.setup()
    assert (module.seen_classes, module.unseen_classes) == (["Odontella"], ["Retaria"])
    assert (tmp_path / "data" / "plankton" / "FlowCamNet" / "taxa.csv.gz").exists()
    assert module.paths[0] == "Odontella/0.png"
