"""Before any test imports NumPy: the BLAS threads with which training runs. More of them spin while others have the processors."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import training  # noqa: F401
