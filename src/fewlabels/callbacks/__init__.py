"""Lightning callbacks. They use the trainer and the network's `embed`, and work with every method."""
