"""What happens beside training: they know `embed(x) -> [B, D]` and the trainer, nothing of the method."""
