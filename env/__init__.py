"""A Caffe that computes right: env/run finds or makes it, env.doctor holds it against NumPy."""
