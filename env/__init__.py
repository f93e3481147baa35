"""A Caffe that computes right: env/run finds or makes it, engines.doctor holds it against NumPy."""
