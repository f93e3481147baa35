# Part of env/run: the provider rootfs, a Debian 11 in the cache folder. env/make_rootfs writes it; here it is entered
# with bubblewrap, or with chroot by root where namespaces are forbidden. It is read-only; all folders of / but the
# system's are the host's own, so that files keep their paths and owners.

INSIDE="LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_ETC="passwd group hosts localtime resolv.conf"  # files of /etc that stay the host's in a rootfs

rootfs=$CACHE/rootfs-$(digest env/packages env/sources env/make_rootfs)
rootfs_place() { echo "$rootfs"; }
rootfs_there() { [ -e "$rootfs" ]; }  # it gets its name when it is whole
rootfs_possible() { rootfs_there || [ "$(uname -s)" = Linux ]; }
rootfs_make() { tools build && locked rootfs_build; }

rootfs_build() {
  rootfs_there && return  # another run made it while we waited
  local log=$rootfs.log part=$rootfs.$BASHPID.part
  say "making $rootfs: Debian 11 with Caffe (about a minute, 1 GB; log $log)"
  rm -rf "$CACHE"/rootfs-*.part  # of killed runs
  # Without the lock: what a killed run has started may hang for ever.
  bash "$ROOT/env/make_rootfs" "$part" "$log" 9>&- || {
    fail "the rootfs could not be made: $(problem "$log") (network? DEBIAN_MIRROR? log $log)"
    rm -rf "$part"; return 1
  }
  (rootfs=$part; right) || return
  leave_chroot "$part"
  mv -T "$part" "$rootfs" && remove_older
}

remove_older() {  # rootfs of ours with another list, unless something runs in one
  local old
  for old in "$CACHE"/rootfs-*; do
    case ${old#"$CACHE/rootfs-"} in ????????????) ;; *) continue ;; esac
    [ "$old" != "$rootfs" ] && [ -d "$old" ] || continue
    flock -n -x "$old" true || continue
    leave_chroot "$old" && rm -rf "$old" "$old.log" && say "removed the older $old"
  done
}

rootfs_enter() {
  local folder
  tools || exit 1
  for folder in "$ROOT" "$PWD"; do
    case $folder/ in /usr/* | /etc/* | /boot/* | /bin/* | /lib/* | /sbin/*)
      fail "$folder lies in a system folder, which the environment replaces: work elsewhere"; exit 1 ;;
    esac
  done
  see_all 'bin|boot|etc|lib|lib32|lib64|libx32|sbin|usr' "$@" || exit 1
  leave_host
  exec {in_use}<"$rootfs" && flock -s "$in_use"  # CMD keeps it open, so remove_older lets this rootfs live
  if bwrap --dev-bind / / true 2>/dev/null; then bubble "$@"; else enter_chroot "$@"; fi
}

bubble() {  # run CMD under bubblewrap
  local -a options=(--die-with-parent)
  local folder name
  for folder in "$rootfs"/{bin,lib*,sbin,usr}; do
    if [ -L "$folder" ]; then options+=(--symlink "$(readlink "$folder")" "/${folder##*/}")
    else options+=(--ro-bind "$folder" "/${folder##*/}"); fi
  done
  options+=(--ro-bind "$rootfs/etc" /etc --dev-bind /dev /dev --bind /proc /proc --bind /sys /sys)
  for name in $HOST_ETC; do options+=(--ro-bind-try "/etc/$name" "/etc/$name"); done
  while IFS= read -r folder; do
    if [ -L "$folder" ]; then options+=(--symlink "$(readlink "$folder")" "$folder")
    else options+=(--bind "$folder" "$folder"); fi
  done < <(top_folders)
  options+=(--remount-ro / --chdir "$PWD")
  relay "$@"
}

# bwrap stands between us and CMD: it passes no signal on, and CMD dies when it does. So it ignores them, and we
# send them to CMD, which tells its process id through a pipe before it starts. In the foreground of a terminal
# Ctrl-C reaches CMD by itself; elsewhere CMD gets a session of its own, and a signal goes to all of that.
relay() {
  local pgrp tpgid job status pipe child="" group="" waiting=yes signals=INT,QUIT,TERM
  read -r _ _ _ _ pgrp _ _ tpgid _ <"/proc/$$/stat"
  exec {pipe}<> <(:)
  trap 'pass_on TERM' TERM
  # Under nohup SIGHUP stays ignored, here and by CMD.
  [ -n "$(trap -p HUP)" ] || { signals+=,HUP; trap 'pass_on HUP' HUP; }
  if [ "$pgrp" = "$tpgid" ]; then trap '' INT QUIT
  else options+=(--new-session); group=-; trap 'pass_on INT' INT; trap 'pass_on QUIT' QUIT; fi
  (
    trap '' INT QUIT TERM HUP
    exec bwrap "${options[@]}" /bin/bash -c "echo \$\$ >&$pipe
      exec $pipe>&- /usr/bin/env --default-signal=$signals $INSIDE \"\$@\"" bash "$@"
  ) <&0 &
  job=$!
  while [ -n "$waiting" ]; do waiting=; wait "$job"; status=$?; done
  exit "$status"
}

pass_on() {  # a signal came in: send it on, then wait again
  [ -n "$child" ] || read -r -t 5 child <&"$pipe"
  [ -z "$child" ] || kill -s "$1" -- "$group$child" 2>/dev/null
  waiting=yes
}

# Where root may make no namespaces but may mount: the same view of folders under /run, until the next boot.
enter_chroot() {
  local view=/run/fer-lite-${rootfs##*/}
  [ "$UID" = 0 ] || { fail "namespaces are forbidden here, which bubblewrap needs: $(namespaces)"; exit 1; }
  (flock 9; mounted "$view" || mount_view "$view") 9>"$view.lock" || {
    fail "neither namespaces nor bind mounts are allowed here: use a container with --privileged, or CAFFE_ENV=system"
    exit 1
  }
  exec chroot "$view" /usr/bin/env -C "$PWD" $INSIDE "$@"
}

mounted() { grep -qF " $1/etc " /proc/self/mountinfo; }

mount_view() {  # /etc last: it tells that all are there
  local folder name
  umount -R "$1" 2>/dev/null
  {
    mkdir -p "$1" && mount -t tmpfs -o mode=755 tmpfs "$1" && mount --make-private "$1" &&
      for folder in /dev /proc /sys $(top_folders | grep -vx /run); do
        mkdir "$1$folder" && mount --rbind "$folder" "$1$folder" && mount --make-rslave "$1$folder" || return
      done &&
      for folder in "$rootfs"/{bin,lib*,sbin,usr,etc}; do
        name=${folder##*/}
        if [ -L "$folder" ]; then ln -s "$(readlink "$folder")" "$1/$name" || return
        else mkdir "$1/$name" && mount --bind "$folder" "$1/$name" && mount -o remount,bind,ro "$1/$name" || return; fi
      done &&
      for name in $HOST_ETC; do [ ! -e "/etc/$name" ] || mount --bind "/etc/$name" "$1/etc/$name" || return; done
  } 2>/dev/null
}

leave_chroot() {  # leave_chroot ROOTFS: undo enter_chroot's mounts of it
  local view=/run/fer-lite-${1##*/}
  ! mounted "$view" || umount -R "$view"
}

namespaces() {  # what an administrator would change
  local name bad good
  while read -r name bad good; do
    [ "$(cat "/proc/sys/${name//.//}" 2>/dev/null)" != "$bad" ] || { echo "sudo sysctl -w $name=$good"; return; }
  done <<<"kernel.apparmor_restrict_unprivileged_userns 1 0
kernel.unprivileged_userns_clone 0 1
user.max_user_namespaces 0 10000"
  echo "run it as root, or CAFFE_ENV=docker"
}

tools() {  # tools [build]: see that the programs are there; root installs what is missing
  local -a missing=()
  type -P bwrap >/dev/null || missing+=(bubblewrap)
  if [ $# -gt 0 ]; then
    type -P mmdebstrap >/dev/null || missing+=(mmdebstrap)
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
    [ "$UID" = 0 ] || type -P newuidmap >/dev/null || missing+=(uidmap)
  fi
  if [ ${#missing[@]} -gt 0 ]; then install "${missing[@]}" || return; fi
  local user ids
  user=$(id -un 2>/dev/null)
  [ $# = 0 ] || [ "$UID" = 0 ] || grep -qE "^($user|$UID):" /etc/subuid 2>/dev/null || {
    ids=$(free_ids)
    fail "mmdebstrap needs subordinate ids for you: sudo usermod --add-subuids $ids --add-subgids $ids $user"
  }
}

install() {
  local log=$CACHE/apt.log
  type -P apt-get >/dev/null || { fail "install these with this system's package manager: $*"; return; }
  [ "$UID" = 0 ] || { fail "programs are missing: sudo apt-get install $*"; return; }
  cache || return
  say "installing $* (log $log)"
  {
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
  } </dev/null >"$log" 2>&1 || fail "apt-get could not install $*: $(problem "$log") (log $log)"
}

free_ids() {  # 65536 ids above those already given away
  cat /etc/subuid /etc/subgid 2>/dev/null |
    awk -F: 'BEGIN { n = 100000 } $2 + $3 > n { n = $2 + $3 } END { print n "-" n + 65535 }'
}

problem() { grep -m 1 -iE '^E: |^dpkg: error|failed|error:' "$1" || tail -n 1 "$1"; }  # of a log: the line that tells
