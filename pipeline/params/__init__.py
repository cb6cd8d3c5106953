"""params.yaml read and checked, and what it asks for on one benchmark.

A key that nothing reads is an error that names it and what may stand there. The settings of data, training
and methods are dataclasses beside the code that uses them; their ranges are declared there once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.params.catalogue import Catalogue, adapter, catalogue, inherited
from pipeline.params.check import faults, shape_faults
from pipeline.params.experiment import Experiment, Params, Section
from pipeline.params_file import PARAMS_FILE, apply_override, read_values, shadowed


def load_params(path: Path = PARAMS_FILE, overrides: Iterable[str] = ()) -> Params:
    """Read and check the file, with `section.key=value` overrides on top.

    Raises UserError that lists every offending key with what may stand there.
    """
    values = read_values(path)
    paths = [apply_override(values, override) for override in overrides]
    wrong = shape_faults(values) or shadowed(values, paths) or faults(values)
    if wrong:
        raise UserError(f"{path}: {'; '.join(dict.fromkeys(wrong))}")
    return Params.model_validate_json(json.dumps(values))


def resolve(params: Params, benchmark: str) -> Experiment:
    """The experiment of one benchmark. Raises UserError when there is no such preset."""
    if benchmark not in params.presets:
        raise UserError(f"there is no benchmark {benchmark}; presets: {', '.join(sorted(params.presets))}")
    preset, known = params.presets[benchmark], catalogue()
    sections = _layered(params.learn, preset.learn, known)
    learn = {name: _make(known.methods[name], sections[name]) for name in params.learn}
    return Experiment(
        benchmark,
        params.methods,
        params.seeds,
        params.protocol,
        params.targets.rule,
        _make(known.data, preset.data),
        deepcopy(preset.network),
        _make(known.train, {**params.train, **preset.train}),
        learn,
    )


def _layered(
    learn: Mapping[str, Section], preset: Mapping[str, Section], known: Catalogue
) -> dict[str, Section]:
    """Each method's coefficients: those it inherits, its own section, the preset's on top."""
    taken = inherited(learn, preset, known)
    return {name: {**taken[name], **learn[name], **preset.get(name, {})} for name in learn}


def _make(settings: type, values: Section) -> Any:
    checked = adapter(settings).validate_json(json.dumps(values))
    return settings(**{each.name: getattr(checked, each.name) for each in fields(settings)})
