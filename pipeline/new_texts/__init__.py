"""New texts, from wherever they come: read in batches, scored by any classifier, and written as decisions."""
