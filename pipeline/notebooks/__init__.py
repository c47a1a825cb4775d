"""What the notebooks are made of: small tables to look at, and their pages."""
