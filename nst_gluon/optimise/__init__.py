"""Optimising one picture: L-BFGS, Adam, coarse to fine."""
