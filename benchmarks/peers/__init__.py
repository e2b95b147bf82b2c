"""Our solvers and layers beside those of TensorLy, TensorLy-Torch and tednet; see docs/peers.md.

asv imports every module of this folder at every commit that it visits, whose tnbench may be an older one and which
have no peers. Hence tnbench and the peers are imported where they are called, here alone.
"""
