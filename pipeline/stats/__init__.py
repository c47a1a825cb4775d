"""Statistics of scores and labels."""
