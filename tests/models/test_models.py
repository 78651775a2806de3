"""The models: sizes, cost and computations against references, and which names are refused."""

import re

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sdd.base.errors import StudyError
from sdd.data.originals import import_torchvision
from sdd.models import build as models
from sdd.models import names, vgg, vit

torch.set_num_threads(1)

# name, channels, size, classes, parameters, weights of Conv2d and Linear, millions of MACs
FACTS = [
    ("lenet-300-100", 1, 28, 10, 266_610, 266_200, 0.2662),
    ("resnet18", 3, 32, 10, 11_173_962, 11_164_352, 555.4),
    ("resnet18-maxpool", 3, 32, 10, 11_173_962, 11_164_352, 140.2),
    ("resnet18", 3, 32, 100, 11_220_132, 11_210_432, 555.5),
    ("vit", 3, 32, 10, 9_523_722, 9_466_880, 641.0),
    ("vit", 3, 32, 100, 9_569_892, 9_512_960, 641.0),
    ("vgg-5-5", 3, 32, 10, 4_967_082, 4_961_120, 67.2),
    ("vgg-5-5", 3, 32, 100, 7_225_092, 7_219_040, 69.5),
    ("vgg-5-5-averaged", 3, 32, 10, 4_967_082, 4_961_120, 67.2),
    ("vgg-5-5-averaged", 3, 32, 100, 7_225_092, 7_219_040, 69.5),
    ("mlp-300-100", 1, 28, 10, 266_610, 266_200, 0.2662),
    ("mlp-20-5", 1, 8, 4, 1429, 1400, 0.0014),
    ("resnet18-64", 3, 32, 10, 11_173_962, 11_164_352, 555.4),
    ("resnet20-16", 3, 32, 10, 272_474, 270_896, 40.8),
    ("vit-512-6", 3, 32, 10, 9_523_722, 9_466_880, 641.0),
]
EACH = pytest.mark.parametrize("facts", FACTS, ids=lambda facts: f"{facts[0]}, {facts[3]} classes")
NAMES = [
    "lenet-300-100", "resnet18", "resnet18-maxpool", "vit", "vgg-2-3", "vgg-2-3-averaged",
    "mlp-7-5", "resnet18-4", "resnet20-4", "vit-64-2",
]  # fmt: skip


def build(name: str, channels: int = 3, size: int = 32, classes: int = 10, seed: int = 0):
    return models.build(name, channels=channels, size=size, classes=classes, seed=seed)


def on_meta(name: str, channels: int = 3, size: int = 32, classes: int = 10) -> nn.Module:
    with torch.device("meta"):
        return build(name, channels, size, classes)


@EACH
def test_parameters_and_prunable_weights(facts):
    name, channels, size, classes, parameters, weights, _ = facts
    model = on_meta(name, channels, size, classes)
    prunable = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(w.numel() for w in prunable) == weights


@EACH
def test_macs_of_an_image(facts):
    name, channels, size, classes, _, _, millions = facts
    model = on_meta(name, channels, size, classes)
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, channels, size, size, device="meta"))
    digits = len(str(millions).partition(".")[2])
    assert round(counter.get_total_flops() / 2e6, digits) == millions


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "size", "classes"), [(3, 32, 100), (1, 28, 10)])
def test_images_become_logits(name, channels, size, classes):
    model = build(name, channels, size, classes).eval()
    with torch.inference_mode():
        logits = model(torch.randn(2, channels, size, size))
    assert logits.shape == (2, classes)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_the_weights(name):
    torch.manual_seed(1)
    first = build(name, seed=7).state_dict()
    torch.manual_seed(2)
    again, other = build(name, seed=7).state_dict(), build(name, seed=8).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_no_global_random_state_moves(name, monkeypatch):
    def refuse(seed):
        raise AssertionError("torch.manual_seed reseeds every accelerator too")

    before = torch.get_rng_state()
    monkeypatch.setattr(torch, "manual_seed", refuse)
    build(name)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_a_generic_pruner_finds_every_matrix(name):
    model = on_meta(name)
    plain = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.LayerNorm)
    owned = {id(p) for m in model.modules() if type(m) in plain for p in m.parameters(False)}
    others = {key for key, p in model.named_parameters() if id(p) not in owned}
    assert others == ({"cls_token", "position"} if name.startswith("vit") else set())


@pytest.mark.parametrize(
    "name",
    [
        "resnet", "vgg-5", "vgg-5-5-5", "vgg-a-5", "xvit", "vgg--5-5", "vgg-0-1", "vgg-5-0",
        "vgg-05-5", "vgg-5-5\n", "vgg-٥-5", "vgg-1000000000-1", "vgg-5-5-average",
        "vgg-5-averaged", "vgg-5-0-averaged", "vgg-5-5-averaged-averaged", "",
    ],
)  # fmt: skip
def test_an_unknown_name_lists_the_known_ones(name):
    message = f"no model {re.escape(repr(name))}.*resnet18-maxpool.*vgg-<gamma>-<del"
    with pytest.raises(StudyError, match=message):
        build(name)
    with pytest.raises(StudyError, match=message):
        names.check(name, 32)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_checked_can_be_built(name):
    names.check(name, 32)
    assert isinstance(build(name), nn.Module)


@pytest.mark.parametrize("name", ["resnet18", "resnet18-maxpool"])
def test_resnet_is_torchvisions_behind_its_stem(name):
    import_torchvision()
    from torchvision.models import resnet18

    reference = resnet18(num_classes=10).eval()
    reference.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    if name == "resnet18":
        reference.maxpool = nn.Identity()
    model = build(name).eval()
    state = {k.replace("shortcut", "downsample"): v for k, v in model.state_dict().items()}
    reference.load_state_dict(state)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), reference(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dim", [64, 192, 512])
def test_attention_is_torchs_multi_head_attention(dim):
    attention = vit.Attention(dim).eval()
    reference = nn.MultiheadAttention(dim, dim // 64, batch_first=True).eval()
    with torch.inference_mode():
        reference.in_proj_weight.copy_(attention.qkv.weight)
        reference.in_proj_bias.zero_()
        reference.out_proj.weight.copy_(attention.out.weight)
        reference.out_proj.bias.copy_(attention.out.bias)
        x = torch.randn(2, 65, dim)
        expected, _ = reference(x, x, x)
        torch.testing.assert_close(attention(x), expected, rtol=1e-4, atol=1e-5)


def test_vit_sees_patches_of_four_pixels():
    model = build("vit").eval()
    image = torch.randn(1, 3, 32, 32)
    seen = []
    model.embed.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.inference_mode():
        model(image)
    assert seen[0].shape == (1, 64, 48)
    # Patch 9 is the second of the second row.
    assert torch.equal(seen[0][0, 9].view(3, 4, 4), image[0, :, 4:8, 4:8])


def test_vit_drops_out_in_training_only():
    model = build("vit").eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model(image), model(image))
        model.train()
        assert not torch.equal(model(image), model(image))
    rates = [m.p for m in model.modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.1] * (1 + 3 * vit.DEPTH)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit-100-6", "heads have 64 dimensions: take a multiple of that instead of 100"),
        ("vit-64-1001", "1001 layers, and 1000 is the limit"),
        ("vit-8256-1", "8256 units is wider than 8192"),
        ("resnet18-1025", "8200 units is wider than 8192"),
        ("resnet20-999999999", "wider than 8192"),
        ("mlp-5-8193", "wider than 8192"),
    ],
)  # fmt: skip
def test_sizes_that_nobody_means_are_refused(name, message):
    with pytest.raises(StudyError, match=message):
        names.check(name, 32)


@pytest.mark.parametrize(
    ("name", "paper"), [("resnet18-64", "resnet18"), ("vit-512-6", "vit"), ("mlp-300-100", None)]
)
def test_the_sizes_of_the_paper_give_its_models(name, paper):
    """The same seed draws the same weights, by the same names."""
    images = {"channels": 1, "size": 28} if paper is None else {}
    one, other = build(name, **images), build(paper or "lenet-300-100", **images)
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


def test_vit_needs_whole_patches():
    with pytest.raises(StudyError, match=r"4 x 4 .* 30 x 30"):
        build("vit", size=30)
    names.check("vit", 28)


@pytest.mark.parametrize(
    ("gamma", "delta", "size"), [(1, 1, 32), (3, 2, 28), (4, 5, 63), (9, 5, 32)]
)
def test_vgg_of_any_width_and_depth(gamma, delta, size):
    model = on_meta(f"vgg-{gamma}-{delta}", 1, size, 7)
    widths = [2 ** (gamma + block) for block in range(delta) for _ in range(2)]
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convs] == list(
        zip([1, *widths], widths, strict=False)
    )
    assert model(torch.empty(2, 1, size, size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "pool"), [("vgg-5-2", "GridPool"), ("vgg-5-2-averaged", "AveragedGridPool")]
)
def test_vgg_blocks_are_convolution_relu_norm_twice_then_pool(name, pool):
    layers = [type(m).__name__ for m in on_meta(name)]
    block = ["Conv2d", "ReLU", "BatchNorm2d"] * 2 + ["MaxPool2d"]
    assert layers == [*block, *block, pool, "Flatten", "Linear"]


@pytest.mark.parametrize(("size", "delta"), [(32, 5), (32, 3), (28, 1)])
def test_an_averaged_vgg_is_the_published_one_on_features_divided_by_49(size, delta):
    literal = build(f"vgg-2-{delta}", size=size, seed=3).double()
    averaged = build(f"vgg-2-{delta}-averaged", size=size, seed=3).double()
    assert_equal(literal.state_dict(), averaged.state_dict())  # drawn alike
    literal[-1].register_forward_pre_hook(lambda layer, inputs: inputs[0] / 49)
    images = torch.randn(4, 3, size, size, dtype=torch.float64)
    for model in literal, averaged:
        model(images).square().sum().backward()
    assert_equal(literal.state_dict(), averaged.state_dict())  # and normalised alike
    gradients = [{k: p.grad for k, p in m.named_parameters()} for m in (literal, averaged)]
    assert_equal(*gradients)
    with torch.inference_mode():
        assert_equal(*({"logits": model.eval()(images)} for model in (literal, averaged)))


def assert_equal(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [1, 2, 7, 14])
def test_vgg_pools_like_adaptive_average_pooling(side):
    x = torch.randn(2, 3, side, side, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 7, 7, dtype=torch.float64)
    results = []
    for pool in vgg.GridPool(), nn.AdaptiveAvgPool2d(7):
        y = pool(x)
        results.append((y, *torch.autograd.grad((y * weights).sum(), x)))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg-5-6", "halves its images 6 times, .*32 x 32 pixels .*delta is at most 5"),
        ("vgg-5-999999999", "halves its images 999999999 times.*delta is at most 5"),
        ("vgg-32-5", "2^36 channels.*gamma is an exponent: 32 channels are gamma 5"),
        ("vgg-10-5", "2^14 channels, and 8192 is the limit"),
        ("vgg-5-6-averaged", "delta is at most 5"),
    ],
)
def test_vgg_refuses_what_does_not_fit(name, message):
    for refuse in (build, lambda name: names.check(name, 32)):
        with pytest.raises(StudyError, match=message.replace("^", r"\^")):
            refuse(name)
