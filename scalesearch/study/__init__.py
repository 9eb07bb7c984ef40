"""What a search asks and what its results mean: plan, race, statistics, answer, record. Pure: no torch."""
