"""Where tweets come from: download from Kaggle, prepare."""
