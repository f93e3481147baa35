"""`make demo`: small drawn data in the official formats, so that the real pipeline runs on it, and the picture at its end."""
