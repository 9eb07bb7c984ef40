"""From a run's results to tables, figures and one report; values in, artefacts out."""
