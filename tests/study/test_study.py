"""A study: what a config expands to, and which configs are refused with which words."""

import itertools
import json
import random
import re
from dataclasses import replace

import pytest
import yaml
from conftest import ROOT

from sdd.base.errors import StudyError
from sdd.base.files import canonical
from sdd.base.seeds import derive_seed
from sdd.data.datasets import DATASETS
from sdd.study import data_entries, validation
from sdd.study.methods import TEACHERS
from sdd.study.reading import merge
from sdd.study.settings import Recipe, Rewinding
from sdd.study.specs import RoundSpec
from sdd.study.study import Demand, Study, last_round

OVERLAYS = sorted((ROOT / "workflow" / "studies").glob("*.yaml"))


def build(config) -> Study:
    checked = validation.validate(config)
    return Study.of(checked, data_entries.survey(checked.datasets))


def test_the_embedded_study_has_six_chains_of_32_rounds_a_seed(embedded):
    built = build(embedded)
    assert built.last_round == 31 and len(built.rounds) == 32
    assert len(built.chains) == 18
    assert list(built.chains)[:2] == [
        "mnist-5k/symmetric-0.5/lenet-300-100/ce-wd0.001/seed1",
        "mnist-5k/symmetric-0.5/lenet-300-100/ce-wd0.001/seed2",
    ]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_shipped_studies_are_valid(embedded, overlay, example, monkeypatch):
    monkeypatch.chdir(example)
    assert build(merge(embedded, yaml.safe_load(overlay.read_text("utf-8")))).chains


def test_the_study_in_the_readme_is_valid(embedded):
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(build(merge(embedded, yaml.safe_load(text))).chains) == 9


@pytest.mark.parametrize(
    ("fraction", "final", "expected"),
    [
        (0.2, 0.998, 28),
        (0.2, 0.999, 31),
        (0.5, 0.998, 9),
        (0.2, 0.0, 1),
        (0.5, 0.5, 2),
        (0.5, 0.75, 3),
        (0.9, 0.9, 2),
    ],
)
def test_last_round_is_the_first_above_the_final_sparsity(fraction, final, expected):
    sparsity = [1 - (1 - fraction) ** r for r in range(100)]
    assert last_round(fraction, final) == expected
    # An independent count, forgiving the last bit of an exact power.
    assert expected == next(r for r, s in enumerate(sparsity) if s > final + 1e-12)


def test_rounds_override_the_final_sparsity(config):
    config["pruning"] |= {"final_sparsity": 0.998, "rounds": 3}
    assert build(config).last_round == 3


@pytest.mark.parametrize(("dataset", "gigabytes"), [("cifar10", 0.1458), ("cifar100", 1.458)])
def test_teacher_logits_have_a_known_size_and_a_limit(config, dataset, gigabytes):
    config["validation"]["fraction"] = 0.1
    config["recipes"]["vgg-5-5"] = config["recipes"]["lenet-300-100"] | {
        "augmentation": "flip-crop"
    }
    grid = {"dataset": dataset, "noise": {"kind": "clean"}, "model": "vgg-5-5"}
    config["experiments"] = [
        {"name": "teacher", **grid},
        {"name": "student", "teacher": {"experiment": "teacher", "round": "best"}, **grid},
    ]
    built = build(config)
    student = built.experiments["student"][0]
    assert built.logits_bytes(DATASETS[dataset], "flip-crop") == pytest.approx(1e9 * gigabytes)
    assert built.tabulated(student)
    config["distillation"]["largest_table"] = gigabytes - 1e-4
    assert not build(config).tabulated(student)


def test_a_chain_that_two_experiments_share_is_one(config):
    first = config["experiments"][0]
    config["experiments"].append(first | {"name": "again"})
    built = build(config)
    assert built.experiments["again"] == built.experiments["vanilla"]
    assert len(built.chains) == len(
        build(config | {"experiments": config["experiments"][:-1]}).chains
    )


def test_values_that_differ_from_the_defaults_show_in_the_path(config):
    config["experiments"][2] |= {
        "alpha": [config["distillation"]["alpha"], 0.5],
        "temperature": [10, 4],
    }
    objectives = {c.objective for c in build(config).experiments["distilled"]}
    assert "kd-lenet-300-100-best-wd0.0001" in objectives
    assert "kd-lenet-300-100-dense-wd0.0001-alpha0.5-tau4" in objectives
    assert len(objectives) == 8


def test_an_unusual_teacher_shows_in_the_path(config):
    config["experiments"][2]["teacher"] = {
        "experiment": "l2", "round": "best", "weight_decay": 0.01,
    }  # fmt: skip
    objectives = {c.objective for c in build(config).experiments["distilled"]}
    assert objectives == {"kd-lenet-300-100-best-of-ce-wd0.01-wd0.0001"}


def test_a_teacher_by_the_other_rule_shows_in_the_path_and_changes_no_other(config):
    before = set(build(config).chains)
    config["experiments"][2]["teacher"]["round"] = ["best", "one-standard-error", "dense"]
    built = build(config)
    named = {path for path in built.chains if "kd-lenet-300-100-one-standard-error-wd" in path}
    assert set(built.chains) - before == named and len(named) == len(config["seeds"])
    teacher = built.chains[min(named)].teacher
    assert teacher.path.endswith("/seed1/one-standard-error") and teacher.chosen
    spec = built.selection_spec(teacher)
    assert (spec.rule, spec.validation_images) == ("one-standard-error", 500)


def test_different_chains_never_share_a_path_on_random_grids(config):
    rng = random.Random(0)
    for _ in range(60):
        some = lambda values: rng.sample(values, rng.randint(1, len(values)))  # noqa: E731
        base = {
            "dataset": some(["mnist-5k", "mnist", "cifar10"]),
            "noise": {"kind": "symmetric", "rate": some([0, 0.1, 0.2, 0.5])},
            "model": "lenet-300-100",
        }
        config["experiments"] = [
            {"name": "plain", "weight_decay": some([0, 1e-4, 1e-3, 0.01]), **base},
            {"name": "one", "weight_decay": 1e-4, **base},
            {
                "name": "student",
                "teacher": {"experiment": "one", "round": some(list(TEACHERS))},
                "alpha": some([0.8, 0.5, 0]),
                "temperature": some([10, 4, 1]),
                "weight_decay": some([1e-4, 0.01]),
                **base,
            },
            {
                "name": "grandchild",
                "teacher": {"experiment": "one", "round": "best"},
                **base,
            },
        ]
        built = build(config)
        every = set(itertools.chain.from_iterable(built.experiments.values()))
        assert len(every) == len({chain.path for chain in every})


def test_two_chains_at_one_path_are_refused(config):
    config["experiments"][1]["weight_decay"] = [1e-4 + 1e-12, 1e-4 + 2e-12]
    with pytest.raises(StudyError, match=r"share the path .*ce-wd0\.0001/seed1.*recipe"):
        build(config)


def test_specs_hold_what_a_job_depends_on_and_nothing_more(config):
    def specs(changed):
        built = build(changed)
        return {
            (path, r): canonical(chain.spec(r).to_dict())
            for path, chain in built.chains.items()
            for r in (0, 2)
        }

    before = specs(config)
    path = "mnist-5k/symmetric-0.4/lenet-300-100/ce-wd0.0001/seed1"
    student = path.replace("ce-", "kd-lenet-300-100-best-")
    for change, changed in [
        ({"seeds": [1, 2, 3]}, set()),
        ({"pruning": {"rounds": 40}}, set()),
        ({"early_stopping": {"patience": 9}}, set()),
        ({"figures": {"palette": "deep"}}, set()),
        ({"device": "cpu"}, set()),
        ({"pruning": {"fraction": 0.3}}, {(path, 2), (student, 2)}),
        ({"distillation": {"alpha": 0.7}}, {(student, 0), (student, 2)}),
        ({"recipes": {"lenet-300-100": {"epochs": 50}}},
         {(path, 0), (path, 2), (student, 0), (student, 2)}),
    ]:  # fmt: skip
        after = specs(merge(config, change))
        different = {
            key for key in before if key[0] in (path, student) and before[key] != after[key]
        }
        assert different == changed, change


@pytest.mark.parametrize("ends", [False, True])
def test_the_spec_of_a_round_is_the_same_made_alone_or_with_its_chain(config, ends):
    config["early_stopping"]["ends_chains"] = ends
    built = build(config)
    for chain in built.chains.values():
        for number in (5, 0, 1, 0, 31):
            alone = build(config).round_spec(chain, number).to_dict()
            assert canonical(built.round_values(chain, number)) == canonical(alone)


def test_a_request_is_the_default_with_what_differs_for_the_model(config):
    (chain, *_) = build(config).chains
    config["cluster"] = {"default": {"minutes": 5, "memory_mb": 6}, "vit": {"minutes": 7}}
    assert build(config).request(chain) == Demand(5, 6)
    config["cluster"]["lenet-300-100"] = {"minutes": 8}
    assert build(config).request(chain) == Demand(8, 6)


def test_teacher_logits_ask_for_their_passes_and_their_memory(config):
    config["cluster"] = {"default": {"minutes": 10, "memory_mb": 2000}}
    config["recipes"]["lenet-300-100"] |= {"epochs": 27, "milestones": []}
    config["validation"]["fraction"] = 0.2
    built = build(config)
    (teacher, *_) = built.teachers
    # 3,200 images, 10 classes; 162 outcomes in half precision: twice the passes of a training.
    assert built.logits_request(teacher, "flip-crop") == Demand(20, 2011)
    assert built.logits_request(teacher, "none") == Demand(10, 2001)


def test_a_number_written_as_an_integer_is_the_same_recipe(config):
    config["experiments"] = [config["experiments"][0] | {"weight_decay": [1]}]
    one = build(config).experiments["vanilla"]
    config["experiments"][0]["weight_decay"] = [1.0]
    assert build(config).experiments["vanilla"] == one
    assert one[0].spec(1) == build(config).experiments["vanilla"][0].spec(1)


def test_seeds_of_different_purposes_differ_and_stay():
    assert derive_seed(1, "noise") == derive_seed(1, "noise")
    several = {derive_seed(s, p, r) for s in (1, 2) for p in ("noise", "batches") for r in range(5)}
    assert len(several) == 20
    assert all(0 <= seed < 2**63 for seed in several)


def test_the_first_weights_belong_to_the_recipe_and_to_the_code_but_to_no_path(config):
    config["recipes"]["lenet-300-100"].pop("initialisation")
    usual = build(config)
    config["recipes"]["lenet-300-100"]["initialisation"] = "kaiming-normal"
    other = build(config)
    assert list(other.chains) == list(usual.chains)
    path = next(iter(usual.chains))
    specs = [study.chains[path].spec(0) for study in (usual, other)]
    assert [spec.recipe.initialisation for spec in specs] == ["default", "kaiming-normal"]
    assert other.chains[path].spec(1).follows(specs[0]) == ["recipe"]


def test_learning_rates_of_the_schedules():
    recipe = Recipe("sgd", 0.1, 0, 128, 160, "multistep", milestones=(80, 120))
    rates = [recipe.learning_rate_at(e) for e in (0, 79, 80, 119, 120, 159)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    cosine = Recipe("adamw", 1e-4, 0, 512, 200, "cosine")
    assert cosine.learning_rate_at(0) == 1e-4
    assert cosine.learning_rate_at(100) == pytest.approx(5e-5)
    assert 0 < cosine.learning_rate_at(199) < 1e-8
    spec = RoundSpec("c", 0, "lenet-300-100", recipe, 1)
    assert RoundSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


# --- How chains are pruned and retrained ----------------------------------------------------------


def test_a_grid_over_criteria_scopes_and_retrainings(config):
    config["experiments"] = [
        config["experiments"][0]
        | {
            "criterion": ["magnitude", "random"],
            "scope": ["global", "layer"],
            "retraining": ["learning-rate-rewinding", "weight-rewinding"],
        }
    ]
    built = build(config)
    names = [chain.objective for chain in built.chains.values() if chain.seed == 1]
    assert names == [
        "ce-wd0.0001",
        "ce-wd0.0001-weight-rewinding",
        "ce-wd0.0001-layer",
        "ce-wd0.0001-layer-weight-rewinding",
        "ce-wd0.0001-random",
        "ce-wd0.0001-random-weight-rewinding",
        "ce-wd0.0001-random-layer",
        "ce-wd0.0001-random-layer-weight-rewinding",
    ]
    # What prunes and retrains does not reach the dense round: it is one of all these chains, and
    # lies where a chain has it that is pruned and retrained as usual.
    dense = {canonical(c.spec(0).to_dict()) for c in built.chains.values()}
    seeds = len(config["seeds"])
    assert len(dense) == seeds
    assert all(built.chains[path].objective == names[0] for path in built.by_dense)
    assert built.count == len(list(built.trainings)) == seeds * (1 + 8 * built.last_round)
    assert len({built.files(chain, n) for chain, n in built.trainings}) == built.count
    for chain in built.chains.values():
        assert built.files(chain, 0) == built.layout.round(chain.dense_path, 0)
        assert built.files(chain, 1) == built.layout.round(chain.path, 1)
        assert chain.spec(1).follows(chain.spec(0)) == chain.spec(2).follows(chain.spec(1)) == []
        # Without a chain of the usual kind the dense round is the same, so that one more experiment
        # trains nothing again.
        alone = dict(config, experiments=[config["experiments"][0] | {"criterion": "random"}])
        (other, *_) = build(alone).chains.values()
        assert (other.spec(0) == chain.spec(0)) == (other.seed == chain.seed)
    stranger = replace(built.by_dense[chain.dense_path].spec(0), chain="another")
    assert chain.spec(1).follows(stranger) == ["chain"]


def test_dense_rounds_that_only_digits_tell_apart_are_refused(config):
    one = config["experiments"][0]
    config["experiments"] = [
        one | {"weight_decay": 1e-4},
        one | {"name": "b", "weight_decay": 1.0000001e-4, "criterion": "random"},
    ]
    with pytest.raises(StudyError, match=r"ce-wd0.0001-random.* would share the dense round at"):
        build(config)


def test_the_studys_own_way_has_no_name_in_a_path(config):
    usual = list(build(config).chains)
    config["pruning"]["criterion"] = "gradient"
    config["retraining"] = "reinitialisation"
    assert list(build(config).chains) == usual
    config["experiments"][0] |= {"criterion": "gradient", "retraining": "reinitialisation"}
    assert list(build(config).chains) == usual


def test_a_student_has_the_teacher_that_is_pruned_and_retrained_alike(config):
    both = {"criterion": ["magnitude", "random"]}
    config["experiments"] = [config["experiments"][0] | both, config["experiments"][-1] | both]
    for chain in build(config).chains.values():
        if chain.teacher:
            assert chain.teacher.chain.pruning == chain.pruning
            assert ("of-ce-wd0.0001-random" in chain.objective) == ("random" in chain.path)


def test_students_of_one_dense_round_share_theirs_and_its_logits(config):
    both = {"criterion": ["magnitude", "random"]}
    config["experiments"] = [config["experiments"][0] | both, config["experiments"][-1] | both]
    config["seeds"] = [1]
    built = build(config)
    students = [chain for chain in built.chains.values() if chain.teacher]
    by_teacher = {which: [c for c in students if c.teacher.which == which] for which in TEACHERS}
    dense, best = by_teacher["dense"], by_teacher["best"]
    assert len(dense) == len(best) == 2
    assert len({c.dense_path for c in dense}) == len({c.teacher.path for c in dense}) == 1
    assert len({c.dense_path for c in best}) == len({c.teacher.path for c in best}) == 2
    assert len(built.logits_users) == 3
    chosen = best[1].teacher.spec
    assert chosen.chain.endswith("-random/seed1")
    # Whichever of its rounds it is.
    assert chosen.holds(chosen.chain, 1) and chosen.holds(best[1].teacher.chain.dense_path, 0)
    assert not chosen.holds(chosen.chain, 0) and not chosen.holds("another", 1)


def test_fine_tuning_changes_the_recipe_of_the_rounds_after_the_dense_one(config):
    config["experiments"] = [config["experiments"][0] | {"retraining": "fine-tuning"}]
    (chain, *_) = build(config).chains.values()
    dense, tuned = chain.spec(0), chain.spec(1)
    assert tuned.recipe == replace(dense.recipe, learning_rate=tuned.recipe.learning_rate,
                                   schedule="constant", milestones=())  # fmt: skip
    assert tuned.recipe.learning_rate == pytest.approx(5e-4)  # the last of the schedule's
    config["fine_tuning"] = {"learning_rate": 0.01, "epochs": 3}
    (chain, *_) = build(config).chains.values()
    tuned = chain.spec(2)
    assert (tuned.recipe.learning_rate, tuned.recipe.epochs) == (0.01, 3)
    assert tuned.dense_recipe == dense.recipe
    assert tuned.follows(chain.spec(1)) == [] and chain.spec(1).follows(dense) == []
    assert RoundSpec.from_dict(json.loads(canonical(tuned.to_dict()))) == tuned


def test_where_weights_go_back_to_reaches_the_dense_round_whoever_shares_it(config):
    config["rewinding"] = {"epochs": 1, "steps": 5}
    (plain, *_) = build(config).chains.values()
    config["retraining"] = "weight-rewinding"
    (rewound, *_) = build(config).chains.values()
    assert plain.spec(0) == rewound.spec(0)
    (chain, *_) = build(config).chains.values()
    assert chain.spec(0).rewinding == chain.spec(3).rewinding == Rewinding(1, 5)
    assert chain.rewinding.step(3500, chain.recipe) == 28 + 5
    config["rewinding"] = {"epochs": 0, "steps": 0}
    (chain, *_) = build(config).chains.values()
    assert chain.rewinding is None


def test_one_shot_rounds_have_the_dense_one_for_a_parent(config):
    config["pruning"]["schedule"] = "one-shot"
    (chain, *_) = build(config).chains.values()
    assert [chain.spec(r).parent for r in range(4)] == [None, 0, 0, 0]
    assert chain.spec(3).follows(chain.spec(0)) == []
    assert "round" in chain.spec(3).follows(chain.spec(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(retraining="weight-rewinding", rewinding={"epochs": 41}),
         r"rewinding: 41 epochs and 0 steps are beyond .* 1,120 steps in 40 epochs"),
        (lambda c: c["recipes"]["lenet-300-100"].update(warmup=40), "warmup: 40 epochs of 40"),
        (lambda c: c["recipes"]["lenet-300-100"].update(momentum=0, nesterov=True),
         "nesterov: it needs a momentum above 0"),
        (lambda c: (c["pruning"].update(schedule="one-shot"),
                    c["early_stopping"].update(ends_chains=True)),
         "ends_chains: a one-shot chain has no rounds one after the other"),
    ],
)  # fmt: skip
def test_pruning_and_retraining_that_make_no_sense_are_refused(config, change, message):
    change(config)
    with pytest.raises(StudyError, match=message):
        build(config)
