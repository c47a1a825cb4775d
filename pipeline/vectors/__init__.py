"""Classifiers over sentence embeddings: one file a family, and what they share."""
