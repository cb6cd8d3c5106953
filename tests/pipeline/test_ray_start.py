"""Ray that is slow to come up on a busy machine is started again; one that never does is a sentence."""

import pytest
import ray

from pipeline.errors import UserError
from pipeline.execution import on_ray
from pipeline.execution.machine import Machine

SLOW = Exception("The current node timed out during startup. This could happen because")


@pytest.mark.parametrize(("failures", "starts"), [([SLOW], 2), ([SLOW] * 9, 3), ([ConnectionError("no")], 1)])
def test_a_slow_start_is_tried_again_and_a_refused_one_is_not(
    monkeypatch: pytest.MonkeyPatch, failures: list[Exception], starts: int
) -> None:
    left, begun = list(failures), 0

    def init(**options: object) -> None:
        nonlocal begun
        begun += 1
        assert options["object_store_memory"] == on_ray.OBJECT_STORE_BYTES + 1
        if left:
            raise left.pop()

    monkeypatch.setattr(ray, "init", init)
    if starts == 2:
        with on_ray.cluster(Machine(), data=1):
            pass
    else:
        said = "Ray did not start .*timed out" if starts == 3 else "no Ray cluster .*check RAY_ADDRESS"
        with pytest.raises(UserError, match=said), on_ray.cluster(Machine(), data=1):
            pass
    assert begun == starts
