"""Listing folders, and decoding in parallel processes."""

import contextlib
import errno
import hashlib
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.data.image_store import parallel
from fewlabels.data.image_store.decode import Decoding, Target
from fewlabels.data.image_store.folder import file_sizes, folder_source, inner_folder, scan_folder
from fewlabels.data.image_store.setting_checks import image_notices
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
    assert notice.startswith("Files that are not read: 2 .heic, 1 ")
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
    assert notice.startswith("Skipped folders of programs and systems: 2 @eaDir, 1 ")


def test_run_directories_below_the_images_are_skipped(tree):
    root = tree({"a/0.png": 0, "runs/simclr/1/figures/views.png": 0, "runs/simclr/2/figures/views.png": 0})
    for number in "12":
        for name in ("config.yaml", "run.log"):
            (root / "runs" / "simclr" / number / name).touch()
    listing = scan_folder(root)
    assert [path for path, _, _ in listing.files] == ["a/0.png"]
    assert listing.notices() == ("Skipped folders of programs and systems: 2 run directories",)
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


@pytest.mark.parametrize("make", [
    lambda file: os.mkfifo(file), lambda file: file.symlink_to("/dev/zero"), lambda file: file.mkdir(),
    lambda file: file.symlink_to(file.name), lambda file: None,
])  # fmt: skip
def test_what_takes_the_place_of_a_file_after_the_listing_is_refused_and_read_by_nobody(tree, tmp_path, make):
    root = tree({f"{number:02d}.png": number for number in range(20)})
    source = source_of(root)
    (root / "07.png").unlink()
    make(root / "07.png")
    store = open_store(source, tmp_path / "cache")
    assert list(store.corrupt) == ["07.png"]
    assert len(store.paths) == 19


def test_pipes_and_devices_named_like_images_are_counted(tree):
    root = tree({"a.png": 0})
    os.mkfifo(root / "b.png")
    (root / "c.png").symlink_to("/dev/zero")
    assert paths(root) == ["a.png"]
    assert scan_folder(root).notices() == ("Files that are not read: 2 pipes, sockets or devices",)


def test_what_vanishes_during_the_listing_is_left_out(tree, monkeypatch):
    root = tree({"a/0.png": 0, "b/0.png": 0, "c.png": 0})
    real = os.scandir

    def scandir(path):
        entries = list(real(path))
        for gone in (root / "a" / "0.png", root / "c.png"):
            gone.unlink(missing_ok=True)
        if (root / "a").exists():
            (root / "a").rmdir()
        return contextlib.nullcontext(entries)

    monkeypatch.setattr(os, "scandir", scandir)
    assert paths(root) == ["b/0.png"]


def test_folders_may_lie_deeper_than_python_recurses_or_a_path_is_long(tree, monkeypatch):
    root = tree({"a.png": 0})
    monkeypatch.chdir(root)
    for depth in range(2100):
        os.mkdir("d")  # noqa: PTH102 (a Path would be too long)
        os.chdir("d")
        if depth == 1500:
            Image.new("L", (8, 8)).save("deep.png")
            assert len(paths(root)) == 2
    assert len(paths(root)) == 2
    assert scan_folder(root).notices() == ("Files that are not read: 1 folders whose path is too long",)
    while not Path("a.png").exists():  # pytest could not remove them
        Path("deep.png").unlink(missing_ok=True)
        os.chdir("..")
        os.rmdir("d")  # noqa: PTH106


def test_names_that_cannot_be_printed_are_shown_with_a_sign(tree, tmp_path):
    root = tree({f"{number:02d}.png": number for number in range(40)})
    broken = os.fsdecode(b"a\xff\nb.png")
    (root / broken).write_text("no image")
    (root / "x.y\nz").touch()
    source = source_of(root)
    store = open_store(source, tmp_path / "cache")
    assert list(store.corrupt) == [broken]
    notices = list(image_notices("some", source, store, ("folder",)))
    assert len(notices) == 2
    assert "a��b.png (not an image" in notices[1]
    assert all(notice.isprintable() for notice in notices)


def test_pages_are_found_whatever_the_extension(tmp_path):
    stack = [Image.new("L", (4, 4), shade) for shade in (1, 2)]
    stack[0].save(tmp_path / "stack.jpg", "TIFF", save_all=True, append_images=stack[1:])
    source = folder_source(tmp_path, "some", Decoding(pages="all"), size=4, channels=1)
    assert source.read()[0] == ["stack.jpg#1", "stack.jpg#2"]


def test_a_number_of_frames_that_only_the_header_claims_is_not_believed(tmp_path):
    frames = [Image.new("L", (4, 4), shade) for shade in (1, 2, 3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    content = bytearray((tmp_path / "a.png").read_bytes())
    place = content.index(b"acTL")
    content[place + 4 : place + 8] = struct.pack(">I", 2**31)
    content[place + 12 : place + 16] = struct.pack(">I", zlib.crc32(content[place : place + 12]))
    (tmp_path / "a.png").write_bytes(content)
    source = folder_source(tmp_path, "some", Decoding(pages="all"), size=4, channels=1)
    assert len(source.read()[0]) <= 4


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
    assert source.stamp == "ae49e5dbb7bd4f8ffbaa6d5359319247cca0a2762f10817a67e87b922a250317"


def test_few_images_are_decoded_without_workers(class_folders, tmp_path, monkeypatch):
    rows = []

    def decode_chunk(*args):
        rows.append(args[-1].start)  # in a worker, this would append to a copy of the list
        return folder_decode_chunk(*args)

    folder_decode_chunk = parallel.decode_chunk
    monkeypatch.setattr(parallel, "processors", lambda: 8)
    monkeypatch.setattr(parallel, "decode_chunk", decode_chunk)
    assert len(open_store(source_of(class_folders({"a": 300})), tmp_path / "cache").images) == 300
    assert rows == [0, 64, 128, 192, 256]


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.subprocess)])
def test_the_result_does_not_depend_on_the_number_of_workers(tree, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(parallel, "processors", lambda: workers)
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

    monkeypatch.setattr(parallel, "processors", lambda: 2)
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
    monkeypatch.setattr(parallel, "processors", lambda: 2)
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
    monkeypatch.setattr(parallel, "processors", lambda: 2)
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
from fewlabels.data.image_store import folder, parallel
from fewlabels.data.image_store.decode import Decoding
parallel.processors = lambda: 2
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
    assert parallel.processors() == expected


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
