"""Does agglomeration help, which balancing, and by how much: ``python -m experiments.agglo_study``."""
