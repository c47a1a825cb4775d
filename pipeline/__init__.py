"""Is a tweet about a real disaster? Generative and discriminative classifiers on the same rows."""
