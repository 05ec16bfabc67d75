"""Listing folders, and decoding in parallel processes."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.data.image_store import folder
from fewlabels.data.image_store.decode import Decoding, Target
from fewlabels.data.image_store.folder import file_sizes, folder_source, inner_folder, scan_folder
from fewlabels.data.image_store.store import open_store


def source_of(root, size=8):
    return folder_source(root, "some", Decoding("pad"), size=size, channels=1)


def workers_of(process):
    """The joblib workers that a process has started."""
    return [child for child in process.children(recursive=True) if "LokyProcess" in " ".join(child.cmdline())]


def paths(root):
    return [path for path, _, _ in scan_folder(root).files]


def test_images_are_listed_recursively_and_sorted(tree):
    root = tree({"b/2.png": 0, "a/deep/er/1.JPG": 0, "a/0.bmp": 0, "top.tif": 0, ".hidden/x.png": 0, "a/._0.png": 0})
    (root / "notes.txt").write_text("not an image")
    assert paths(root) == ["a/0.bmp", "a/deep/er/1.JPG", "b/2.png", "top.tif"]


def test_what_is_no_image_is_counted_by_extension_without_what_nobody_expects(tree):
    root = tree({"a/0.png": 0})
    for name in ("a/1.heic", "a/2.HEIC", "a/3.raw", "a/4", "a/notes.txt", "Thumbs.db", ".DS_Store"):
        (root / name).touch()
    (root / "a" / "broken.png").symlink_to(root / "nowhere")
    (notice,) = scan_folder(root).notices()
    assert notice.startswith("5 files are not read: 2 .heic, 1 ")
    for named in ("1 .raw", "1 without extension", "1 broken links"):
        assert named in notice
    (root / "a" / "broken.png").unlink()
    for name in ("1.heic", "2.HEIC", "3.raw", "4"):
        (root / "a" / name).unlink()
    assert scan_folder(root).notices() == ()


def test_folders_of_systems_and_programs_are_skipped_and_counted(tree):
    names = ["@eaDir", "$RECYCLE.BIN", "#recycle", "lost+found", "System Volume Information", "wandb"]
    root = tree({"a/0.png": 0, "a/@eaDir/0.png": 0, **{f"{name}/x.png": 0 for name in names}})
    listing = scan_folder(root)
    assert [path for path, _, _ in listing.files] == ["a/0.png"]
    (notice,) = listing.notices()
    assert notice.startswith("7 folders of programs and systems are skipped: 2 @eaDir, 1 ")


def test_run_directories_below_the_images_are_skipped(tree):
    root = tree({"a/0.png": 0, "runs/simclr/1/figures/views.png": 0, "runs/simclr/2/figures/views.png": 0})
    for number in "12":
        for name in ("config.yaml", "run.log"):
            (root / "runs" / "simclr" / number / name).touch()
    listing = scan_folder(root)
    assert [path for path, _, _ in listing.files] == ["a/0.png"]
    assert listing.notices() == ("2 folders of programs and systems are skipped: 2 run directories",)
    (root / "config.yaml").touch()
    (root / "run.log").touch()  # whoever names a run directory as data.root wants its images
    assert scan_folder(root).files


def test_links_are_followed_once(tree, tmp_path):
    root = tree({"a/0.png": 0})
    (root / "b").symlink_to(tmp_path / "images" / "a")
    (root / "a" / "up").symlink_to(root)
    assert "b/0.png" in paths(root)
    assert len(paths(root)) < 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.write_text("x"), "is a file"),
        (lambda root: root.mkdir(), "found: nothing"),
        (lambda root: (root.mkdir(), (root / "a.txt").write_text("x"), (root / "b").write_text("x")), "1 .txt"),
    ],
)
def test_errors_describe_an_unusable_folder(tmp_path, make, message):
    make(tmp_path / "root")
    with pytest.raises(UserError, match=r"data\.root") as caught:
        scan_folder(tmp_path / "root")
    assert message in str(caught.value)


def test_an_unreadable_folder_is_an_error(tree, monkeypatch):
    root = tree({"a/0.png": 0})
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=r"no permission to read .*/a\."):
        scan_folder(root)


def test_file_sizes_are_read_from_the_headers(tmp_path):
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    Image.new("RGB", (5, 7)).save(tmp_path / "b.jpg")
    assert file_sizes(tmp_path, ["b.jpg", "a.png"]).tolist() == [[5, 7], [30, 20]]
    assert file_sizes(tmp_path, []).shape == (0, 2)


def test_the_stamp_of_a_folder_never_changes(tmp_path):
    for number, name in enumerate(["a/0.png", "b/1.jpg"]):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(bytes(10 + number))
        os.utime(tmp_path / name, ns=(1, 1_700_000_000_000_000_000 + number))
    source = folder_source(tmp_path, "some", Decoding("crop"), size=64, channels=3)
    assert source.stamp == "71f9b9c45c9e0e73f585706055c5d3a5c90d9814fb14cd7421c17c99dabe309d"


def test_few_images_are_decoded_without_workers(class_folders, tmp_path, monkeypatch):
    rows = []

    def decode_chunk(*args):
        rows.append(args[-1].start)  # in a worker, this would append to a copy of the list
        return folder_decode_chunk(*args)

    folder_decode_chunk = folder.decode_chunk
    monkeypatch.setattr(folder, "processors", lambda: 8)
    monkeypatch.setattr(folder, "decode_chunk", decode_chunk)
    assert len(open_store(source_of(class_folders({"a": 300})), tmp_path / "cache").images) == 300
    assert rows == [0, 64, 128, 192, 256]


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.subprocess)])
def test_the_result_does_not_depend_on_the_number_of_workers(tree, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(folder, "processors", lambda: workers)
    root = tree({f"c{number % 7}/{number % 256:03d}-{number}.png": number % 256 for number in range(800)})
    (root / "c0" / "000-bad.png").write_text("not an image")
    (root / "c1" / os.fsdecode(b"001-\xff.png")).write_bytes((root / "c1" / "001-1.png").read_bytes())  # not UTF-8
    paths, write = source_of(root).read()
    target, advances = Target(str(tmp_path / "array"), 0, (1, 8, 8)), []
    Path(target.file).touch()
    digests, reasons, *_ = write(target, advances.append)
    assert reasons == {paths.index("c0/000-bad.png"): "not an image of a known format"}
    # A digest of the whole file, in the order of the paths
    contents = [hashlib.blake2b((root / path).read_bytes(), digest_size=8).digest() for path in paths]
    assert digests.tolist() == [int.from_bytes(content, "big", signed=True) for content in contents]
    assert sum(advances) == len(paths) == 802
    assert max(advances) == 64
    shades = np.array([int(Path(path).name[:3]) for path in paths])
    assert (np.fromfile(target.file, np.uint8).reshape(802, 64) == shades[:, None]).all()


@pytest.mark.subprocess
def test_workers_do_not_import_torch_and_use_one_thread(class_folders, tmp_path, monkeypatch):
    from joblib import Parallel, delayed, parallel_config

    monkeypatch.setattr(folder, "processors", lambda: 2)
    open_store(source_of(class_folders({"a": 600})), tmp_path / "cache")
    state = (
        "(lambda s, o: (o.getpid(), 'fewlabels.data.image_store.decode' in s.modules, 'torch' in s.modules,"
        " o.environ['OMP_NUM_THREADS'], o.environ['OPENBLAS_NUM_THREADS']))(__import__('sys'), __import__('os'))"
    )
    with parallel_config("loky", n_jobs=2, inner_max_num_threads=1):  # the same workers
        states = set(Parallel()(delayed(eval)(state) for _ in range(50)))
    assert {values[0] for values in states}.isdisjoint({os.getpid()})
    assert {values[1:] for values in states if values[1]} == {(True, False, "1", "1")}
    assert not any(imported_torch for _, _, imported_torch, *_ in states)


@pytest.mark.subprocess
def test_a_killed_worker_is_an_error_with_a_remedy(class_folders, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "processors", lambda: 2)
    killed = []

    def kill(_):
        if not killed:
            killed.append(workers_of(psutil.Process())[0])
            killed[0].kill()

    root = class_folders({"a": 3000})
    _, write = source_of(root).read()
    (tmp_path / "array").touch()
    with pytest.raises(UserError, match=r"data\.root=.*images was killed.*Free memory, or remove the image"):
        write(Target(str(tmp_path / "array"), 0, (1, 8, 8)), kill)
    assert killed


@pytest.mark.subprocess
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_in_a_worker_raises_oserror_and_stops_the_others(class_folders, monkeypatch):
    monkeypatch.setattr(folder, "processors", lambda: 2)
    _, write = source_of(class_folders({"a": 3000})).read()
    advances = []
    with pytest.raises(OSError, match="No space left") as caught:
        write(Target("/dev/full", 0, (1, 8, 8)), advances.append)
    assert caught.value.errno == errno.ENOSPC
    assert sum(advances) == 0


INTERRUPTED = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a process that a shell put into the background
from fewlabels.data.image_store import folder
from fewlabels.data.image_store.decode import Decoding
folder.processors = lambda: 2
paths, write = folder.folder_source(sys.argv[1], "some", Decoding("pad"), size=512, channels=3).read()
write(folder.Target(sys.argv[2], 0, (3, 512, 512)), lambda count: print(count, flush=True))
"""


@pytest.mark.subprocess
def test_ctrl_c_ends_the_command_and_its_workers(class_folders, tmp_path):
    root = class_folders({"a": 3000})
    (tmp_path / "array").touch()
    command = [sys.executable, "-c", INTERRUPTED, str(root), str(tmp_path / "array")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout.readline() == "64\n"
        workers = workers_of(psutil.Process(process.pid))
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all processes of the command
        _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert process.returncode != 0
    assert workers
    assert psutil.wait_procs(workers, timeout=20)[1] == []


@pytest.mark.parametrize(("granted", "slurm", "expected"), [(8, None, 8), (3, "8", 3), (8, "2", 2), (8, "0", 1)])
def test_granted_cores_are_the_least_of_the_machine_and_slurm(monkeypatch, granted, slurm, expected):
    monkeypatch.setattr(joblib, "cpu_count", lambda: granted)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if slurm:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
    assert folder.processors() == expected


def test_the_folder_of_an_archive_is_entered_unless_it_is_a_class_beside_others(tmp_path):
    (tmp_path / "flowers" / "rose").mkdir(parents=True)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "flowers.zip").touch()
    assert inner_folder(tmp_path, ("flower_photos", "flowers")) == tmp_path / "flowers"
    (tmp_path / "trees").mkdir()
    assert inner_folder(tmp_path, ("flower_photos", "flowers")) == tmp_path
    (tmp_path / "one" / "FlowCamNet" / "imgs").mkdir(parents=True)
    assert inner_folder(tmp_path / "one", ("FlowCamNet/imgs",)) == tmp_path / "one" / "FlowCamNet" / "imgs"
