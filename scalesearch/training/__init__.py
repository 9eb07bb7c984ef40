"""One training loop for classification and embeddings; its checkpoints, transfer strategies, evaluation and timing."""
