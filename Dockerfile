# CAFFE_ENV=docker: Debian 11 with BVLC Caffe, from the same list of packages as the rootfs. `env/run --make` builds it.
FROM debian:bullseye
COPY env/packages /etc/fer-lite-packages
RUN apt-get update \
 && sed 's/#.*//' /etc/fer-lite-packages \
    | DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/*
ENV LC_ALL=C.UTF-8
