"""What the project is kept with; nothing of it runs in a stage."""
