"""What every stage shares: one-line errors, files that are whole or absent, progress, cores, Caffe's files, the readers of runs."""
