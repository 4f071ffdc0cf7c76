"""Pretrained models as they are published: GGUF files, and the one that `make model` fetches."""
