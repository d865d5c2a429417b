"""Driver state in checkpoints: verdicts of READY groups, also in checkpoints of earlier versions."""

from dataclasses import replace

import pyarrow as pa

from evaluator.verdict import Status
from launch.training import driver_state
from launch.training.driver_state import SCHEMA, VERDICT, read_ready, ready_parquet
from tests.factories import make_rollout

ROLLOUTS = [make_rollout(Status.WRONG_ANSWER), make_rollout(Status.PASSED, sample_index=1)]


def test_ready_groups_keep_their_verdicts():
    restored = [rollout.judgement for rollout in read_ready(ready_parquet({0: ROLLOUTS}))[0]]
    assert restored == [rollout.judgement for rollout in ROLLOUTS]
    assert restored[0].verdict.failed_test is not None


def test_ready_groups_of_earlier_versions_have_no_failed_tests(monkeypatch):
    verdict = pa.struct([field for field in VERDICT if field.name != "failed_test"])
    judgement = SCHEMA.field("judgement")
    old = pa.struct([("verdict", verdict), *(field for field in judgement.type if field.name != "verdict")])
    with monkeypatch.context() as patched:
        place = SCHEMA.get_field_index("judgement")
        patched.setattr(driver_state, "SCHEMA", SCHEMA.set(place, judgement.with_type(old)))
        content = ready_parquet({0: ROLLOUTS})
    restored = [rollout.judgement.verdict for rollout in read_ready(content)[0]]
    assert restored == [replace(rollout.judgement.verdict, failed_test=None) for rollout in ROLLOUTS]
