"""The objective of the search.

Score = Accuracy · (FLOPS / T)^−0.07 (Tan & Le 2019, section 4; the printed exponent's sign is a misprint in v5).
"""

EXPONENT = -0.07


def score(accuracy: float, macs: float, target_macs: float) -> float:
    """Accuracy (0…1) discounted by cost: doubling the FLOPs must bring 5 % relative accuracy to break even.

    T multiplies every score by the same T^0.07, so it cannot change which candidate wins; it sizes the baseline
    and keeps scores near accuracies.
    """
    return float(accuracy * (macs / target_macs) ** EXPONENT)
