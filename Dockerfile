# CAFFE_ENV=docker: Debian 11 with BVLC Caffe, from the same list of packages as the rootfs. `env/run --make` builds it.
FROM debian:bullseye
COPY env/packages env/sources /etc/fer-lite/
# Where Debian's mirrors have it no longer, the first of env/sources that does; signatures are verified in each.
RUN apt-get update -o APT::Update::Error-Mode=any \
 || { echo 'Acquire::Check-Valid-Until "false";' > /etc/apt/apt.conf.d/past-its-date \
      && for mirror in $(sed 's/#.*//' /etc/fer-lite/sources); do \
           echo "deb $mirror bullseye main" > /etc/apt/sources.list && apt-get update -o APT::Update::Error-Mode=any && break; \
         done; } \
 && sed 's/#.*//' /etc/fer-lite/packages \
    | DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/*
ENV LC_ALL=C.UTF-8
