"""Trainings carried out exactly once: ledger, campaign, executors, estimates, Optuna's view."""
