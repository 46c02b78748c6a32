"""Probes of students: few-shot segmentation tasks, their data, training and statistics."""
