"""From a study's experiments, which are grids, to chains; and what makes no sense about them.

A config that was validated key by key may still ask for what cannot be run: a teacher that does
not exist, a milestone beyond the last epoch, two chains at one path. Each is a StudyError that
names the key and what is allowed.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches

from sdd.base.errors import StudyError
from sdd.base.names import listed
from sdd.data.datasets import Dataset, human_kinds
from sdd.data.noise_kinds import KINDS
from sdd.data.noise_maps import MISTAKEN
from sdd.data.settings import Noise
from sdd.models import names
from sdd.study.chains import Chain, OutsideTeacher, Teacher
from sdd.study.config import MOST_CHAINS, Experiment, NoiseGrid, StudyConfig, TeacherGrid
from sdd.study.methods import OUTSIDE, TEACHERS
from sdd.study.settings import Distillation, Pruning, Recipe, Rewinding

Grids = dict[str, tuple[Chain, ...]]


def expand(
    config: StudyConfig, datasets: Mapping[str, Dataset], contents: Mapping[str, str]
) -> Grids:
    """The chains of every experiment by its name; a teacher's comes before its students'.

    `contents` has the sha256 of each file of weights, by what the config calls it.
    """
    _refuse_too_many(config)
    grids: Grids = {}
    for index, experiment in enumerate(config.experiments):
        if experiment.name in grids:
            raise StudyError(
                f"experiments[{index}].name: {experiment.name!r} is used twice. "
                "Give every experiment a name of its own."
            )
        key = f"experiments[{index}] ({experiment.name})"
        grids[experiment.name] = tuple(
            dict.fromkeys(_chains(key, experiment, config, datasets, contents, grids))
        )
    _refuse_shared_paths(itertools.chain.from_iterable(grids.values()))
    _refuse_shared_places(itertools.chain.from_iterable(grids.values()))
    return grids


def _refuse_too_many(config: StudyConfig) -> None:
    """A grid grows by every list: one that nobody means would be counted for hours."""
    total = 0
    for index, experiment in enumerate(config.experiments):
        noise, teacher = experiment.noise, experiment.teacher
        lists = (
            experiment.dataset, noise.rate, noise.labels, experiment.model,
            experiment.weight_decay, teacher.round if teacher else (), experiment.alpha,
            experiment.temperature, experiment.seeds or config.seeds,
            experiment.criterion, experiment.scope, experiment.retraining,
        )  # fmt: skip
        total += math.prod(max(1, len(values)) for values in lists)
        if total > MOST_CHAINS:
            raise StudyError(
                f"experiments[{index}] ({experiment.name}): with its grid the study has {total:,} "
                f"chains; {MOST_CHAINS:,} is the limit. Shorten its lists, or make several studies."
            )


def _chains(
    key: str,
    experiment: Experiment,
    config: StudyConfig,
    datasets: Mapping[str, Dataset],
    contents: Mapping[str, str],
    earlier: Grids,
) -> Iterator[Chain]:
    teacher = experiment.teacher
    if not teacher and (experiment.alpha or experiment.temperature):
        raise StudyError(f"{key}: alpha and temperature need a teacher. Add one or drop them.")
    axes = itertools.product(
        [_known(key, name, datasets) for name in experiment.dataset],
        _noises(key, experiment.noise, experiment.dataset),
        experiment.model,
        experiment.weight_decay or [None],
        _whiches(key, teacher) if teacher else [None],
        experiment.alpha or [config.distillation.alpha],
        experiment.temperature or [config.distillation.temperature],
        _methods(experiment, config),
        experiment.seeds or config.seeds,
    )
    rule = config.early_stopping.rule if config.early_stopping.ends_chains else None
    if rule and config.pruning.schedule == "one-shot":
        raise StudyError(
            "early_stopping.ends_chains: a one-shot chain has no rounds one after the other that "
            "could end. Set it to false, or pruning.schedule to iterative."
        )
    for data, noise, model, weight_decay, which, alpha, temperature, method, seed in axes:
        own = config.models.get(model)
        if not own:
            _check_fit(key, model, data)
        _check_hold_out(data, config.validation.fraction)
        recipe = _recipe(key, model, config.recipes)
        if weight_decay is not None:
            recipe = replace(recipe, weight_decay=weight_decay)
        pruning, retraining = method
        plain, unusual = f"ce-wd{recipe.weight_decay:g}", _unusual(method, config)
        chain = Chain(
            data, noise, model, recipe, pruning, retraining,
            distillation=None, teacher=None, seed=seed,
            objective="-".join([plain, *unusual]), dense_objective=plain, early_stopping=rule,
            build=own.build if own else None, validation=config.validation,
            rewinding=_rewinding(data, recipe, retraining, config),
            fine_tuning=config.fine_tuning if retraining == "fine-tuning" else None,
        )  # fmt: skip
        if teacher and which:
            source = (
                Teacher(_teacher_chain(key, teacher, chain, earlier), which)
                if teacher.experiment is not None
                else _outside(key, teacher, chain, config, contents)
            )
            setting = Distillation(alpha, temperature)
            named, dense = (
                _distilled(key, source, objective, recipe, setting, config)
                for objective in (source.objective, source.dense_objective)
            )
            chain = replace(
                chain,
                distillation=setting,
                teacher=source,
                objective="-".join([named, *unusual]),
                dense_objective=dense,
            )
        yield chain


Method = tuple[Pruning, str]  # how it prunes, and its retraining


def _methods(experiment: Experiment, config: StudyConfig) -> Iterator[Method]:
    usual = config.pruning
    for criterion, scope, retraining in itertools.product(
        experiment.criterion or [usual.criterion],
        experiment.scope or [usual.scope],
        experiment.retraining or [config.retraining],
    ):
        yield Pruning(usual.fraction, scope, criterion, usual.schedule, usual.keep), retraining


def _unusual(method: Method, config: StudyConfig) -> list[str]:
    """What of a chain's pruning and retraining is not the study's usual: parts of a path."""
    pruning, retraining = method
    usual = (config.pruning.criterion, config.pruning.scope, config.retraining)
    own = (pruning.criterion, pruning.scope, retraining)
    return [mine for mine, theirs in zip(own, usual, strict=True) if mine != theirs]


def _rewinding(
    data: Dataset, recipe: Recipe, retraining: str, config: StudyConfig
) -> Rewinding | None:
    """The point that weights go back to, where it has to be stored on the way: by every dense
    round, since it does not know who goes back there."""
    point = config.rewinding
    if point == Rewinding():
        return None
    images, _ = data.split(config.validation.fraction)
    last = Rewinding(epochs=recipe.epochs).step(images, recipe)
    if point.step(images, recipe) > last:
        if retraining != "weight-rewinding":
            return None
        raise StudyError(
            f"rewinding: {point.epochs:,} epochs and {point.steps:,} steps are beyond the dense "
            f"training on {data.name}, which has {last:,} steps in {recipe.epochs:,} epochs."
        )
    return point


def _whiches(key: str, teacher: TeacherGrid) -> Sequence[str]:
    """Which rounds of its experiment teach; of weights from outside there is one network."""
    keys = {f.name for f in fields(teacher) if getattr(teacher, f.name) not in (None, ())}
    if {"experiment", "round"} <= keys <= {"experiment", "round", "weight_decay"}:
        return teacher.round
    if {"weights", "model"} <= keys <= {"weights", "model", "name"}:
        return (OUTSIDE,)
    raise StudyError(
        f"{key}.teacher: it has {listed(sorted(keys)) or 'no keys'}. A teacher is either a round "
        "of an experiment above (experiment, round, and maybe weight_decay), or a network that was "
        "trained elsewhere (weights, model, and maybe name)."
    )


def _outside(
    key: str,
    teacher: TeacherGrid,
    student: Chain,
    config: StudyConfig,
    contents: Mapping[str, str],
) -> OutsideTeacher:
    name, model, weights = teacher.name or OUTSIDE, teacher.model or "", teacher.weights or ""
    if name in TEACHERS:
        raise StudyError(f"{key}.teacher.name: {name} is a round of a chain. Take another name.")
    own = config.models.get(model)
    if not own:
        _check_fit(f"{key}.teacher", model, student.data)
    return OutsideTeacher(
        name, model, own.build if own else None, contents[weights],
        student.data, student.labels, student.labels_spec,
    )  # fmt: skip


def _distilled(
    key: str,
    teacher: Teacher | OutsideTeacher,
    objective: str,
    recipe: Recipe,
    setting: Distillation,
    config: StudyConfig,
) -> str:
    """The name of a student's objective, but for how it is pruned and retrained: its teacher, whose
    own is `objective`, and what differs from the usual."""
    usual = config.distillation
    parts = [f"kd-{teacher.model}-{teacher.which}"]
    if isinstance(teacher, OutsideTeacher):
        parts = [f"kd-{teacher.model}-{teacher.name}"]
    elif objective != f"ce-wd{_recipe(key, teacher.model, config.recipes).weight_decay:g}":
        parts.append(f"of-{objective}")
    parts.append(f"wd{recipe.weight_decay:g}")
    if setting.alpha != usual.alpha:
        parts.append(f"alpha{setting.alpha:g}")
    if setting.temperature != usual.temperature:
        parts.append(f"tau{setting.temperature:g}")
    return "-".join(parts)


def _noises(key: str, noise: NoiseGrid, datasets: Sequence[str]) -> list[Noise]:
    kind = KINDS[noise.kind]
    for name in ("rate", "labels"):
        if bool(getattr(noise, name)) != (kind.needs == name):
            verb = "needs" if kind.needs == name else "takes no"
            raise StudyError(f"{key}.noise: kind {noise.kind!r} {verb} {name}.")
    if kind.maps:
        for dataset in datasets:
            if dataset not in MISTAKEN:
                raise StudyError(
                    f"{key}.noise.kind: {noise.kind} noise is not known for {dataset}, only for "
                    f"{', '.join(MISTAKEN)}. Take pair-flip for other data sets."
                )
    if kind.needs == "labels":
        there = human_kinds()
        for dataset, labels in itertools.product(datasets, noise.labels):
            if labels not in there.get(dataset, ()):
                raise StudyError(
                    f"{key}.noise.labels: {dataset} has no human labels {labels[:80]!r}. There "
                    "are: "
                    + "; ".join(f"{', '.join(kinds)} ({name})" for name, kinds in there.items())
                )
        return [Noise(noise.kind, labels=labels) for labels in noise.labels]
    if kind.needs == "rate":  # at a rate of 0 every kind is none
        return [Noise(noise.kind, rate) if rate > 0 else Noise("clean") for rate in noise.rate]
    return [Noise(noise.kind)]


def _known(key: str, name: str, datasets: Mapping[str, Dataset]) -> Dataset:
    if name not in datasets:
        close = get_close_matches(name, datasets, 1)
        meant = f" Did you mean {close[0]}?" if close else ""
        raise StudyError(
            f"{key}.dataset: {name[:80]!r} is not known.{meant} There are: {listed(datasets)}. "
            "One of your own is an entry under datasets."
        )
    return datasets[name]


def _check_fit(key: str, model: str, data: Dataset) -> None:
    try:
        names.check(model, data.shape[1])
    except StudyError as error:
        raise StudyError(f"{key}.model: on {data.name}: {error}") from None


def _check_hold_out(data: Dataset, fraction: float) -> None:
    train, held_out = data.split(fraction)
    if train <= 0 or held_out <= 0:
        raise StudyError(
            f"validation.fraction: {fraction:g} of the {data.subset or data.train:,} training "
            f"images of {data.name} leaves none to validate or none to train on."
        )


def _recipe(key: str, model: str, recipes: dict[str, Recipe]) -> Recipe:
    if model not in recipes:
        raise StudyError(
            f"{key}.model: there is no recipe for {model!r}. Add recipes.{model} to the config; "
            f"there are recipes for {listed(sorted(recipes))}."
        )
    recipe = recipes[model].used
    late = [m for m in recipe.milestones if m >= recipe.epochs]
    if late:
        raise StudyError(
            f"recipes.{model}.milestones: {late[0]} is beyond the last epoch. Epochs count from "
            f"0, so with epochs: {recipe.epochs} a milestone is at most {recipe.epochs - 1}."
        )
    if recipe.warmup >= recipe.epochs:
        raise StudyError(
            f"recipes.{model}.warmup: {recipe.warmup} epochs of {recipe.epochs} leave none at the "
            f"learning rate itself. It is at most {recipe.epochs - 1}."
        )
    if recipe.nesterov and not recipe.momentum:
        raise StudyError(f"recipes.{model}.nesterov: it needs a momentum above 0.")
    return recipe


def _teacher_chain(key: str, teacher: TeacherGrid, student: Chain, earlier: Grids) -> Chain:
    if teacher.experiment is None or teacher.experiment not in earlier:
        raise StudyError(
            f"{key}.teacher.experiment: {str(teacher.experiment)[:80]!r} is not an experiment "
            "above this one (a teacher comes before its students and cannot teach itself). There "
            + (f"are: {listed(earlier)}." if earlier else "is none above.")
        )
    same = [
        c
        for c in earlier[teacher.experiment]
        if (c.data, c.noise, c.seed) == (student.data, student.noise, student.seed)
        and teacher.weight_decay in (None, c.recipe.weight_decay)
    ]
    if len(same) > 1:  # the one that is pruned and retrained alike, if that tells them apart
        alike = [
            c for c in same if (c.pruning, c.retraining) == (student.pruning, student.retraining)
        ]
        same = alike or same
    if len(same) != 1:
        decay = teacher.weight_decay
        found = f"{len(same)} chains: {listed(c.objective for c in same)}" if same else "none"
        raise StudyError(
            f"{key}.teacher: experiment {teacher.experiment!r} must hold exactly one chain on "
            f"{student.data.title}, {student.noise.name}, seed {student.seed}"
            + ("" if decay is None else f", weight_decay {decay:g}")
            + f" to be the teacher; it holds {found}. Name one with teacher.weight_decay, or make "
            "the two grids agree."
        )
    return same[0]


def _refuse_shared_paths(chains: Iterable[Chain]) -> None:
    by_path: dict[str, Chain] = {}
    by_dense: dict[str, Chain] = {}
    by_labels: dict[str, Noise] = {}
    for chain in chains:
        noise = by_labels.setdefault(chain.labels, chain.noise)
        if noise != chain.noise:
            raise StudyError(
                f"experiments: the noise rates {noise.rate!r} and {chain.noise.rate!r} would share "
                f"the labels {chain.labels}. Make them differ by more than the path shows."
            )
        other = by_path.setdefault(chain.path, chain)
        if other != chain:
            differing = [
                f.name for f in fields(chain) if getattr(chain, f.name) != getattr(other, f.name)
            ]
            raise StudyError(
                f"experiments: two different chains would share the path {chain.path}; they differ "
                f"in {', '.join(differing)}. Make these values differ by more than the path shows."
            )
        dense = by_dense.setdefault(chain.dense_path, chain)
        if dense.spec(0) != chain.spec(0):
            raise StudyError(
                f"experiments: {chain.path} and {dense.path} would share the dense round at "
                f"{chain.dense_path}, but train it differently. Make their values differ by more "
                "than the path shows."
            )


def _refuse_shared_places(chains: Iterable[Chain]) -> None:
    """Two teachers from outside that only their weights tell apart."""
    found: dict[str, str] = {}
    for chain in chains:
        teacher = chain.teacher
        if not isinstance(teacher, OutsideTeacher):
            continue
        if found.setdefault(teacher.place, teacher.content) != teacher.content:
            raise StudyError(
                f"experiments: two teachers of the model {teacher.model}, with different weights, "
                f"would both be called {teacher.name}. Give them names of their own, by "
                "teacher.name."
            )
