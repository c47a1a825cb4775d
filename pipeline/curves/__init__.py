"""Studies that fit classifiers again: learning curves, robustness, generation."""
