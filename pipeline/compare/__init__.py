"""From predictions to a comparison and a submission."""
