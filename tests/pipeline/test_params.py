"""params.yaml: what is wrong is named, all of it, before anything runs."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from ruamel.yaml import YAML

from lsg.methods import METHODS
from lsg.networks import NETWORKS, Architecture
from pipeline.errors import UserError
from pipeline.estimate import PAPER_BENCHMARKS
from pipeline.params import load_params, resolve
from pipeline.params.experiment import Params

ROOT = Path(__file__).parents[2]


def edited(tmp_path: Path, *changes: tuple[str, Any]) -> Path:
    """A copy of params.yaml with values set at dotted keys."""
    yaml = YAML()
    values = yaml.load((ROOT / "params.yaml").read_text())
    for key, value in changes:
        *sections, last = key.split(".")
        section = values
        for name in sections:
            section = section[name]
        section[last] = value
    path = tmp_path / "params.yaml"
    yaml.dump(values, path)
    return path


def fault(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as raised:
        load_params(path, overrides)
    text = str(raised.value)
    assert "\n" not in text
    return text


@pytest.fixture
def params() -> Params:
    return load_params(ROOT / "params.yaml")


def test_every_preset_of_the_file_resolves(params: Params) -> None:
    assert set(PAPER_BENCHMARKS) < set(params.presets)
    for benchmark in params.presets:
        assert resolve(params, benchmark).benchmark == benchmark


def test_a_preset_wins_over_train_and_learn(params: Params) -> None:
    split, superclass = resolve(params, "cifar100-split"), resolve(params, "cifar100-superclass")
    assert (split.train.epochs, split.train.crop_padding, split.learn["cl-lsg"].cap) == (20, 0, 0.8)
    assert (superclass.train.epochs, superclass.train.crop_padding) == (50, 4)
    assert superclass.learn["cl-lsg"].cap == 1.5
    assert superclass.train.lr == split.train.lr == 0.01
    assert superclass.network == {"name": "vgg16-bn", "hidden": 4096, "width": 64}


def test_the_reduction_differs_from_superclass_in_its_network_alone(params: Params) -> None:
    whole, quarter = resolve(params, "cifar100-superclass"), resolve(params, "cifar100-superclass-quarter")
    assert quarter.network == {"name": "vgg16-bn", "hidden": 4096 // 4, "width": 64 // 4}
    assert replace(quarter, benchmark=whole.benchmark, network=whole.network) == whole


def test_settings_are_the_librarys_own_types(params: Params) -> None:
    from lsg.train_settings import TrainSettings

    experiment = resolve(params, "digits")
    assert type(experiment.train) is TrainSettings
    assert type(experiment.learn["cl-lsg"]) is METHODS["cl-lsg"].Settings
    assert experiment.train.lr_drops == (0.5, 0.8)


def test_all_offending_keys_stand_in_one_message(tmp_path: Path) -> None:
    path = edited(
        tmp_path,
        ("train.epoch", 3),
        ("train.lr", "fast"),
        ("learn.cl-lsg.noise", "loud"),
        ("learn.gros", {}),
        ("learn.scratch.lr", 1),
        ("presets.digits.train", {"batchsize": 3}),
        ("presets.digits.learn", {"cl-lsg": {"cup": 1}}),
        ("presets.miniimagenet.network.size", 3),
        ("presets.digits.data.split", 1),
        ("benchmarks", ["digits", "mnist"]),
        ("seeds", [1, 1]),
    )
    text = fault(path)
    assert str(path) in text
    for part in (
        "train.epoch: unknown key; allowed: optimizer, lr",
        "learn.cl-lsg.noise: is 'loud'; input should be 'logit'",
        "presets.digits.train.batchsize: unknown key",
        "presets.digits.learn.cl-lsg.cup: unknown key",
        "train.lr",
        f"learn.gros: no such method; allowed: {', '.join(METHODS)}",
        "learn.scratch.lr: unknown key; there is nothing to set",
        "presets.miniimagenet.network.size: unknown key; allowed: name, width",
        "presets.digits.data.split: unknown key; allowed: source",
        "benchmarks: mnist is none of the presets",
        "seeds: 1 stands there twice",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("train.lr", -1.0, "train: lr is -1.0; allowed: over 0"),
        ("train.precision", "half", "train.precision: is 'half'; input should be 'float32' or 'bfloat16'"),
        ("train.lr", "fast", "train.lr: is 'fast'; input should be a valid number"),
        ("train.epochs", 2.5, "train.epochs: is 2.5; input should be a valid integer"),
        ("train.epochs", 10**26, f"train.epochs: is {10**26}; allowed: up to 1000000"),
        ("train.epochs", 0, "train: epochs is 0; allowed: 1 to 1000000"),
        ("train.flip", 1, "train.flip: is 1"),
        ("presets.digits.train", {"batchsize": 3}, "presets.digits.train.batchsize: unknown key; allowed: "),
        (
            "presets.digits.train",
            {"batch_size": 0},
            "presets.digits.train: batch_size is 0; allowed: 2 to 1000000",
        ),
        ("presets.digits.learn", {"cl-lsg": {"cup": 1}}, "presets.digits.learn.cl-lsg.cup: unknown key"),
        ("presets.digits.learn", {"gros": {}}, "presets.digits.learn.gros: no such method"),
        (
            "presets.digits.network.name",
            "alexnet",
            f"presets.digits.network.name: alexnet is none of {', '.join(NETWORKS)}",
        ),
        ("presets.cifar100-superclass.network.hidden", -1, "network.hidden: is -1"),
        ("presets.digits.data.validation", 1.5, "presets.digits.data: validation is 1.5; allowed: "),
        ("protocol", "honest", "protocol: is 'honest'; input should be 'clean' or 'paper'"),
        ("targets.rule", "best", "targets.rule: is 'best'"),
        ("targets.rules", "best_of", "targets.rules: unknown key; allowed: rule"),
        ("executor", "ray", "executor: unknown key; allowed: benchmarks, methods"),
        ("methods", ["scratch", "ewc"], "methods: ewc is none of the sections of learn"),
        ("methods", [], "methods: names nothing"),
        ("seeds", [-1], "seeds: -1 is not in 0 to"),
        ("seeds", 1, "seeds: is 1; input should be a valid array"),
        ("learn.fine-tune.start", "last", "learn.fine-tune.start: is 'last'; input should be 'first'"),
    ],
)
def test_a_wrong_value_names_its_key_and_what_is_allowed(
    tmp_path: Path, key: str, value: Any, said: str
) -> None:
    assert said in fault(edited(tmp_path, (key, value)))


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e400"])
@pytest.mark.parametrize(
    "key",
    [
        "train.lr",
        "train.weight_decay",
        "learn.cl-lsg.cap",
        "learn.cl-lsg.penalty",
        "learn.apd.drift",
        "presets.digits.data.test",
        "presets.digits.learn.cl-lsg.gate_init",
        "presets.digits.network.width",
    ],
)
def test_a_number_that_is_not_finite_is_refused_everywhere(key: str, value: str) -> None:
    shown = float(value.replace(".", "", 1))
    assert f"{key}: is {shown}; allowed: a finite number" in fault(ROOT / "params.yaml", f"{key}={value}")
    assert f"{key}: is {shown}; " in fault(ROOT / "params.yaml", f"{key}=[0.1, {value}]")


@pytest.mark.parametrize(
    "key", ["train.weight_decay", "learn.cl-lsg.stage_epochs", "learn.cpg.level_epochs", "learn.pnn.tasks"]
)
def test_a_number_that_is_no_size_of_anything_is_refused(key: str) -> None:
    said = f"{key}: is 1000001; allowed: up to 1000000"
    assert said in fault(ROOT / "params.yaml", f"{key}=1000001")


def test_seeds_have_their_own_range() -> None:
    overrides = ["seeds=[2147483647]", "presets.digits.data.split_seed=2147483647"]
    assert load_params(ROOT / "params.yaml", overrides).seeds == (2147483647,)


@pytest.mark.parametrize("method", ["cl-lsg", "cpg", "piggyback"])
def test_mask_rates_have_no_negative_factor(method: str) -> None:
    keys = (f"learn.{method}.mask_lr_drops=[0.5]", f"learn.{method}.mask_lr_factors=[-1]")
    assert f"learn.{method}: mask_lr_factors is " in (told := fault(ROOT / "params.yaml", *keys))
    assert "; allowed: 0 or more each" in told


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{name: made, share: 0.5, pool: max, bias: false}", ""),
        (
            "{name: made, share: half}",
            "presets.digits.network.share: is 'half'; input should be a valid number",
        ),
        ("{name: made, pool: sum}", "presets.digits.network.pool: is 'sum'; input should be 'avg' or 'max'"),
        ("{name: made, bias: 0}", "presets.digits.network.bias: is 0; input should be a valid boolean"),
    ],
)
def test_options_of_a_network_are_what_its_function_says(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    def made(
        image_shape: tuple[int, int, int],
        share: float = 1.0,
        pool: Literal["avg", "max"] = "avg",
        bias: bool = True,
    ) -> Architecture:
        raise NotImplementedError

    monkeypatch.setitem(NETWORKS, "made", made)
    override = f"presets.digits.network={value}"
    if said:
        assert said in fault(ROOT / "params.yaml", override)
    else:
        assert load_params(ROOT / "params.yaml", [override]).presets["digits"].network["pool"] == "max"


def test_a_preset_s_name_is_that_of_a_folder(tmp_path: Path) -> None:
    preset = load_params(ROOT / "params.yaml").presets["digits"].model_dump()
    assert "presets.a/b: a preset's name is that of folders" in fault(
        edited(tmp_path, ("presets.a/b", preset))
    )


def test_a_preset_s_name_is_text(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text().replace("\n  digits:", "\n  1:"))
    assert "presets.1: a preset's name is text; quote it" in fault(path, "benchmarks=[cifar100-split]")
    assert "presets.1: a preset's name is text; quote it" in fault(path, 'benchmarks=["1"]')


def test_brackets_too_deep_to_read_are_one_error() -> None:
    assert "-S seeds=[[[" in fault(ROOT / "params.yaml", f"seeds={'[' * 5000}")


@pytest.mark.parametrize("value", ["3", "[[digits]]"])
def test_a_wrong_shape_beside_an_override_is_one_error(value: str) -> None:
    said = fault(ROOT / "params.yaml", f"benchmarks={value}", "train.epochs=3")
    assert "benchmarks" in said
    assert "input should be a valid" in said


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("# größer\n".encode("latin-1"))
    assert "params.yaml is not UTF-8 (invalid start byte at byte 4); save it so" in fault(
        tmp_path / "params.yaml"
    )


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    path.write_text(text.replace("protocol: clean", "# protocol: clean"))
    assert "protocol: is missing" in fault(path)


def test_a_key_written_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text().replace("  lr: 0.01", "  lr: 0.01\n  lr: 0.02", 1))
    text = fault(path)
    assert re.search(r'line \d+\).*duplicate key "lr"', text)


def test_no_file_and_no_yaml_are_one_sentence(tmp_path: Path) -> None:
    assert "is not there" in fault(tmp_path / "none.yaml")
    path = tmp_path / "params.yaml"
    path.write_text("train: [1, 2\n")
    assert "params.yaml (line" in fault(path)


@pytest.mark.parametrize("value", ["9" * 5000, "!!int abc", "!!float x", "!!timestamp 2020-99-99"])
def test_a_number_that_cannot_be_read_is_one_sentence(value: str) -> None:
    assert "-S train.epochs=" in (said := fault(ROOT / "params.yaml", f"train.epochs={value}"))
    assert said.endswith("; mend it")


def test_numbers_read_as_dvc_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text().replace("penalty: 1.0e-4", "penalty: 1e-05"))
    assert resolve(load_params(path), "digits").learn["cl-lsg"].penalty == 1e-5


def test_a_task_order_is_a_letter_or_a_list() -> None:
    key = "presets.cifar100-split.data.task_order"
    for value, order in (("B", "B"), ("[2, 1]", (2, 1))):
        assert (
            resolve(load_params(ROOT / "params.yaml", [f"{key}={value}"]), "cifar100-split").data.task_order
            == order
        )
    assert "task_order is 'F'; allowed: A to E, or a list" in fault(ROOT / "params.yaml", f"{key}=F")
    assert f"{key}" in fault(ROOT / "params.yaml", f"{key}=3")


def test_overrides_change_values_of_any_section() -> None:
    overrides = ["train.epochs=3", "seeds=[4, 5]", "learn.cl-lsg.cap=1.1"]
    params = load_params(ROOT / "params.yaml", [*overrides, "+presets.cifar100-split.train.epochs=7"])
    assert params.seeds == (4, 5)
    assert resolve(params, "digits").train.epochs == 3
    assert resolve(params, "digits").learn["cl-lsg"].cap == 1.1
    assert resolve(params, "cifar100-split").train.epochs == 7


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.epoch=3", "train.epoch: unknown key"),
        ("trains.epochs=3", "there is no section trains; sections: train,"),
        ("train.epochs.x=3", "train.epochs is a value and has no keys; write -S train.epochs=value"),
        ("train.x.y=3", "there is no section train.x; train has no sections"),
        (
            "train={curves: false}",
            "train.curves: preset digits sets it too; change presets.digits.train.curves",
        ),
        ("train.epochs", "write section.key=value"),
        ("seeds=[1", "-S seeds=[1"),
    ],
)
def test_a_wrong_override_is_named(override: str, said: str) -> None:
    assert said in fault(ROOT / "params.yaml", override)


def test_an_override_that_a_preset_would_hide_is_refused() -> None:
    text = fault(ROOT / "params.yaml", "benchmarks=[cifar100-superclass]", "train.epochs=3")
    assert "change presets.cifar100-superclass.train.epochs" in text


def test_a_section_set_as_a_whole_is_hidden_by_a_preset_only_where_both_set_a_key() -> None:
    params = load_params(ROOT / "params.yaml", ["train={}", "learn.cl-lsg={cap: 1.4}"])
    assert (resolve(params, "digits").train.curves, resolve(params, "digits").learn["cl-lsg"].cap) == (
        True,
        1.4,
    )


def test_a_fault_of_a_section_is_not_told_again_by_those_that_extend_it() -> None:
    text = fault(ROOT / "params.yaml", "learn.cl-lsg.penalty=a", "learn.grow.when=never")
    assert text.count("input should be a valid number") == 1
    assert "learn.grow.when: is 'never'" in text


def test_a_method_of_the_code_without_a_section_says_that_it_needs_one(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text().replace("  scratch: {}", "  # scratch: {}", 1))
    assert "scratch is none of the sections of learn" in fault(path)
    assert "it needs one too, if only `scratch: {}`" in fault(path)


def test_an_unknown_benchmark_is_named(params: Params) -> None:
    known = ", ".join(sorted(params.presets))
    with pytest.raises(UserError, match=f"no benchmark mnist; presets: {known}"):
        resolve(params, "mnist")


def test_a_method_that_extends_another_starts_from_its_sections_but_keeps_its_own_defaults() -> None:
    """Grow and the rows of the ablation are CL-LSG with parts off, at CL-LSG's coefficients."""
    changes = ["learn.cl-lsg.penalty=0.5", "presets.digits.learn.cl-lsg.chunk=0.5"]
    params = load_params(ROOT / "params.yaml", changes)
    learn = resolve(params, "digits").learn
    row, grow, whole = learn["grow+sel"], learn["grow"], learn["cl-lsg"]
    assert (row.penalty, row.chunk, row.gate_init) == (0.5, 0.5, whole.gate_init)
    assert (row.selective, row.attentive, row.retrain) == (True, False, False)
    assert (grow.penalty, grow.selective, grow.attentive, grow.retrain) == (0.5, False, False, False)
    assert (whole.selective, whole.attentive, whole.retrain) == (True, True, True)


def test_what_makes_a_method_itself_is_not_inherited() -> None:
    """CL-LSG without masks leaves the rows of the ablation as they are, asked for or not."""
    learn = resolve(load_params(ROOT / "params.yaml", ["learn.cl-lsg.selective=false"]), "digits").learn
    assert (learn["cl-lsg"].selective, learn["grow+sel"].selective, learn["grow"].selective) == (
        False,
        True,
        False,
    )
    said = fault(ROOT / "params.yaml", "learn.grow+sel.selective=false")
    assert "learn.grow+sel: selective is False; allowed: True, which makes this method what it is" in said
