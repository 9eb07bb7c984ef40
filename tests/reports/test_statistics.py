import math

import numpy as np
import pandas as pd
import pytest

from scalesearch.errors import UserError
from scalesearch.reports.statistics import check_results, failed_trials, near_chance, summarise
from tests.reports.synthetic import results


def with_accuracies(accuracies: list[float], images: int) -> pd.DataFrame:
    """Candidates of equal cost with the given accuracies."""
    frame = results(len(accuracies))
    frame = frame[frame["role"] == "candidate"].copy()
    frame["correct"] = [round(accuracy * images) for accuracy in accuracies]
    frame["images"] = images
    frame["top1"] = frame["correct"] / images
    frame["score"] = frame["top1"] * 0.95
    return frame


def test_one_standard_error_at_80_percent_of_10000_images_is_0_4_points() -> None:
    assert summarise(with_accuracies([0.8], 10_000))["standard_error"].item() == pytest.approx(0.004, abs=1e-5)


def test_accuracy_and_interval_are_pooled_over_seeds() -> None:
    frame = results(2, seeds=3)
    frame.loc[frame["candidate"] == 0, ["correct", "images"]] = [81, 263]
    row = summarise(frame).set_index("candidate").loc[0]
    assert (row["correct"], row["images"], row["seeds"]) == (243, 789, 3)
    assert row["accuracy"] == pytest.approx(81 / 263)
    assert row["low"] < row["accuracy"] < row["high"]
    top1 = frame.loc[frame["candidate"] == 0, "top1"]
    assert row["seed_spread"] == pytest.approx(np.std(top1, ddof=1))
    assert row["standard_error"] >= row["seed_spread"] / math.sqrt(3)


def test_one_seed_has_no_spread() -> None:
    assert summarise(results(2))["seed_spread"].isna().all()


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_error_stays_above_zero_at_the_ends(accuracy: float) -> None:
    row = summarise(with_accuracies([accuracy], 50)).iloc[0]
    assert row["standard_error"] > 0
    assert 0 <= row["low"] < row["high"] <= 1


def test_failed_and_nan_rows_have_no_result_but_a_reason() -> None:
    frame = results(3, failed=(1,))
    frame.loc[frame["candidate"] == 2, "top1"] = math.nan
    assert set(summarise(frame)["candidate"]) == {-1, 0}
    reasons = failed_trials(frame).set_index("candidate")["reason"].to_dict()
    assert reasons == {1: "loss is not finite | epoch 2", 2: "no accuracy was recorded"}


def test_columns_with_none_are_read_as_numbers() -> None:
    frame = results(3, failed=(1,))
    loose = frame.astype(object).where(frame.notna(), None)
    pd.testing.assert_frame_equal(summarise(loose), summarise(frame), check_dtype=False)


def test_no_result_at_all_is_an_empty_summary() -> None:
    frame = results(2, failed=(-1, 0, 1))
    assert summarise(frame).empty


def test_a_missing_column_and_a_repeated_trial_are_user_errors() -> None:
    frame = results(2)
    with pytest.raises(UserError, match="no column real_ratio"):
        check_results(frame.drop(columns="real_ratio"))
    with pytest.raises(UserError, match="candidate 0, seed 0, 3 epochs twice"):
        check_results(pd.concat([frame, frame[frame["candidate"] == 0]], ignore_index=True))


def test_near_chance() -> None:
    assert near_chance(0.02, 34)
    assert near_chance(0.14, 10)
    assert not near_chance(0.2, 10)


def test_order_is_by_mean_score_and_members_are_marked() -> None:
    frame = results(25, seeds=2)
    summary = summarise(frame, {"c003", "c007"})
    assert list(summary["score"]) == sorted(summary["score"], reverse=True)
    assert set(summary.loc[summary["member"], "name"]) == {"c003", "c007"}
    means = frame.groupby("candidate")["score"].mean()
    assert dict(zip(summary["candidate"], summary["score"], strict=True)) == pytest.approx(means.to_dict())


def test_the_furthest_rung_counts_and_comes_first() -> None:
    early, late = results(3), results(3)
    early["epochs"], early["score"] = 1, 0.99
    frame = pd.concat([early, late[late["candidate"] == 1]], ignore_index=True)
    summary = summarise(frame)
    assert summary["candidate"].iloc[0] == 1
    assert list(summary["epochs"]) == [3, 1, 1, 1]
    assert summary["score"].iloc[0] == late.loc[late["candidate"] == 1, "score"].item()
    assert summary["seconds"].iloc[0] == 81.0
    check_results(frame)
