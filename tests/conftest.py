"""Before any test imports NumPy: the BLAS threads with which training runs. More of them spin while others have the processors."""
import training  # noqa: F401
