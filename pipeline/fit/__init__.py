"""Fitting any classifier: cross-fitting, tuning, the models that are kept."""
