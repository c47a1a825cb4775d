"""What goes to Kaggle and comes from it: commands, none of them a stage of dvc.yaml."""
