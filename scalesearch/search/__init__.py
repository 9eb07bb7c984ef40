"""Trains each candidate exactly once per seed and says which coefficients won."""
