"""The original files: read packed or not, and refused unless they are the published ones.

Small stand-ins lie in torchvision's layout, with checksums of their own in the place of the
published ones'. The real files are in test_real_originals.py.
"""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import os
import pickle
import re
import shutil
import struct
import tarfile
import threading
import urllib.error
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from patience import impatient

from sdd.__main__ import parse
from sdd.base.errors import DataError
from sdd.base.files import canonical
from sdd.data import noise, preparation
from sdd.data.arrays import Arrays, read_dataset
from sdd.data.datasets import DATASETS, HumanLabels
from sdd.data.facts import DatasetFacts, read_facts
from sdd.data.originals import PUBLISHED, import_torchvision
from sdd.data.settings import DatasetSpec

TRAIN, TEST = 20, 10
GREY, COLOUR = ("mnist", "fashion-mnist"), ("cifar10", "cifar100")
ALL = (*GREY, *COLOUR)
EACH = pytest.mark.parametrize("name", ALL)
PACKED = pytest.mark.parametrize("packed", [False, True], ids=["unpacked", "packed"])


def prepare(name: str, folder: Path | None, output: Path) -> DatasetFacts:
    return preparation.prepare(DatasetSpec(name), folder, output / "dataset.json")


def published(name: str):
    return PUBLISHED[DATASETS[name].torchvision]


def inner(name: str, root: Path) -> Path:
    """The folder that the files themselves lie in."""
    return root / published(name).folder


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def random_images(rng, count: int, *shape: int) -> np.ndarray:
    return rng.integers(256, size=(count, *shape), dtype=np.uint8)


def small(name: str, monkeypatch, **changes) -> None:
    changed = dataclasses.replace(DATASETS[name], train=TRAIN, test=TEST, **changes)
    monkeypatch.setitem(DATASETS, name, changed)


# Stand-ins. Files are written from scratch here, so that they are a reference for the reader.


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def idx_files(name: str, arrays: Arrays) -> dict[str, bytes]:
    return {
        f"{prefix}-{kind}-ubyte": idx(array)
        for part, prefix in (("train", "train"), ("test", "t10k"))
        for kind, array in (
            ("images-idx3", arrays[f"{part}_images"][:, 0]),
            ("labels-idx1", arrays[f"{part}_labels"].astype(np.uint8)),
        )
    }


def batches(name: str, arrays: Arrays) -> dict[str, bytes]:
    """The training images in as many batches as were published."""
    key = "labels" if name == "cifar10" else "fine_labels"
    files = {}
    for part, batch_names in (("train", published(name).train), ("test", published(name).test)):
        images = np.array_split(arrays[f"{part}_images"], len(batch_names))
        labels = np.array_split(arrays[f"{part}_labels"], len(batch_names))
        for batch, some, their in zip(batch_names, images, labels, strict=True):
            content = {"data": some.reshape(len(some), -1), key: their.tolist()}
            if name == "cifar100":
                content["coarse_labels"] = [0] * len(their)
            files[batch] = python2_pickle(content)
    return files


def python2_pickle(content: dict[str, object]) -> bytes:
    """With the keys as Python 2's texts, which the published batches are pickled from."""
    pickled = pickle.dumps(content, protocol=2)
    for key in content:
        unicode = b"X" + struct.pack("<I", len(key)) + key.encode()
        assert pickled.count(unicode) == 1
        pickled = pickled.replace(unicode, b"U" + bytes([len(key)]) + key.encode())
    return pickled


def files_of(name: str, arrays: Arrays) -> dict[str, bytes]:
    return (idx_files if name in GREY else batches)(name, arrays)


def lay(name: str, root: Path, files: dict[str, bytes], packed: bool = False) -> Path:
    """Writes files as they were published, unpacked or packed; the file with the labels in it."""
    folder = inner(name, root)
    archive = published(name).archive
    if packed and archive:
        root.mkdir(parents=True, exist_ok=True)
        with tarfile.open(root / archive, "w:gz") as tar:
            for file, content in files.items():
                member = tarfile.TarInfo(f"{published(name).folder}/{file}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return root / archive
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        path = folder / (f"{file}.gz" if packed else file)
        path.write_bytes(gzip.compress(content) if packed else content)
    with_labels = next(file for file in published(name).train if "images" not in file)
    return folder / (f"{with_labels}.gz" if packed else with_labels)


@pytest.fixture
def originals(tmp_path, monkeypatch):
    """`root`, a folder with stand-ins for all data sets; `arrays` and `files`, what they hold."""
    made = SimpleNamespace(root=tmp_path / "originals", arrays={}, files={})
    for number, name in enumerate(ALL):
        small(name, monkeypatch)
        rng, dataset = np.random.default_rng(number), DATASETS[name]
        arrays = {}
        for part, count in (("train", TRAIN), ("test", TEST)):
            arrays[f"{part}_images"] = random_images(rng, count, *dataset.shape)
            arrays[f"{part}_labels"] = rng.integers(dataset.classes, size=count)
        files = files_of(name, arrays)
        known = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        changed = published(name)._replace(
            train={file: known[file] for file in published(name).train},
            test={file: known[file] for file in published(name).test},
        )
        monkeypatch.setitem(PUBLISHED, dataset.torchvision, changed)
        lay(name, made.root, files)
        made.arrays[name], made.files[name] = arrays, files
    return made


def assert_read(originals, name: str, folder: Path | None, output: Path) -> None:
    facts = prepare(name, folder, output)
    arrays = read_dataset(output / "dataset.json")
    assert arrays.keys() == originals.arrays[name].keys()
    for key, array in originals.arrays[name].items():
        assert np.array_equal(arrays[key], array)
        assert arrays[key].dtype == (np.uint8 if key.endswith("images") else np.int64)
    assert (facts.train, facts.test) == (TRAIN, TEST)
    assert facts == read_facts(output / "dataset.json")


def assert_refused(name: str, folder: Path, output: Path, message: str) -> None:
    with impatient(), pytest.raises(DataError, match=message):
        prepare(name, folder, output)
    assert not list(output.glob("*"))


# What is read


@EACH
def test_a_folder_of_originals(name, originals, tmp_path):
    before = sorted(originals.root.rglob("*"))
    assert_read(originals, name, originals.root, tmp_path / "prepared")
    assert sorted(originals.root.rglob("*")) == before
    assert sorted(p.name for p in (tmp_path / "prepared").iterdir()) == [
        "data.safetensors", "dataset.json",
    ]  # fmt: skip


@EACH
def test_packed_files_alone_hold_the_same(name, originals, tmp_path):
    lay(name, tmp_path / "packed", originals.files[name], packed=True)
    assert_read(originals, name, tmp_path / "packed", tmp_path / "prepared")
    unpacked = prepare(name, originals.root, tmp_path / "other")
    assert read_facts(tmp_path / "prepared" / "dataset.json") == unpacked


@EACH
@PACKED
def test_the_inner_folder_may_be_named_by_mistake(name, packed, originals, tmp_path):
    if packed and name in GREY:
        shutil.rmtree(inner(name, originals.root))
        lay(name, originals.root, originals.files[name], packed=True)
    elif packed:  # as if unpacked with another tool: one file at a time
        for file in inner(name, originals.root).iterdir():
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
    assert_read(originals, name, inner(name, originals.root), tmp_path / "prepared")


@pytest.mark.parametrize("name", COLOUR)
def test_what_an_archive_was_not_yet_unpacked_to_comes_from_it(name, originals, tmp_path):
    lay(name, originals.root, originals.files[name], packed=True)
    (inner(name, originals.root) / next(iter(published(name).test))).unlink()
    # Strangers beside the archive are not taken for its members.
    (originals.root / next(iter(published(name).test))).write_bytes(b"notes")
    assert_read(originals, name, originals.root, tmp_path / "prepared")


@pytest.mark.parametrize("written", ["~/originals", "$SOME/originals", "${SOME}/originals"])
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_stage_expands_its_folder(written, name, originals, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SOME", str(tmp_path))
    stage(name, written, tmp_path / "prepared")
    arrays = read_dataset(tmp_path / "prepared" / "dataset.json")
    assert np.array_equal(arrays["train_images"], originals.arrays[name]["train_images"])


def test_a_variable_without_a_value_is_named(originals, tmp_path, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(DataError, match=r"There is no folder \$NOWHERE/originals"):
        stage("mnist", "$NOWHERE/originals", tmp_path / "prepared")


def test_the_stage_downloads_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(DataError, match="cannot be downloaded"):
        stage("mnist", "", tmp_path)


def stage(name: str, folder: str, output: Path) -> None:
    """As the workflow does it, up to the shell."""
    args = parse(
        ["prepare_dataset", "--spec", canonical(DatasetSpec(name).to_dict()), "--folder", folder,
         "--output", str(output / "dataset.json"), "--log", os.devnull]
    )  # fmt: skip
    args.run(args)


def no_network(*args, **kwargs):
    raise urllib.error.URLError("no network")


# What is refused: other content


@EACH
@PACKED
def test_altered_labels_are_refused(name, packed, originals, tmp_path):
    """Half of the labels are others, as if somebody had put noise in: all else would fit."""
    arrays = dict(originals.arrays[name])
    labels = arrays["train_labels"].copy()
    labels[::2] = (labels[::2] + 1) % DATASETS[name].classes
    arrays["train_labels"] = labels
    altered = lay(name, tmp_path / "altered", files_of(name, arrays), packed)
    message = f"{name}: .*{re.escape(str(altered))} is not the published file: .*sha256.*Put the"
    assert_refused(name, tmp_path / "altered", tmp_path / "prepared", message)


@pytest.mark.parametrize("name", COLOUR)
@PACKED
def test_an_altered_test_batch_is_refused(name, packed, originals, tmp_path):
    batch = next(iter(published(name).test))
    content = originals.files[name][batch]
    files = originals.files[name] | {batch: content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]}
    lay(name, tmp_path / "altered", files, packed)
    where = f"{batch} in .*tar.gz" if packed else f"{inner(name, tmp_path / 'altered')}/{batch}"
    message = f"{where} is not the published file"
    assert_refused(name, tmp_path / "altered", tmp_path / "prepared", message)


@EACH
@PACKED
def test_a_byte_less_is_refused(name, packed, originals, tmp_path):
    for file, content in originals.files[name].items():
        root = tmp_path / file
        lay(name, root, originals.files[name] | {file: content[:-1]}, packed)
        assert_refused(name, root, tmp_path / "prepared", "is not the published file")


@PACKED
def test_digits_are_no_clothes(packed, originals, tmp_path):
    lay("fashion-mnist", tmp_path / "mixed", originals.files["mnist"], packed)
    message = r"fashion-mnist: .*FashionMNIST/raw/.* is not the published file"
    assert_refused("fashion-mnist", tmp_path / "mixed", tmp_path / "prepared", message)


def test_an_altered_file_is_refused_beside_a_good_archive(originals, tmp_path):
    """Which of the two was meant? Nobody guesses."""
    lay("cifar10", originals.root, originals.files["cifar10"], packed=True)
    batch = inner("cifar10", originals.root) / "data_batch_2"
    batch.write_bytes(b"altered")
    message = f"{batch} is not the published file"
    assert_refused("cifar10", originals.root, tmp_path / "prepared", message)


class Intruder:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@PACKED
def test_a_batch_runs_no_code(packed, originals, tmp_path):
    intruder = pickle.dumps(Intruder(tmp_path / "intruded"))
    files = originals.files["cifar10"] | {"data_batch_1": intruder}
    lay("cifar10", tmp_path / "altered", files, packed)
    message = "is not the published file"
    assert_refused("cifar10", tmp_path / "altered", tmp_path / "prepared", message)
    assert not (tmp_path / "intruded").exists()


def test_other_counts_shapes_or_labels_are_refused(originals, tmp_path, monkeypatch):
    for changes, message in (
        ({"train": 21}, r"train_images have the shape \(20, 3, 32, 32\) instead of \(21"),
        ({"shape": (3, 28, 28)}, r"instead of \(20, 3, 28, 28\)"),
        ({"classes": 2}, "train_labels do not fit: there must be 20 from 0 to 1"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(DATASETS, "cifar10", dataclasses.replace(DATASETS["cifar10"], **changes))
            assert_refused("cifar10", originals.root, tmp_path / "prepared", message)


# What is refused: damaged packing


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def broken_within(content: bytes) -> bytes:
    return content[:20] + b"\xff" * 200 + content[220:]


def checksum_off(content: bytes) -> bytes:
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


def no_gzip(content: bytes) -> bytes:
    return b"<html>404</html>"


def nothing(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut_off, broken_within, no_gzip, nothing])
@EACH
def test_damaged_packing_is_named(name, damage, originals, tmp_path):
    root = tmp_path / "damaged"
    path = lay(name, root, originals.files[name], packed=True)
    path.write_bytes(damage(path.read_bytes()))
    # An empty .gz unpacks to nothing, which is not what was published.
    what = f"{re.escape(str(path))} (cannot be read|is not the published file).*Put the published"
    assert_refused(name, root, tmp_path / "prepared", what)


@pytest.mark.parametrize("name", GREY)
def test_a_gzip_checksum_counts(name, originals, tmp_path):
    path = lay(name, tmp_path / "damaged", originals.files[name], packed=True)
    path.write_bytes(checksum_off(path.read_bytes()))
    message = f"{re.escape(str(path))} cannot be read .*CRC"
    assert_refused(name, tmp_path / "damaged", tmp_path / "prepared", message)


def test_an_archive_without_a_batch_names_it(originals, tmp_path):
    files = dict(originals.files["cifar10"])
    del files["data_batch_3"]
    lay("cifar10", tmp_path / "partial", files, packed=True)
    message = r"cifar-10-python.tar.gz holds no data_batch_3"
    assert_refused("cifar10", tmp_path / "partial", tmp_path / "prepared", message)


def test_links_in_an_archive_lead_nowhere(originals, tmp_path):
    """Though they may have the name of a batch."""
    root = tmp_path / "linked"
    root.mkdir()
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as tar:
        for batch in originals.files["cifar10"]:
            link = tarfile.TarInfo(f"cifar-10-batches-py/{batch}")
            link.type, link.linkname = tarfile.SYMTYPE, str(inner("cifar10", originals.root))
            tar.addfile(link)
    message = r"cifar-10-python.tar.gz holds no data_batch_1"
    assert_refused("cifar10", root, tmp_path / "prepared", message)


# What is refused: missing files


def expected(name: str, root: Path) -> str:
    """The start of the message: the file that was looked for, and what may hold it."""
    file = next(iter(published(name).train))
    archive = published(name).archive
    packed = root / archive if archive else inner(name, root) / f"{file}.gz"
    return re.escape(f"{name}: there is no file {inner(name, root) / file}, and no {packed}. ")


@EACH
def test_a_missing_folder_is_named(name, originals, tmp_path):
    root = tmp_path / "nowhere"
    message = f"{expected(name, root)}There is no folder {root}. Put the published files there"
    assert_refused(name, root, tmp_path / "prepared", message)


@EACH
def test_an_empty_folder_is_named(name, originals, tmp_path):
    root = tmp_path / "empty"
    root.mkdir()
    message = f"{expected(name, root)}{root} is empty."
    assert_refused(name, root, tmp_path / "prepared", message)


@EACH
def test_of_another_layout_the_message_says_what_is_there(name, originals, tmp_path):
    root = tmp_path / "images"
    for folder in range(12):
        (root / f"class{folder:02}").mkdir(parents=True)
    shown = ", ".join(f"class{folder:02}" for folder in range(10))
    message = f"{expected(name, root)}{root} holds {shown}, ...\\."
    assert_refused(name, root, tmp_path / "prepared", message)


@EACH
def test_of_other_names_the_message_says_which(name, originals, tmp_path):
    """As Kaggle has them: train-images.idx3-ubyte."""
    folder = inner(name, originals.root)
    for file in folder.iterdir():
        file.rename(file.with_name(file.name.replace("-", ".").replace("_", "-") + ".bin"))
    shown = ", ".join(sorted(file.name for file in folder.iterdir()))
    message = f"{expected(name, originals.root)}{folder} holds {re.escape(shown)}"
    assert_refused(name, originals.root, tmp_path / "prepared", message)


@EACH
def test_a_single_missing_file_is_named(name, originals, tmp_path):
    for file in originals.files[name]:
        path = inner(name, originals.root) / file
        kept = path.rename(tmp_path / "kept")
        message = re.escape(f"there is no file {path}, and no ")
        assert_refused(name, originals.root, tmp_path / "prepared", message)
        kept.rename(path)


@pytest.mark.parametrize("root", ["file", "FIFO", "dead link", "circle", "x" * 300])
def test_what_is_no_folder_is_said(root, originals, tmp_path):
    path = tmp_path / root
    match root:
        case "file":
            path.write_bytes(b"")
        case "FIFO":
            os.mkfifo(path)
        case "dead link":
            path.symlink_to("nowhere")
        case "circle":
            path.symlink_to(path)
    said = {"file": "is no folder", "FIFO": "is no folder", "dead link": "There is no folder"}
    for name in ALL:
        message = f"{expected(name, path)}.*{said.get(root, 'cannot be read')}"
        assert_refused(name, path, tmp_path / "prepared", message)


def circle(path: Path) -> None:
    path.symlink_to(path)


STRANGERS: list[Callable[[Path], None]] = [os.mkfifo, os.mkdir, circle]


@pytest.mark.parametrize("stranger", STRANGERS)
@EACH
def test_what_is_no_file_is_missing(name, stranger, originals, tmp_path):
    """In every place where a file could lie."""
    root = tmp_path / "strange"
    inner(name, root).mkdir(parents=True)
    places = [
        folder / f"{file}{suffix}"
        for folder in (inner(name, root), root)
        for file in originals.files[name]
        for suffix in ("", ".gz")
    ]
    for path in places + ([root / published(name).archive] if published(name).archive else []):
        stranger(path)
    file = next(iter(published(name).train))
    message = f"{expected(name, root)}{inner(name, root)} holds .*{file}"
    assert_refused(name, root, tmp_path / "prepared", message)


# Downloads


@pytest.fixture
def torchvision():
    return import_torchvision()


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100"])
def test_files_are_named_as_torchvision_names_them(name, torchvision):
    """So that its folders are found, and what it downloads."""
    cls, known = getattr(torchvision.datasets, name), PUBLISHED[name]
    if known.archive:
        assert (known.folder, known.archive) == (cls.base_folder, cls.filename)
        assert [*known.train] == [file for file, _ in cls.train_list]
        assert [*known.test] == [file for file, _ in cls.test_list]
    else:
        assert known.folder == f"{name}/raw"
        assert [f"{file}.gz" for file in (*known.train, *known.test)] == [
            file for file, _ in cls.resources
        ]


def test_checksums_are_of_different_files():
    files = [(part, sha) for p in PUBLISHED.values() for part in p[2:] for sha in part.values()]
    assert len({sha for _, sha in files}) == len(files) == 4 + 4 + 6 + 2
    assert all(re.fullmatch("[0-9a-f]{64}", sha) for _, sha in files)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    for name in ("mnist", "cifar10", "cifar100n"):
        with pytest.raises(DataError, match=r"(?s)no network.*Check the network.*data\.folder"):
            prepare(name, None, tmp_path)


@pytest.fixture
def server(tmp_path):
    """A web server's folder and its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = tmp_path / "server"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield folder, f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()


@pytest.fixture
def served(originals, server, monkeypatch, torchvision):
    """The stand-ins, where torchvision and we download from; to be taken away by a test."""
    folder, address = server
    cls = torchvision.datasets.CIFAR10
    files = originals.files["cifar10"] | {"batches.meta": pickle.dumps({"label_names": ["a"] * 10})}
    archive = lay("cifar10", folder, files, packed=True)
    sums = {file: hashlib.md5(content).hexdigest() for file, content in files.items()}
    monkeypatch.setattr(cls, "url", f"{address}/{archive.name}")
    monkeypatch.setattr(cls, "tgz_md5", md5(archive))
    monkeypatch.setattr(cls, "meta", cls.meta | {"md5": sums["batches.meta"]})
    for part in ("train_list", "test_list"):
        listed = [[file, sums[file]] for file, _ in getattr(cls, part)]
        monkeypatch.setattr(cls, part, listed)

    mnist = torchvision.datasets.MNIST
    lay("mnist", folder, originals.files["mnist"], packed=True)
    monkeypatch.setattr(mnist, "mirrors", [f"{address}/MNIST/raw/"])
    packed = [(file, md5(inner("mnist", folder) / file)) for file, _ in mnist.resources]
    monkeypatch.setattr(mnist, "resources", packed)
    return folder, address


@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")  # torchvision's
@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar10n"])
def test_downloads_are_kept_for_another_time(name, human, served, tmp_path, monkeypatch):
    folder, address = served
    file = DATASETS["cifar10n"].human.file
    shutil.copy(human.root / file, folder / file)
    monkeypatch.setattr(HumanLabels, "url", f"{address}/{file}")

    first = prepare(name, None, tmp_path / "prepared")
    assert first == prepare(name, human.root, tmp_path / "other")
    shutil.rmtree(folder)
    assert prepare(name, None, tmp_path / "prepared") == first


@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")
def test_an_altered_download_is_refused_with_its_own_remedy(served, tmp_path):
    """torchvision looks at what is there already, but for MNIST not into it."""
    prepare("mnist", None, tmp_path)
    path = inner("mnist", tmp_path / "download") / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0b")
    with pytest.raises(DataError, match=f"{path} is not the published file.*Delete it and run"):
        prepare("mnist", None, tmp_path)
    path.unlink()
    prepare("mnist", None, tmp_path)


def test_a_damaged_download_is_refused(server, tmp_path, monkeypatch, torchvision):
    folder, address = server
    (folder / "archive.tar.gz").write_bytes(b"something else")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"{address}/archive.tar.gz")
    message = r"cifar10: CIFAR10 cannot be downloaded.*corrupted.*try again"
    with pytest.raises(DataError, match=message):
        prepare("cifar10", None, tmp_path / "prepared")


# Human labels


@pytest.fixture
def human(originals, monkeypatch):
    """The same with CIFAR-N's files: `labels`, and `write`, which puts others in their place."""
    rng = np.random.default_rng(1)

    def write(name: str, labels: object) -> None:
        path = originals.root / DATASETS[name].human.file
        torch.save(labels, path)
        small(name, monkeypatch, human=dataclasses.replace(DATASETS[name].human, md5=md5(path)))

    def labels(name: str) -> dict[str, np.ndarray]:
        keys = DATASETS[name].human.kinds.values()
        return {"clean_label": originals.arrays[name.removesuffix("n")]["train_labels"]} | {
            key: rng.integers(DATASETS[name].classes, size=TRAIN) for key in keys
        }

    originals.labels = {name: labels(name) for name in ("cifar10n", "cifar100n")}
    originals.write = write
    for name, value in originals.labels.items():
        write(name, value)
    return originals


@pytest.mark.parametrize("name", ["cifar10n", "cifar100n"])
def test_human_labels_of_every_kind(name, human, tmp_path):
    facts = prepare(name, human.root, tmp_path / name)
    arrays = read_dataset(tmp_path / name / "dataset.json")
    kinds = DATASETS[name].human.kinds
    assert facts.human_noise_rates.keys() == kinds.keys()
    for kind, key in kinds.items():
        assert np.array_equal(arrays[f"human_{kind}"], human.labels[name][key])
        rate = noise.realised_rate(arrays[f"human_{kind}"], arrays["train_labels"])
        assert facts.human_noise_rates[kind] == rate
    for key, array in human.arrays[name.removesuffix("n")].items():
        assert np.array_equal(arrays[key], array)


def test_lists_of_labels_are_read_too(human, tmp_path):
    lists = {key: labels.tolist() for key, labels in human.labels["cifar100n"].items()}
    human.write("cifar100n", lists)
    prepare("cifar100n", human.root, tmp_path)
    labels = read_dataset(tmp_path / "dataset.json")["human_noisy"]
    assert np.array_equal(labels, human.labels["cifar100n"]["noisy_label"])


def test_human_labels_of_other_images_are_refused(human, tmp_path):
    labels = human.labels["cifar10n"]
    for changed, message in (
        (
            labels | {"clean_label": np.roll(labels["clean_label"], 1)},
            r"CIFAR-10_human.pt: its clean labels are not those of CIFAR10",
        ),
        (labels | {"worse_label": np.full(TRAIN, 10)}, "human_worse do not fit"),
        (labels | {"worse_label": np.full(TRAIN, -1)}, "human_worse do not fit"),
        (labels | {"worse_label": np.zeros(TRAIN - 1, int)}, "human_worse do not fit"),
        (
            {"clean_label": labels["clean_label"]},
            r"CIFAR-10_human.pt cannot be read.*aggre_label",
        ),
    ):
        human.write("cifar10n", changed)
        assert_refused("cifar10n", human.root, tmp_path / "prepared", message)


def test_missing_or_altered_human_labels_are_refused(human, tmp_path):
    path = human.root / "CIFAR-10_human.pt"
    path.write_bytes(path.read_bytes() + b"!")
    message = r"CIFAR-10_human.pt is not the published file: .*md5.*published at https://"
    assert_refused("cifar10n", human.root, tmp_path / "prepared", message)
    path.unlink()
    message = (
        rf"cifar10n: there is no {path}, .*human labels. {human.root} holds .*cifar-10-batches-py"
        r".*published at https://"
    )
    assert_refused("cifar10n", human.root, tmp_path / "prepared", message)
    for stranger in STRANGERS:
        stranger(path)
        assert_refused("cifar10n", human.root, tmp_path / "prepared", message)
        os.rmdir(path) if path.is_dir() else path.unlink()


def test_a_label_file_runs_no_code(human, tmp_path):
    intruder = Intruder(tmp_path / "intruded")
    human.write("cifar10n", human.labels["cifar10n"] | {"aggre_label": intruder})
    message = r"CIFAR-10_human.pt cannot be read"
    assert_refused("cifar10n", human.root, tmp_path / "prepared", message)
    assert not (tmp_path / "intruded").exists()
