"""The second engine: the prototxts, solvers, LMDBs and caffemodels of this project, run by PyTorch with Caffe's semantics.

    layers    what each layer type computes, which of its fields are known, how its blobs start
    net       a prototxt as a program of PyTorch calls; BatchNorm, Scale and ReLU fused
    norm      BatchNorm with the batch's own statistics
    data      the Data layer: LMDB in order, crop, mean, mirror; mapped, or on the device
    solver    SGD and Nesterov as Caffe steps them; caffemodel and solverstate
    engine    the engines.Trainer that training/ runs, for one trial or several
    trials    several trials side by side, each with that interface
    graph     an iteration as one CUDA graph
    network   a deploy net for evaluation/
    device    device and precision: fp32, tf32, bf16

Caffe stays the reference: tests/test_torch_parity.py holds this engine to its results. Python 3.10 or later.
"""
