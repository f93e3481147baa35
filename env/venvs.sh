# Virtual environments, where no Caffe is needed. Sourced by env/run.
#
# Each lies in the cache folder under what it is made of, for all checkouts. TORCH_ENV (CHECK_ENV, DEPLOY_ENV, ...) names another folder,
# TORCH_PYTHON the Python that makes it, TORCH_PIP more arguments for pip.

VENVS="check torch deploy export package web fuzz rivals"

venv() {  # venv NAME ARGS...: its Python with ARGS, made first where it is missing (without ARGS: that alone); never returns
  local name=$1 base=$1 locks=$1 of=$1.lock least=3.10 mark=.complete
  shift
  case $name in
    check) locks=plain of=plain.lock least=3.9 ;;
    torch) of="torch.lock torch.txt" ;;  # the lock has all but PyTorch's own build
    deploy | export | package | web) base=deploy of="deploy.lock export.lock web.lock package.lock" ;;
    fuzz) locks="plain fuzz" of="fuzz.lock plain.lock" least=3.11 ;;
    rivals) locks="" of="rivals.txt rivals_need.txt" ;;
  esac
  case $name in
    export) locks="deploy export" mark=.complete-export ;;
    package | web) locks="deploy export $name" mark=.complete-$name ;;
  esac
  local folder=${base^^}_ENV maker=${base^^}_PYTHON extra=${base^^}_PIP made
  folder=${!folder:-$CACHE/$base-$(digest $(printf 'env/%s ' $of))} maker=${!maker:-python3} extra=${!extra:-}
  [ "$base" != deploy ] || of=$(printf '%s.lock ' $locks)
  made=$(digest $(printf 'env/%s ' $of))
  # What a shell sets for its own Python (PYTHONPATH of ROS, PYTHONSAFEPATH) would mislead this one.
  unset PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONSTARTUP
  venv_whole || venv_make || exit 1
  [ $# != 0 ] || { say "environment: $name, $folder"; exit 0; }
  exec "$folder/bin/python" "$@"
}

venv_whole() {  # all of the lists is in it, and its Python was not upgraded away
  [ "$(cat "$folder/$mark" 2>/dev/null)" = "$made" ] && "$folder/bin/python" -c 'import os, sys
sys.exit(not os.path.isdir(sys.prefix + "/lib/python%d.%d/site-packages" % sys.version_info[:2]))' 2>/dev/null
}

venv_make() (
  "$maker" -c "import ensurepip, sys; sys.exit(sys.version_info < (${least/./, }))" >/dev/null 2>&1 ||
    { fail "$name needs Python $least or later with its venv (Debian: python3-venv), which $maker lacks: set ${base^^}_PYTHON=python3.12 or the like"; exit; }
  { mkdir -p "$folder" && exec 9>"$folder/.lock"; } 2>/dev/null ||
    { fail "$folder cannot be written: name another folder, as in ${base^^}_ENV=~/.cache/fer-lite/venv"; exit; }
  flock -n 9 || { say "waiting for another run that makes $folder"; flock 9; }
  ! venv_whole || exit 0
  say "making $folder, for $name (minutes, once; log $folder/log)"
  venv_install </dev/null >"$folder/log" 2>&1 || { fail "$folder could not be made: $(tail -n 1 "$folder/log") (network? log $folder/log)"; exit; }
  sed -n '/^note: /p' "$folder/log" >&2
  echo "$made" >"$folder/$mark"
)

venv_install() {
  local lock python=$folder/bin/python
  "$python" -m pip --version >/dev/null 2>&1 || { rm -f "$folder"/.complete* && "$maker" -m venv "$folder"; } || return
  echo '*' >"$folder/.gitignore"
  for lock in $locks; do bash "$ROOT/env/lock" "$python" "$lock" $extra || return; done
  local pip=("$python" -m pip install --disable-pip-version-check $extra)
  case $name in
    torch) "${pip[@]}" -r "$ROOT/env/torch.txt" ;;
    rivals) "${pip[@]}" -r "$ROOT/env/rivals_need.txt" && "${pip[@]}" --no-deps -r "$ROOT/env/rivals.txt" ;;  # not what they ask for beside it
  esac
}
