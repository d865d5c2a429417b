"""Results of the reduction over all processes of a run."""

from launch.cluster.doctor.collective import judge_results


def test_right_sums_are_reported_with_the_slowest_time():
    check = judge_results([(6.0, 0.01), (6.0, 0.25), (6.0, 0.02)], "GPUs by nccl")
    assert (check.state, check.detail) == ("ok", "64 MiB summed over 3 GPUs by nccl in 250 ms")


def test_wrong_sum_is_missing():
    check = judge_results([(3.0, 0.01), (2.5, 0.01)], "GPUs by nccl")
    assert check.state == "missing" and check.detail.endswith("should be 3, but is 3, 2.5")
    assert "NCCL_P2P_DISABLE" in check.remedy
