"""What a GPU does: images a second of the paper's models, what pays there, and whether bits repeat.

Made to run in one go of under ten minutes. The peak is that of a large bfloat16 matrix product
in the same run. Without CUDA the same code runs on the CPU with a few images, to be tested, and its
times say nothing: they are "not measured".
"""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import loops
import ours
import photographs
import pytest
import torch
from measure import take_turns

import sdd
from sdd.machine import devices
from sdd.models.build import seeded
from sdd.sparsity import cost
from sdd.sparsity.masks import apply, dense_masks, prunable
from sdd.training.loop import cross_entropy, train

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read as CUDA starts
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
WHERE = torch.cuda.get_device_name() if CUDA else "the CPU, to test this benchmark"
SGD = photographs.RECIPE
ADAMW = replace(SGD, optimizer="adamw", learning_rate=1e-4, weight_decay=0.03, batch_size=512)
# The recipe, and how many images an epoch has.
MODELS = {"resnet18": (SGD, 12_800), "vgg-5-5": (SGD, 45_056), "vit": (ADAMW, 10_240)}
TURNS = 3 if CUDA else 1
SIDE_BY_SIDE = (1, 2, 4)  # trainings on a card
SECONDS = 20  # that each of them takes


def few(name: str):
    """The recipe of a model, and a number of images: a few without CUDA."""
    recipe, count = MODELS[name]
    return (recipe, count) if CUDA else (replace(recipe, batch_size=4), 8)


def fast(name: str, recipe):
    return replace(recipe, precision="bfloat16", channels_last=name != "vit")


def placed(name: str, recipe):
    return photographs.build(name, channels_last=recipe.channels_last is True).to(DEVICE)


def measured(text: str) -> str:
    return text if CUDA else "not measured"


def synchronised(run):
    def call() -> None:
        run()
        if CUDA:
            torch.cuda.synchronize()

    return call


def with_tf32(run):
    def call() -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        try:
            run()
        finally:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    return call


@pytest.fixture(autouse=True)
def full_precision():
    """float32 is that, unless a side says otherwise: cuDNN would take TF32 by itself."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def peak() -> float:
    """FLOP a second, a multiply-accumulate counted as two."""
    size = 8192 if CUDA else 64
    a, b = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    timing = take_turns({"product": synchronised(lambda: a @ b)}, 20, time.perf_counter)
    return 2 * size**3 / min(timing.seconds["product"])


def epoch(name: str, recipe, samples, labels, captured: bool = False):
    """Ours, masked as a sparse round is. What a capture takes, once a training, is in an epoch."""
    model, run = placed(name, recipe), ours.one_epoch(recipe)
    masks = {n: torch.rand(m.shape, device=DEVICE) < 0.8 for n, m in dense_masks(model).items()}
    apply(prunable(model), masks)
    generator = torch.Generator().manual_seed(0)

    def call() -> None:
        train(
            model, masks, samples, labels, labels, run, cross_entropy(labels),
            generator=generator, report=lambda epoch: None, captured=captured,
        )  # fmt: skip

    return synchronised(call)


@pytest.mark.parametrize("name", MODELS)
def test_images_a_second(name, peak, show):
    recipe, count = few(name)
    images, labels = photographs.make(count), (torch.arange(count) % 10).to(DEVICE)
    step_macs = cost.count(photographs.build(name), photographs.SHAPE).step_macs
    samples, ready = (
        photographs.place(images, device=DEVICE, normalised=normalised)
        for normalised in (False, True)
    )
    better = fast(name, recipe)
    plain = loops.plain(
        placed(name, recipe), dense_masks(placed(name, recipe)), ready.images, labels, recipe
    )
    sides = {
        "float32": epoch(name, recipe, samples, labels),
        "TF32": with_tf32(epoch(name, recipe, samples, labels)),
        "bfloat16": epoch(name, better, samples, labels),
        "plain, without augmentation": synchronised(plain),
        "plain, TF32": with_tf32(synchronised(plain)),
    }
    if CUDA:  # there is no graph without
        sides["float32, captured"] = epoch(name, recipe, samples, labels, captured=True)
        sides["bfloat16, captured"] = epoch(name, better, samples, labels, captured=True)
    timing = take_turns(sides, TURNS, time.perf_counter)
    rows = [
        {
            "loop": side,
            "images/s": measured(f"{count / timing.median(side):,.0f}"),
            "times float32": measured(timing.spread(side, "float32")),
            "of the bf16 peak": measured(
                f"{200 * step_macs * count / timing.median(side) / peak:.1f} %"
            ),
        }
        for side in timing.seconds
    ]
    if not CUDA:
        nothing = dict.fromkeys(("images/s", "times float32", "of the bf16 peak"), "not measured")
        rows += [{"loop": f"{side}, captured", **nothing} for side in ("float32", "bfloat16")]
    rows.append(
        {
            "loop": "bf16 peak", "images/s": "", "times float32": "",
            "of the bf16 peak": measured(f"{peak / 1e12:.0f} TFLOP/s"),
        }
    )  # fmt: skip
    show(f"{name}, batches of {recipe.batch_size}, masked, on {WHERE}", rows)
    assert all(seconds > 0 for taken in timing.seconds.values() for seconds in taken)


def final_state(name: str, recipe, *, resumed: bool, captured: bool = False):
    """The weights after two epochs, undisturbed or taken up after the first; dropout included."""
    count = 8 * recipe.batch_size
    samples = photographs.place(photographs.make(count), device=DEVICE)
    labels, kept = (torch.arange(count) % 10).to(DEVICE), []

    def whole(start=None):
        model = placed(name, recipe)
        with seeded(3):
            if CUDA:
                torch.cuda.manual_seed_all(3)
            train(
                model, dense_masks(model), samples, labels, None,
                replace(recipe, epochs=2, schedule="constant"), cross_entropy(labels),
                generator=torch.Generator().manual_seed(1), report=lambda epoch: None,
                start=start, keep=kept.append, captured=captured,
            )  # fmt: skip
        return model.state_dict()

    state = whole()
    return whole(kept[0]) if resumed else state


def same_bits(one, other) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(params=[False, True])
def deterministic(request):
    if request.param:
        devices.only_deterministic()
    yield request.param
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", MODELS)
def test_whether_bits_repeat(name, deterministic, show):
    recipe, _ = few(name)
    recipe = fast(name, replace(recipe, batch_size=min(recipe.batch_size, 64)))
    first = final_state(name, recipe, resumed=False)
    found = {
        "a second run": same_bits(first, final_state(name, recipe, resumed=False)),
        "a resumed run": same_bits(first, final_state(name, recipe, resumed=True)),
    }
    if CUDA:
        captured = final_state(name, recipe, resumed=False, captured=True)
        found["a captured run"] = same_bits(first, captured)
    show(
        f"{name} in bfloat16 on {WHERE}, deterministic: {str(deterministic).lower()}",
        [{"against a first run": run, "same bits": same} for run, same in found.items()],
    )
    if deterministic or not CUDA:  # where the project promises it
        assert all(found.values())


ALONE = """
import sys, time
import photographs, test_gpu as t, torch
recipe, count = t.few("vgg-5-5")
recipe = t.fast("vgg-5-5", recipe)
samples = photographs.place(photographs.make(count), device=t.DEVICE)
labels = (torch.arange(count) % 10).to(t.DEVICE)
run = t.epoch("vgg-5-5", recipe, samples, labels)
run()
print("ready", flush=True)
sys.stdin.readline()
started, images = time.perf_counter(), 0
while time.perf_counter() - started < float(sys.argv[1]):
    run()
    images += count
print(images / (time.perf_counter() - started))
"""


def test_trainings_that_share_a_card(show):
    """Processes side by side, as trainings_per_gpu has them; with and without MPS as it is here."""
    places = (Path(sdd.__file__).parent.parent, Path(__file__).parent)
    rows = []
    for number in SIDE_BY_SIDE if CUDA else (1,):
        jobs = [
            subprocess.Popen(
                [sys.executable, "-c", ALONE, str(SECONDS if CUDA else 0.1)],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(number)
        ]  # fmt: skip
        for job in jobs:
            assert job.stdout.readline() == "ready\n"
        for job in jobs:
            job.stdin.write("\n")
            job.stdin.flush()
        rates = [float(job.communicate()[0]) for job in jobs]
        assert all(rate > 0 for rate in rates)
        rows.append({"trainings": number, "images/s": measured(f"{sum(rates):,.0f}")})
    if not CUDA:
        rows += [{"trainings": n, "images/s": "not measured"} for n in SIDE_BY_SIDE[1:]]
    show(f"Trainings of vgg-5-5 in bfloat16 that share {WHERE}", rows)
