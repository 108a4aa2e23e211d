# The system packages that prodsys needs besides Python, make and what every Debian or Ubuntu has (bash, util-linux with
# its unshare and flock, apt-get, dpkg-deb). Sourced; the caller has the functions say and die.
#
#   package             needed by          why
#   python3-venv        make demo, test    makes .prodsys/venv and .prodsys/physics; Debian splits it from python3
#   chromium            make test          the browser tests drive Airflow's UI as an operator would
#   fonts-dejavu-core   make test          without a font, the browser draws no text
#
# As root they are installed, and that is said; otherwise one line tells the command.

readonly BROWSERS="chromium chromium-browser google-chrome" # as in tests/integration/test_browser.py
readonly BROWSER_PACKAGES="chromium fonts-dejavu-core"

install_command() { # package…
  if command -v apt-get >/dev/null; then
    printf '%s' "$([ "$(id -u)" = 0 ] || printf 'sudo ')apt-get install -y $*"
  else
    printf '%s' "your system's package manager, packages like Debian's $*"
  fi
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() { # package…
  local get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  say "system packages: apt-get install -y $*"
  # The package lists of a fresh or an old machine are empty or stale: then the first try fails.
  "${get[@]}" install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
    { "${get[@]}" update && "${get[@]}" install -y --no-install-recommends "$@" >/dev/null; }
}

# Debian names the package after the interpreter: python3.12 has python3.12-venv.
install_venv_module() { # python
  local package
  package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  can_install || die "$1 has no venv module. Install it: $(install_command "$package")"
  apt_install "$package" && "$1" -c 'import ensurepip, venv' ||
    die "$1 has no venv module, and apt-get could not bring it: set PYTHON to another Python 3.11 to 3.13"
}

have_browser() {
  local name
  for name in $BROWSERS; do ! command -v "$name" >/dev/null || return 0; done
  return 1
}

# Installs a browser where that is possible; whether one is there is for require_browser to say.
offer_browser() {
  # shellcheck disable=SC2086  # a list of packages
  have_browser || ! can_install || apt_install $BROWSER_PACKAGES || true
}

require_browser() {
  # shellcheck disable=SC2086
  have_browser || die "the integration tests need a browser. Install one: $(install_command $BROWSER_PACKAGES)"
}
