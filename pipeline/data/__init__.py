"""Where tweets come from: prepare, embed."""
