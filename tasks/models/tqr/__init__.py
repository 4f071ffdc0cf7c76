"""TQRs: language models that say, for each token, its Q value and how its reward is distributed."""
