"""A small encoder that larger classifiers teach, and its export: fast, and without torch."""
