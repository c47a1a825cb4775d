"""Who is better, by how much, at what cost: evaluate, submission."""
