"""Classifiers on counts of words."""
