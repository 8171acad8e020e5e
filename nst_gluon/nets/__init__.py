"""Trained nets: their files, layers, graphs for inference, tiles and exports."""
