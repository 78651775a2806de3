"""Data of the user's own: a file or a folder, as it is surveyed, prepared and labelled."""

import io
import os
import zipfile

import numpy as np
import pytest
from patience import impatient
from PIL import Image

from sdd.base.errors import DataError
from sdd.data import labelling, own, preparation
from sdd.data.arrays import read_dataset
from sdd.data.labels import read_labels
from sdd.data.settings import DatasetSpec, LabelsSpec, Noise, Validation

CLASSES, SIZE = 3, 6


def arrays(train=30, test=12, channels=None, **changes):
    """Made-up images [N, H, W], or [N, C, H, W]; one given label in five is wrong."""
    rng = np.random.default_rng(0)
    shape = (SIZE, SIZE) if channels is None else (channels, SIZE, SIZE)
    made = {"train_true_labels": np.arange(train) % CLASSES}
    for part, count in (("train", train), ("test", test)):
        made[f"{part}_images"] = rng.integers(0, 256, (count, *shape), np.uint8)
        made[f"{part}_labels"] = np.arange(count) % CLASSES
    made["train_labels"][::5] = (made["train_labels"][::5] + 1) % CLASSES
    made |= changes
    return {key: value for key, value in made.items() if value is not None}


def saved(folder, **made):
    path = folder / "my_data.npz"
    np.savez(path, **made)
    return path


def survey(source, size=None):
    return own.survey("my_data", source, size)


def prepared(source, output, size=None):
    """The facts on a data set of one's own and its arrays, through the file that jobs read."""
    known = survey(source, size)
    spec = DatasetSpec("my_data", True, known.image_size, known.content)
    facts = preparation.prepare(spec, source, output / "dataset.json")
    return facts, read_dataset(output / "dataset.json")


def labelled(output, kind="given", rate=0.0, seed=1, subset=None, validation="clean"):
    spec = LabelsSpec(Noise(kind, rate), Validation(0.2, validation), seed, subset)
    path = output / f"{kind}{seed}{subset}{validation}" / "labels.json"
    return labelling.make(spec, output / "dataset.json", path), read_labels(path)


# --- A file ---


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("last", [False, True])
def test_images_in_every_layout_become_channels_first(tmp_path, channels, last):
    made = arrays(channels=channels)
    stored = dict(made)
    if last:
        for key in ("train_images", "test_images"):
            axes = made[key] if channels else made[key][:, None]
            stored[key] = np.moveaxis(axes, 1, 3)
    known = survey(saved(tmp_path, **stored))
    assert (known.shape, known.classes) == ((channels or 1, SIZE, SIZE), CLASSES)
    assert (known.train, known.test, known.validation, known.own) == (30, 12, 0, True)
    _, read = prepared(saved(tmp_path, **stored), tmp_path)
    for key in ("train_images", "test_images"):
        expected = made[key] if channels else made[key][:, None]
        assert read[key].dtype == np.uint8 and np.array_equal(read[key], expected)


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path):
    made = arrays(channels=3)
    made["train_images"][:, 2] = 51  # without any contrast
    facts, _ = prepared(saved(tmp_path, **made), tmp_path)
    pixels = made["train_images"] / 255
    assert facts.mean == pytest.approx(pixels.mean((0, 2, 3)))
    assert facts.std == pytest.approx([*pixels[:, :2].std((0, 2, 3)), 1.0])


def test_class_names_are_kept_and_may_name_more_than_the_images_show(tmp_path):
    names = np.array(["cat", "dog", "eel", "fox"])
    facts, _ = prepared(saved(tmp_path, **arrays(class_names=names)), tmp_path)
    assert facts.class_names == tuple(names) and facts.classes == 4


def test_the_same_arrays_are_the_same_content_wherever_and_however_packed(tmp_path):
    before = survey(saved(tmp_path, **arrays())).content
    packed = tmp_path / "elsewhere.npz"
    np.savez_compressed(packed, **dict(reversed(arrays().items())))
    assert survey(packed).content == before
    for key, value in arrays().items():
        changed = value.copy()
        changed[0] = (changed[0] + 1) % CLASSES
        assert survey(saved(tmp_path, **arrays(**{key: changed}))).content != before, key


def test_a_file_that_changes_after_planning_is_not_prepared(tmp_path):
    spec = DatasetSpec("my_data", True, None, survey(saved(tmp_path, **arrays())).content)
    changed = saved(tmp_path, **arrays(train=33))
    with pytest.raises(DataError, match=r"my_data\.npz has changed since"):
        preparation.prepare(spec, changed, tmp_path / "dataset.json")


WRONG = {
    "no test images": ({"test_images": None}, "holds no test_images. It must hold train_images"),
    "misspelt": (
        {"train_true_label": np.arange(30)},
        "holds train_true_label, which is not known. Did you mean train_true_labels",
    ),
    "half a validation set": (
        {"validation_labels": np.zeros(3, int)}, "validation_images or validation_labels",
    ),
    "images of floats": (
        {"test_images": np.zeros((12, 6, 6))}, "test_images is of type float64; .* hold uint8",
    ),
    "labels of floats": ({"train_labels": np.zeros(30)}, "train_labels is of type float64"),
    "pickled": (
        {"train_labels": np.array([None] * 30)}, "train_labels is of type object, which is pickled",
    ),
    "names that are numbers": ({"class_names": np.arange(3)}, "class_names is of type int64"),
    "a name twice": ({"class_names": np.array(["a", "a", "b"])}, "class_names must be one row"),
    "no squares": (
        {"train_images": np.zeros((30, 6, 7), np.uint8)}, r"train_images has .* \[30, 6, 7\]",
    ),
    "other images to test on": (
        {"test_images": np.zeros((12, 7, 7), np.uint8)}, r"test_images are of \[1, 7, 7\] .*",
    ),
    "no images": (
        {"test_images": np.zeros((0, 6, 6), np.uint8), "test_labels": np.zeros(0, int)},
        "test_images is empty",
    ),
    "too few labels": ({"train_labels": np.zeros(29, int)}, r"train_labels has the shape \[29\]"),
    "a table of labels": ({"test_labels": np.zeros((12, 1), int)}, r"test_labels .* \[12, 1\]"),
    "a negative label": ({"test_labels": np.arange(12) % 3 - 1}, "test_labels run from -1 to 1"),
    "a negative true label": (
        {"train_true_labels": np.arange(30) % 3 - 1}, "train_true_labels run from -1 to 1",
    ),
    "a test label that nobody trains on": (
        {"test_labels": np.arange(12)}, "test_labels run from 0 to 11; they must lie in 0 to 2",
    ),
    "classes from 1": (
        {"train_true_labels": None, "train_labels": np.arange(30) % 3 + 1},
        "train_labels hold no class 0, but class 3: classes count from 0",
    ),
    "more labels than names": (
        {"class_names": np.array(["a", "b"])}, "labels run from 0 to 2; they must lie in 0 to 1",
    ),
    "one class": (
        {"train_true_labels": None, "train_labels": np.zeros(30, int)}, "hold one class only",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named_with_its_file(tmp_path, case):
    changes, words = WRONG[case]
    source = saved(tmp_path, **arrays(**changes))
    with pytest.raises(DataError, match=rf"(?s)my_data\.npz.*{words}"):
        survey(source)


@pytest.mark.parametrize("damage", ["missing", "no archive", "cut off", "altered", "a FIFO", "odd"])
def test_a_damaged_file_is_named(tmp_path, damage):
    source = saved(tmp_path, **arrays())
    content = bytearray(source.read_bytes())
    source.unlink()
    if damage == "no archive":
        source.write_bytes(b"\x93NUMPY")
    elif damage == "cut off":
        source.write_bytes(content[: len(content) // 2])
    elif damage == "altered":
        content[content.index(b"train_true_labels.npy") + 200] ^= 1
        source.write_bytes(content)
    elif damage == "a FIFO":
        os.mkfifo(source)
    elif damage == "odd":  # members that are no arrays
        with zipfile.ZipFile(source, "w") as archive:
            for key in own.REQUIRED:
                archive.writestr(key, b"")
    with impatient(), pytest.raises(DataError, match=r"my_data\.npz"):
        prepared(source, tmp_path)


# --- A folder ---


def drawn(folder, classes=("cat", "dog"), parts=("train", "test"), each=3):
    for part in parts:
        for number, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for k in range(each):
                colour = (255 * number, 10 * k, 0)
                Image.new("RGB", (8, 5), colour).save(folder / part / name / f"{k}.png")
    return folder


def test_a_folder_of_images_is_scaled_and_labelled_by_its_folders(tmp_path):
    source = drawn(tmp_path / "animals", parts=("train", "test", "validation"))
    nested = source / "train" / "dog" / "2026"
    nested.mkdir()
    Image.new("L", (4, 4), 7).save(nested / "grey.PNG")
    # Nothing of these is a class or an image.
    (source / "train" / ".ipynb_checkpoints").mkdir()
    (source / "train" / "cat" / "._0.png").write_bytes(b"macOS")
    (source / "train" / "cat" / "notes.txt").write_text("about cats")
    facts, read = prepared(source, tmp_path / "out", 4)
    assert facts.class_names == ("cat", "dog") and facts.shape == (3, 4, 4)
    assert read["train_labels"].tolist() == [0] * 3 + [1] * 4
    assert read["validation_labels"].tolist() == [0] * 3 + [1] * 3
    assert not facts.truth_known
    assert read["train_images"][2, :, 0, 0].tolist() == [0, 20, 0]
    assert read["train_images"][6].ravel().tolist() == [7] * 48


def test_a_folder_is_what_its_images_hold_wherever_it_lies(tmp_path):
    before = survey(drawn(tmp_path / "a"), 4).content
    moved = drawn(tmp_path / "b")
    assert survey(moved, 4).content == before
    (moved / "test" / "cat" / "0.png").rename(moved / "test" / "dog" / "9.png")
    assert survey(moved, 4).content != before


def bad_image(folder):
    (folder / "train" / "cat" / "0.png").write_bytes(b"no image")


def empty_class(folder):
    (folder / "train" / "eel").mkdir()


BAD_FOLDERS = {
    "no test": (lambda f: (f / "test").rename(f / "tests"), "holds no folder test"),
    "another class": (lambda f: (f / "test" / "eel").mkdir(), "test/eel is a class that .*train"),
    "a class without images": (empty_class, "train/eel holds no images"),
    "no image": (bad_image, r"train/cat/0\.png cannot be read as an image"),
    "one class": (
        lambda f: [(f / part / "dog").rename(f / f"{part}-dog") for part in ("train", "test")],
        "train holds 1 folders",
    ),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_folder_that_is_none_is_named(tmp_path, case):
    change, words = BAD_FOLDERS[case]
    source = drawn(tmp_path / "animals")
    change(source)
    with pytest.raises(DataError, match=words):
        prepared(source, tmp_path / "out", 4)


# --- A folder with a list of the true labels ---

LISTED = [
    ("cat/0", "cat"), ("cat/1", "dog"), ("cat/2", "cat"),
    ("dog/0", "dog"), ("dog/1", "cat"), ("dog/2", "dog"),
]  # fmt: skip


def with_truth(folder, lines=None, header="path,label", name="true_labels.csv"):
    """Two of six training images lie in the wrong folder."""
    source = drawn(folder)
    images = LISTED[::-1] if lines is None else lines  # in any order
    text = "".join(f"train/{path}.png,{label}\n" for path, label in images)
    (source / name).write_text(f"{header}\n{text}", "utf-8")
    return source


def test_a_folder_may_list_the_true_labels_of_its_training_images(tmp_path):
    source = with_truth(tmp_path / "animals")
    facts, read = prepared(source, tmp_path, 4)
    assert facts.truth_known
    assert read["train_labels"].tolist() == [0, 0, 0, 1, 1, 1]
    assert read["train_true_labels"].tolist() == [0, 1, 0, 1, 0, 1]
    made, labels = labelled(tmp_path)
    wrong = read["train_labels"] != read["train_true_labels"]
    assert made.realised_rate == wrong[labels.train_index].mean()


def test_the_list_counts_as_what_it_says_wherever_the_folder_lies(tmp_path):
    before = survey(with_truth(tmp_path / "a"), 4).content
    assert survey(with_truth(tmp_path / "b"), 4).content == before
    assert survey(drawn(tmp_path / "c"), 4).content != before
    corrected = [*LISTED[:4], ("dog/1", "dog"), LISTED[5]]
    assert survey(with_truth(tmp_path / "d", corrected[::-1]), 4).content != before


BAD_LISTS = {
    "an image left out": ({"lines": LISTED[1:]}, "true_labels.csv lacks train/cat/0.png"),
    "nothing listed": ({"lines": []}, r"lacks train/cat/0\.png, .*It must hold a line for every"),
    "no such image": (
        {"lines": [*LISTED, ("cat/3", "cat")]},
        r"line 8: there is no training image 'train/cat/3\.png'\. Did you mean train/cat/",
    ),
    "an image twice": ({"lines": [*LISTED, LISTED[0]]}, r"line 8: train/cat/0\.png stands in it"),
    "no such class": (
        {"lines": [("cat/0", "eel"), *LISTED[1:]]},
        r"line 2: there is no class 'eel'\. There are: cat, dog",
    ),
    "other columns": ({"header": "file,label"}, "must begin with the line path,label, not"),
    "a column more": (
        {"lines": [("cat/0", "cat,1"), *LISTED[1:]]}, "line 2: there must be a path and a label",
    ),
    "another name": ({"name": "true_label.csv"}, r"true_label\.csv: true labels are listed"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_LISTS)
def test_a_list_that_is_not_whole_is_named_with_its_line(tmp_path, case):
    changes, words = BAD_LISTS[case]
    with pytest.raises(DataError, match=words):
        survey(with_truth(tmp_path / "animals", **changes), 4)


def test_other_files_beside_it_are_none_of_our_business(tmp_path):
    before = survey(with_truth(tmp_path / "a"), 4).content
    for name in ("train_labels.csv", "labels.csv", "README.txt"):
        (tmp_path / "a" / name).write_text("something else", "utf-8")
    assert survey(tmp_path / "a", 4).content == before


def test_a_list_that_is_no_text_is_named(tmp_path):
    source = with_truth(tmp_path / "animals")
    (source / "true_labels.csv").write_bytes(b"path,label\n\xff")
    with pytest.raises(DataError, match=r"true_labels\.csv cannot be read as a list"):
        survey(source, 4)


def test_a_folder_without_a_size_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"datasets\.my_data: a folder of images needs image_size"):
        survey(drawn(tmp_path / "animals"))


# --- Labels ---


def test_given_labels_are_as_they_are_and_their_noise_is_known(tmp_path):
    made = arrays()
    prepared(saved(tmp_path, **made), tmp_path)
    facts, labels = labelled(tmp_path)
    assert np.array_equal(labels.train_labels, made["train_labels"][labels.train_index])
    assert np.array_equal(labels.train_true_labels, made["train_true_labels"][labels.train_index])
    wrong = labels.train_labels != labels.train_true_labels
    assert facts.realised_rate == wrong.mean() and 0 < facts.realised_rate < 0.4
    # What is held out has its true labels, or is noisy like the rest.
    place = labels.validation_index
    assert np.array_equal(labels.validation_labels, made["train_true_labels"][place])
    _, noisy = labelled(tmp_path, validation="noisy")
    assert np.array_equal(noisy.validation_labels, made["train_labels"][place])


def test_noise_is_put_into_the_true_labels_where_they_are_known(tmp_path):
    made = arrays()
    prepared(saved(tmp_path, **made), tmp_path)
    facts, labels = labelled(tmp_path, "symmetric", 0.5)
    assert facts.realised_rate == 0.5
    assert np.array_equal(labels.train_true_labels, made["train_true_labels"][labels.train_index])
    assert labelled(tmp_path, "clean")[0].realised_rate == 0


@pytest.mark.parametrize(("kind", "rate"), [("given", 0), ("clean", 0), ("symmetric", 0.5)])
def test_without_true_labels_the_rate_is_unknown_and_not_zero(tmp_path, kind, rate):
    made = arrays(train_true_labels=None)
    facts, _ = prepared(saved(tmp_path, **made), tmp_path)
    assert not facts.truth_known
    facts, labels = labelled(tmp_path, kind, rate)
    assert facts.realised_rate is None and labels.train_true_labels is None
    changed = labels.train_labels != made["train_labels"][labels.train_index]
    assert changed.mean() == rate


def test_own_images_to_validate_on_leave_all_others_to_train_on(tmp_path):
    own_part = {
        "validation_images": np.full((4, SIZE, SIZE), 9, np.uint8),
        "validation_labels": np.array([2, 1, 0, 2], np.uint8),
    }
    facts, read = prepared(saved(tmp_path, **arrays(), **own_part), tmp_path)
    assert read["validation_images"].shape == (4, 1, SIZE, SIZE)
    facts, labels = labelled(tmp_path)
    assert labels.train_index.tolist() == list(range(30)) and facts.validation_images == 4
    assert labels.validation_index.tolist() == [0, 1, 2, 3]
    assert labels.validation_labels.tolist() == [2, 1, 0, 2]


def test_a_subset_is_stratified_and_the_same_for_every_seed(tmp_path):
    prepared(saved(tmp_path, **arrays(train_labels=np.arange(30) % CLASSES)), tmp_path)
    (facts, one), (_, two) = (labelled(tmp_path, seed=seed, subset=15) for seed in (1, 2))
    assert (facts.train_images, facts.validation_images) == (12, 3)
    used = np.concatenate([one.train_index, one.validation_index])
    assert len(set(used)) == 15 and np.bincount(used % CLASSES).tolist() == [5, 5, 5]
    assert np.array_equal(one.train_index, two.train_index)
    assert np.array_equal(one.validation_index, two.validation_index)


def test_a_subset_of_a_known_data_set_leaves_the_whole_one_as_it_was(data, tmp_path):
    def make(subset):
        spec = LabelsSpec(Noise("symmetric", 0.4), Validation(0.125, "clean"), 1, subset)
        path = tmp_path / str(subset) / "labels.json"
        return labelling.make(spec, data / "dataset.json", path), read_labels(path)

    whole, part = make(None), make(1000)
    assert part[0].train_images == 875 and part[0].realised_rate == 0.4
    assert set(np.bincount(part[1].validation_labels)) == {12, 13}
    assert np.array_equal(whole[1].train_labels, read_labels(data / "labels.json").train_labels)
    with pytest.raises(DataError, match=r"train_images: 4,001 of the 4,000"):
        make(4001)


def test_an_array_is_never_unpickled(tmp_path):
    """Neither is a member that says that it holds numbers, and then does not."""
    source = saved(tmp_path, **arrays())
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}] * 30), allow_pickle=True)
    with zipfile.ZipFile(source, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("train_labels.npy", buffer.getvalue())
    with pytest.raises(DataError, match="train_labels is of type object, which is pickled"):
        survey(source)
