"""Where classifiers fail, and what they saw."""
