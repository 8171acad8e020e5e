"""VGG with fixed weights: where they come from, and the network that maps a picture to activations."""
