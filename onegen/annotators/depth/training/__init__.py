"""How the embedded depth network was made: scenes with known depth, its training and its measured quality.

    python -m onegen.annotators.depth.training.train WORK depth_head.onnx    # needs torch; about 15 minutes on 2 cores
    python -m onegen.annotators.depth.training.evaluate                      # the figures in ../embedded.py

No registry package carries monocular depth weights, so this one is our own: small, made from permissively licensed
material alone, and named for what it is.
"""
