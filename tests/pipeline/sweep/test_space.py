"""What a sweep varies: how it is written, and what is refused before anything runs."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.sweep.space import Values, nested, overrides, parse_domains, short_names
from pipeline.sweep.trials import Study
from pipeline.units.plan import Plan
from tests.pipeline.sweep.made_trials import made_study, made_sweep
from tests.pipeline.tiny_experiment import ROOT


def test_values_are_yaml_and_numbers_of_a_range_are_rounded() -> None:
    choice, scale, drops = parse_domains(
        ["train.optimizer=choice:sgd,adam", "a.b=loguniform:1e-5,1e-3", "train.lr_drops=grid:[0.5,0.8],[]"],
        "random",
    )
    assert choice.values == ("sgd", "adam")
    assert scale.values == (1e-5, 1e-3)
    assert drops.values == ([0.5, 0.8], [])
    assert scale.value(3.24718e-05) == 3.25e-05
    assert choice.value("adam") == "adam"
    assert overrides({"a.b": 3.25e-05, "train.optimizer": "adam"}) == [
        "a.b=3.25e-05",
        'train.optimizer="adam"',
    ]


@pytest.mark.parametrize(
    ("texts", "search", "said"),
    [
        ([], "random", "varies at least one value, for example --param"),
        (["learn.cl-lsg.penalty=1e-4"], "random", "write KEY=KIND:VALUES with KIND one of grid, choice"),
        (["a=normal:0,1"], "random", "KIND one of grid, choice, uniform, loguniform"),
        (["a=choice:"], "random", "names no value"),
        (["a=uniform:1"], "random", "takes two numbers, the lower one first"),
        (["a=uniform:2,1"], "random", "takes two numbers, the lower one first"),
        (["a=loguniform:0,1"], "random", "two numbers above 0"),
        (["a=uniform:x,y"], "random", "takes two numbers"),
        (["a=choice:1", "a=choice:2"], "random", "--param a stands there twice"),
        (["a=grid:1,2"], "optuna", "walks no grid; write choice"),
        (["a=choice:[1"], "random", "--param a=choice:[1"),
        (["a=grid:1,true,1.0"], "random", "names 1 twice; name each value once"),
        (["a=grid:2e-4,1,0.0002"], "random", "names 0.0002 twice; name each value once"),
    ],
)
def test_a_wrong_param_is_one_sentence(texts: list[str], search: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_domains(texts, search)
    assert said in str(raised.value)


def test_a_rounded_number_stays_within_its_range() -> None:
    (domain,) = parse_domains(["train.momentum=uniform:0.9001,0.9999"], "random")
    assert [domain.value(drawn) for drawn in (0.90012, 0.95012, 0.9997)] == [0.9001, 0.95, 0.9999]


def test_names_are_as_short_as_they_can_be_and_different() -> None:
    assert short_names(["learn.cl-lsg.penalty", "train.lr", "learn.fine-tune.lr"]) == {
        "learn.cl-lsg.penalty": "penalty",
        "train.lr": "train.lr",
        "learn.fine-tune.lr": "fine-tune.lr",
    }


def test_values_become_sections_of_the_file() -> None:
    assert nested({"learn.cl-lsg.penalty": 0.1, "learn.cl-lsg.cap": 1.2, "train.lr": 0.01}) == {
        "learn": {"cl-lsg": {"penalty": 0.1, "cap": 1.2}},
        "train": {"lr": 0.01},
    }


@pytest.mark.parametrize(
    ("param", "changes", "method", "said"),
    [
        ("learn.cl-lsg.penalti=choice:1,2", [], "cl-lsg", "learn.cl-lsg.penalti: unknown key; allowed:"),
        ("learn.cl-lsg.penalty=choice:0.1,-1", [], "cl-lsg", "learn.cl-lsg: penalty"),
        (
            "learn.cl-lsg.gate_init=choice:0,1",
            [],
            "cl-lsg",
            "preset digits sets it too; change presets.digits",
        ),
        (
            "learn.cpg.cap=choice:1.3,1.5",
            [],
            "cl-lsg",
            "learn.cpg.cap: changes nothing in what cl-lsg learns",
        ),
        (
            "learn.cpg.cap=grid:1.3",
            [],
            "cl-lsg",
            "learn.cpg.cap: changes nothing in what cl-lsg learns",
        ),
        (
            "train.epochs=uniform:1,3",
            [],
            "cl-lsg",
            "train.epochs: takes whole numbers, and uniform draws others",
        ),
        ("presets.digits.learn.pnn.tasks=loguniform:2,9", [], "pnn", "write choice and the numbers, such as"),
        (
            "learn.cl-lsg.penalty=grid:a,b",
            [],
            "cl-lsg",
            "params.yaml: learn.cl-lsg.penalty: is 'a'; input should",
        ),
        ("learn.ewc.x=choice:1,2", [], "cl-lsg", "there is no section learn.ewc"),
        ("train.lr=choice:0.1,0.2", ["protocol=paper"], "cl-lsg", "add -S protocol=clean"),
        ("protocol=grid:clean,paper", [], "cl-lsg", "--param protocol: a sweep has one of these"),
        ("seeds=grid:[1],[2]", [], "cl-lsg", "--param seeds: a sweep has one of these"),
        (
            "presets.digits.network.name=grid:lenet,resnet18",
            [],
            "cl-lsg",
            "sizes are multiples of the network",
        ),
        ("train.lr=uniform:0,.inf", [], "cl-lsg", "uniform takes two numbers, the lower one first"),
        ("learn.grow-matched.cap=choice:1.2,1.3", [], "grow-matched", "stays within the sizes of cl-lsg"),
        ("train.lr=choice:0.1,0.2", [], "ewc", "methods: ewc is none of the sections of learn"),
    ],
)
def test_a_space_that_params_yaml_does_not_know_is_refused(
    tmp_path: Path, param: str, changes: list[str], method: str, said: str
) -> None:
    with pytest.raises(UserError) as raised:
        made_sweep(made_study(tmp_path, *changes, method=method), param).check()
    assert said in str(raised.value)


@pytest.mark.parametrize("param", ["penalty=grid:1", "learn.cl-lsg.penalty=grid:0.1,-1"])
def test_wrong_keys_and_values_are_found_before_images_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], param: str
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "--benchmark", "digits", "--param", param]) == 2
    assert "penalty" in capsys.readouterr().err
    assert not (tmp_path / "data/tasks").exists()


@pytest.mark.parametrize(
    ("key", "domain", "method", "tried"),
    [
        ("learn.cl-lsg.penalty", "loguniform:1e-5,1e-3", "cl-lsg", [1e-5, 1e-3]),
        ("presets.digits.learn.cl-lsg.gate_init", "choice:0.0,0.02", "cl-lsg", [0.0, 0.02]),
        ("train.lr", "choice:0.01,0.02,0.03", "scratch", [0.01, 0.02, 0.03]),
        ("train.weight_decay", "uniform:0,1", "scratch", [0, 1]),
        ("targets.rule", "grid:scratch,best_of", "cl-lsg", ["scratch", "best_of"]),
    ],
)
def test_values_of_the_method_the_preset_the_training_and_the_goals_may_vary_and_each_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, domain: str, method: str, tried: list[Any]
) -> None:
    plan, planned = Study.plan, []

    def noted(study: Study, values: Values) -> Plan:
        planned.append(values[key])
        return plan(study, values)

    monkeypatch.setattr(Study, "plan", noted)
    made_sweep(made_study(tmp_path, method=method), f"{key}={domain}").check()
    assert list(dict.fromkeys(planned)) == tried
