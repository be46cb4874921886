# For ./quickstart and ./check: steps with times, and the Debian packages. Sourced by bash with the repository as the current directory.

started=$SECONDS
say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
[ -t 1 ] || say() { printf '==> %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# step "what it does" command...: says what begins and how long it took; ends the script when it fails.
step() {
  local what=$1 at=$SECONDS status=0
  shift
  say "$what"
  "$@" || status=$?
  [ "$status" = 0 ] || fail "\"$what\" failed after $((SECONDS - at)) s (exit status $status)"
  say "$what: done in $((SECONDS - at)) s"
}

missing_packages() { # groups...
  local group package
  while read -r group package; do
    case " $* " in *" $group "*) ;; *) continue ;; esac
    case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" in *' installed') ;; *) echo "$package" ;; esac
  done < <(grep -v '^#' packaging/packages)
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "root is needed to install packages: run as root, or install sudo, or install them yourself: $*"
  fi
}

# Touches nothing when everything is there, so that it works without root then.
install_packages() { # groups...
  command -v dpkg-query >/dev/null || fail "Debian 12 is the reference platform; elsewhere install what packaging/packages lists and build with CMake (see README.md)"
  local missing
  missing=$(missing_packages "$@" | tr '\n' ' ')
  if [ -z "$missing" ]; then
    echo "all packages are installed"
    return 0
  fi
  echo "installing: $missing"
  # Winnow runs a Postgres of its own: the package shall not start one for the whole system.
  local no_cluster=/etc/postgresql-common/createcluster.d/winnow-install.conf
  as_root mkdir -p "${no_cluster%/*}"
  echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
  # shellcheck disable=SC2086
  as_root sh -c "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/tmp/winnow-apt.\$\$ 2>&1 || { cat /tmp/winnow-apt.\$\$; rm -f /tmp/winnow-apt.\$\$ $no_cluster; exit 1; }; rm -f /tmp/winnow-apt.\$\$ $no_cluster"
}

build() { # directory, targets in one word ("": all), cmake arguments...
  local dir=$1 targets=$2
  shift 2
  [ -f "$dir/build.ninja" ] || CC=${CC:-gcc} cmake -S . -B "$dir" -G Ninja "$@" >"$dir.cmake.log" 2>&1 ||
    { cat "$dir.cmake.log"; rm -rf "$dir"; return 1; }
  # shellcheck disable=SC2086
  ninja -C "$dir" ${WINNOW_JOBS:+-j "$WINNOW_JOBS"} $targets >"$dir.build.log" 2>&1 || { grep -v '^\[' "$dir.build.log" | tail -n 60; return 1; }
}
