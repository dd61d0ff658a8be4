"""What a model knows, measured: arrays in, numbers out."""
