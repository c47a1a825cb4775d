"""Trained classifiers behind HTTP: texts of many requests are scored together, and each is answered for itself."""
