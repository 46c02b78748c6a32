"""Errors of events and measures on phantoms: ``python -m experiments.measure_accuracy``."""
