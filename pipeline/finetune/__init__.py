"""Fine-tuned transformers."""
