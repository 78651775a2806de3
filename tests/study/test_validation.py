"""Which configs are refused, with which words; and the schema that editors get."""

import datetime
import json
import re
from collections import Counter
from dataclasses import fields

import pytest
import yaml
from conftest import ROOT
from jsonschema import Draft202012Validator

from sdd.base.errors import StudyError
from sdd.study import validation
from sdd.study.config import RUN_KEYS, Request, StudyConfig
from sdd.study.settings import Recipe
from sdd.study.study import Study

SCHEMA = ROOT / "workflow" / "schemas" / "study.schema.json"
STUDIES = sorted((ROOT / "workflow" / "studies").glob("*.yaml"))


def build(config) -> Study:
    return Study.of(validation.validate(config))


def test_the_schema_is_the_exported_one():
    """python -m sdd schema > workflow/schemas/study.schema.json"""
    assert json.loads(SCHEMA.read_text("utf-8")) == validation.schema()


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *STUDIES], ids=lambda path: path.stem)
def test_editors_find_the_schema_and_accept_the_shipped_files(path):
    first, *_ = path.read_text("utf-8").splitlines()
    folder = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / folder).resolve() == SCHEMA
    schema = json.loads(SCHEMA.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(yaml.safe_load(path.read_text("utf-8")))


def test_editors_refuse_what_is_refused_here(config):
    check = Draft202012Validator(json.loads(SCHEMA.read_text("utf-8"))).is_valid
    assert check(config)
    for change in (
        {"sedes": [1]}, {"seeds": []}, {"device": "gpu"}, {"study": "My study"},
        {"experiments": [{"name": "a"}]}, {"pruning": {"fraction": 1}},
    ):  # fmt: skip
        assert not check(config | change), change


def test_every_key_is_described():
    def walk(node, path):
        for name, child in node.get("properties", {}).items():
            assert len(child["description"]) > 10, f"{path}.{name}"
            walk(child, f"{path}.{name}")

    schema = validation.schema()
    for name, node in (("", schema), *schema["$defs"].items()):
        walk(node, name)


def bounded(schema):
    """Every number, text and list in the schema, by its key: with its largest value or length."""

    def walk(name, description, node):
        for part in (node, *node.get("anyOf", ())):
            if "enum" not in part and "const" not in part:
                yield name, description, part
            if "items" in part:
                yield from walk(name, description, part["items"])

    for kind in (schema, *schema["$defs"].values()):
        for name, node in kind["properties"].items():
            yield from walk(name, node["description"], node)


# Texts that must be one of some names, which are checked one by one.
NAMES = {"labels", "experiment", "dataset", "model"}


def test_everything_has_an_upper_bound_and_the_description_of_a_number_says_it():
    counts = Counter()
    for name, description, part in bounded(validation.schema()):
        kind = part.get("type")
        counts[kind] += 1
        if kind in ("integer", "number"):
            (bound,) = (part[key] for key in ("maximum", "exclusiveMaximum") if key in part)
            said = f"{bound:,}" if isinstance(bound, int) else f"{bound:,.12g}"
            assert re.search(rf"(?<![\d,]){said}(?![\d,]*\d)", description), (
                name,
                said,
                description,
            )
        elif kind == "string":
            assert {"maxLength", "pattern"} & part.keys() or name in NAMES, name
        elif kind == "array":
            assert part["maxItems"] == 1000, name
        elif kind == "object" and "additionalProperties" in part:
            assert part["maxProperties"] == 1000, name
    assert min(counts[kind] for kind in ("integer", "number", "string", "array")) >= 4


def test_config_writes_out_every_key_of_the_embedded_study(embedded):
    assert set(embedded) == {f.name for f in fields(StudyConfig)}
    whole = validation.validate(embedded)
    for key, value in embedded.items():
        part = getattr(whole, key)
        if hasattr(part, "__dataclass_fields__"):
            assert set(value) == {f.name for f in fields(part)}, key
    for request in embedded["cluster"].values():
        assert set(request) == {f.name for f in fields(Request)}
    assert set(embedded["recipes"]["lenet-300-100"]) == {f.name for f in fields(Recipe)}


def test_what_says_how_a_study_is_run_is_not_what_its_results_depend_on(config):
    built = build(config)
    assert set(RUN_KEYS) == {
        "data", "rounds_per_job", "save_every", "cluster", "device", "trainings_per_gpu",
        "deterministic",
    }  # fmt: skip
    assert not set(RUN_KEYS) & {*built.lasting_config, *built.chain_config}


def _experiment(index, **changes):
    return lambda c: c["experiments"][index].update(changes)


REFUSED = {
    "unknown key": (lambda c: c.update(sedes=[1]), "there is no key 'sedes'. Did you mean seeds"),
    "unknown key of an experiment": (_experiment(0, modle="x"), r"experiments\[0\].*'modle'"),
    "unknown key of a recipe": (
        lambda c: c["recipes"]["lenet-300-100"].update(lr=1), "recipes.lenet-300-100.*'lr'",
    ),
    "wrong type": (lambda c: c.update(seeds=1), "seeds: 1 is not a list.*list of seeds"),
    "rate of 1": (
        _experiment(0, noise={"kind": "symmetric", "rate": 1}),
        r"experiments\[0\]\.noise\.rate: 1 is not below 1\..*\[0, 1\)",
    ),
    "rate in a list": (
        _experiment(0, noise={"kind": "symmetric", "rate": [0.1, -0.1]}),
        r"experiments\[0\]\.noise\.rate\[1\]: -0.1 is less than the least allowed, 0",
    ),
    "no rate": (_experiment(0, noise={"kind": "symmetric"}), "'symmetric' needs rate"),
    "clean with a rate": (
        _experiment(0, noise={"kind": "clean", "rate": 0.1}), "'clean' takes no rate",
    ),
    "human labels of another set": (
        _experiment(0, noise={"kind": "human", "labels": "worse"}),
        "mnist-5k has no human labels 'worse'.*cifar10n",
    ),
    "asymmetric without a map": (
        _experiment(0, dataset="fashion-mnist", noise={"kind": "asymmetric", "rate": 0.2}),
        "asymmetric noise is not known for fashion-mnist.*cifar10",
    ),
    "unknown data set": (
        _experiment(0, dataset="imagenet"),
        r"experiments\[0\] \(vanilla\)\.dataset.*'imagenet' is not known.*cifar10",
    ),
    "unknown model": (
        _experiment(0, model="vgg16"), r"experiments\[0\]\.model.*'vgg16'.*vgg-<gamma>-<delta>",
    ),
    "model without a recipe": (
        _experiment(0, model="resnet18"), "no recipe for 'resnet18'.*lenet-300-100",
    ),
    "empty grid": (_experiment(0, dataset=[]), r"experiments\[0\]\.dataset: the list is empty"),
    "no experiments": (lambda c: c.update(experiments=[]), "experiments: the list is empty"),
    "no seeds": (lambda c: c.update(seeds=[]), "seeds: the list is empty"),
    "a seed twice": (lambda c: c.update(seeds=[1, 1]), "seeds: 1 is listed twice"),
    "a name twice": (_experiment(1, name="vanilla"), "'vanilla' is used twice"),
    "teacher that does not exist": (
        _experiment(2, teacher={"experiment": "vanila", "round": "best"}),
        "'vanila' is not an experiment above.*vanilla, l2",
    ),
    "teacher that teaches itself": (
        _experiment(2, teacher={"experiment": "distilled", "round": "best"}),
        "'distilled' is not an experiment above.*cannot teach itself",
    ),
    "teacher on other noise": (
        _experiment(2, noise={"kind": "symmetric", "rate": 0.2}),
        "must hold exactly one chain on mnist-5k, symmetric-0.2, seed 1.*it holds none",
    ),
    "teacher that is not one": (
        _experiment(2, teacher={"experiment": "l2", "round": "best"}),
        r"it holds 3 chains: ce-wd0\.01, ce-wd0\.03.*teacher\.weight_decay",
    ),
    "alpha without a teacher": (_experiment(0, alpha=0.5), "need a teacher"),
    "unknown teacher round": (
        _experiment(2, teacher={"experiment": "vanilla", "round": "bset"}),
        r"experiments\[2\]\.teacher\.round.*'bset'.*best .*one-standard-error .*dense",
    ),
    "milestone beyond the last epoch": (
        lambda c: c["recipes"]["lenet-300-100"].update(epochs=30),
        r"recipes\.lenet-300-100\.milestones: 30 is beyond.*at most 29",
    ),
    "fraction of 1": (lambda c: c["pruning"].update(fraction=1), "pruning.fraction: 1 "),
    "bad study name": (
        lambda c: c.update(study="my study"), "study: 'my study' is not allowed.*lower case",
    ),
    "unknown key, with what is allowed": (
        lambda c: c.update(sedes=[1]), "Keys are: study, seeds, experiments",
    ),
    "missing key": (
        lambda c: c["experiments"][0].pop("model"),
        r"experiments\[0\]: 'model' is missing. One model",
    ),
    "neither true, false nor a word": (
        lambda c: c["recipes"]["lenet-300-100"].update(channels_last=5),
        r"recipes\.lenet-300-100\.channels_last: 5 is not true or false.*auto",
    ),
    "a round that nobody can deploy": (
        lambda c: c.update(deployment={"rounds": ["dense", "last"]}),
        r"deployment\.rounds\[1\]: 'last' is not 'dense', 'best', 'sparsest' or 'stopped'",
    ),
    "epochs of 3.0": (
        lambda c: c["recipes"]["lenet-300-100"].update(epochs=3.0),
        r"lenet-300-100\.epochs: 3.0 is not an integer.*Epochs of every round.*without a decimal",
    ),
    "rounds of 4.0": (lambda c: c["pruning"].update(rounds=4.0), r"pruning\.rounds: 4\.0 is not"),
    "seed of 1.0": (lambda c: c.update(seeds=[1.0]), r"seeds\[0\]: 1\.0 is not an integer"),
    "not a number": (
        lambda c: c["recipes"]["lenet-300-100"].update(learning_rate=float("nan")),
        "learning_rate: nan is beyond every number",
    ),
    "infinite": (
        _experiment(0, weight_decay=float("inf")), "weight_decay: inf is beyond every number",
    ),
    "a number that YAML reads as text": (
        _experiment(0, weight_decay="1e-4"), "'1e-4' is not a number.*write 1.0e-4",
    ),
    "an empty list, with what is allowed": (
        _experiment(0, dataset=[]), "dataset: .*One data set, or a list",
    ),
    "gamma meant as a width": (
        lambda c: (
            c["recipes"].update({"vgg-32-4": c["recipes"]["lenet-300-100"]}),
            c["experiments"][0].update(model="vgg-32-4"),
        ),
        "vgg-32-4.*32 channels are gamma 5",
    ),
    "nothing to validate on": (
        lambda c: c["validation"].update(fraction=0.0001), "0.0001 of the 4,000 training images",
    ),
    "a study named published": (lambda c: c.update(study="published"), "study: 'published'"),
    "unknown palette": (lambda c: c["figures"].update(palette="nosuch"), "palette: 'nosuch'.*deep"),
    "noise rates that print alike": (
        lambda c: (
            c["experiments"].pop(),
            c["experiments"][1].update(noise={"kind": "symmetric", "rate": 0.4000001}),
        ),
        "0.4 and 0.4000001 would share the labels",
    ),
    "model too deep for its images": (
        lambda c: (
            c["recipes"].update({"vgg-3-6": c["recipes"]["lenet-300-100"]}),
            c["experiments"][0].update(model="vgg-3-6"),
        ),
        r"vgg-3-6.*28 x 28",
    ),
    "a request for an unknown model": (
        lambda c: c["cluster"].update(vgg16={"minutes": 5}),
        r"cluster\.vgg16: .*default, or the name",
    ),
    "a request for something else": (
        lambda c: c["cluster"].update(vit={"gpus": 2}), r"cluster\.vit.*'gpus'.*minutes, memory_mb",
    ),
    "no time": (
        lambda c: c["cluster"]["default"].update(minutes=0), r"default\.minutes: 0 is less",
    ),
    "an incomplete default": (
        lambda c: c.update(cluster={"default": {"minutes": 5}}),
        "cluster.default: it needs minutes and memory_mb",
    ),
    "a text with a leading zero": (lambda c: c.update(seeds=["08"]), "leading zero: write 8"),
    "a decimal comma": (
        lambda c: c["recipes"]["lenet-300-100"].update(learning_rate="0,9"), "decimal point: 0.9",
    ),
    "a percentage": (lambda c: c["validation"].update(fraction="20 %"), "proportion: 0.2"),
    "a number in quotes": (_experiment(0, weight_decay="0.1"), "without quotes"),
    "0 and -0.0": (_experiment(0, weight_decay=[0, -0.0]), "weight_decay: 0.0 is listed twice"),
    "thousands of digits": (
        lambda c: c["recipes"]["lenet-300-100"].update(epochs=10**5000), "thousands of digits",
    ),
    "more than anybody means": (
        lambda c: c["recipes"]["lenet-300-100"].update(batch_size=10**9), "more than the most",
    ),
    "a thousand characters": (lambda c: c.update(study="x" * 10**5), r"^.{,600}$"),
    "a name with a line feed": (lambda c: c.update(study="x\n"), r"study: 'x\\n' is not allowed"),
    "a model's width of many digits": (
        _experiment(0, model="vgg-99999999999-1"), "vgg-99999999999-1",
    ),
    "a date": (
        lambda c: c.update(study=datetime.date(2026, 1, 1)), "YAML takes it for a date",
    ),
    "a key that is a number": (lambda c: c.update({1: 2}), "a key is a name, not 1"),
    "a thousand and one seeds": (
        lambda c: c.update(seeds=list(range(1001))), "seeds: 1,001 are listed; 1,000 is the limit",
    ),
    "more recipes than models": (
        lambda c: c["recipes"].update({f"x{n}": {} for n in range(1001)}),
        "recipes: 1,002 are listed; 1,000 is the limit",
    ),
    "a grid of millions": (
        _experiment(0, weight_decay=[n / 1e5 for n in range(200)], seeds=list(range(900))),
        r"experiments\[0\] \(vanilla\): with its grid .* 180,000 chains; 10,000 is the limit",
    ),
    "a path that is none": (
        lambda c: c["data"].update(folder="x" * 5000), r"data.folder: .* 4,096 characters",
    ),
    "a temperature at which nothing is left of the loss": (
        _experiment(2, temperature=1e5), r"temperature: 100000.0 is more than .* 10,000\. ",
    ),
    "a temperature that divides by nothing": (
        lambda c: c["distillation"].update(temperature=1e-300), "less than the least .* 0.01",
    ),
    "a fraction at the end of the numbers": (
        lambda c: c["pruning"].update(fraction=5e-324), r"pruning\.fraction: with 4.94066e-324",
    ),
    "an unknown initialisation": (
        lambda c: c["recipes"]["lenet-300-100"].update(initialisation="kaiming"),
        "initialisation: 'kaiming' is not known. Did you mean kaiming-normal",
    ),
    "true for 1": (
        lambda c: c["recipes"]["lenet-300-100"].update(batch_size=True), "True is not an integer",
    ),
    "a fraction that takes for ever": (
        lambda c: c["pruning"].update(fraction=1e-4),
        r"pruning\.fraction: with 0\.0001 .* takes 69,0\d\d rounds.*1,000 is the limit",
    ),
    "a fraction below every number's end": (
        lambda c: c["pruning"].update(fraction=1e-17), r"pruning\.fraction: with 1e-17",
    ),
    "an unknown criterion": (
        lambda c: c["pruning"].update(criterion="magnitud"), "Did you mean magnitude",
    ),
    "an unknown criterion of an experiment": (
        _experiment(0, criterion=["magnitude", "rnadom"]), "'rnadom' is not known. Did you mean r",
    ),
    "a retraining that is listed twice": (
        _experiment(0, retraining=["fine-tuning"] * 2), "'fine-tuning' is listed twice",
    ),
    "of several kinds none": (
        lambda c: c["recipes"]["lenet-300-100"].update(channels_last=5),
        r"recipes.lenet-300-100.channels_last: 5 is not true or false",
    ),
    "an unknown retraining": (lambda c: c.update(retraining="none"), "learning-rate-rewinding"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_key_value_and_what_is_allowed(config, case):
    change, words = REFUSED[case]
    change(config)
    with pytest.raises(StudyError, match=f"(?s){words}"):
        build(config)


def test_every_palette_is_one_that_seaborn_knows():
    import seaborn

    from sdd.study.config import PALETTES

    for name in PALETTES:
        assert len(seaborn.color_palette(name, 4)) == 4


def test_what_the_optimizer_or_the_schedule_does_not_use_is_no_error_and_no_difference(config):
    recipe = config["recipes"]["lenet-300-100"]
    recipe |= {"schedule": "cosine", "epochs": 10}  # laid over one with milestones
    first = build(config)
    recipe |= {"milestones": [1], "factor": 0.5}
    assert build(config).experiments == first.experiments
    recipe |= {"optimizer": "adamw", "momentum": 0.1}
    with_adamw = build(config).experiments["vanilla"][0].spec(0).to_dict()["recipe"]
    assert not {"milestones", "factor", "momentum"} & with_adamw.keys()


def test_a_number_is_one_value_however_it_is_written(config):
    config["experiments"] = [config["experiments"][0] | {"weight_decay": 0}]
    one = build(config)
    config["experiments"][0]["weight_decay"] = [-0.0]
    other = build(config)
    assert other.config == one.config
    (chain, *_) = other.chains.values()
    assert chain.path.endswith("ce-wd0/seed1")
    assert json.dumps(chain.spec(0).to_dict()).count("-0.0") == 0


def test_a_whole_config_reads_the_same_again(config):
    built = validation.validate(config)
    assert validation.validate(built.to_dict()) == built
    assert StudyConfig.from_dict(built.to_dict()) == built


def test_a_value_from_the_command_line_is_named_as_such(config):
    config["seeds"] = ["x"]
    with pytest.raises(StudyError, match="from --config"):
        validation.validate(config, {"seeds"})
