"""The suite's methods once more, in PyTorch: a peer for :mod:`bench.engines.gluon`, and an independent check of it.

    library     the only import of PyTorch
    descriptor  VGG's named activations
    objective   the common objective, every preset
    nets        a net's description as a module, with a file's parameters
    minimisers  other ways downhill than the suite's own
    devices     precision, memory layout, clocks and memory of a CPU or a GPU
    backend     what executes a cell

Nothing here knows MXNet; presets, weights, net files, pictures and the optimisation's loop are nst_gluon's, which
need no engine.
"""
