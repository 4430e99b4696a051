# Sourced by the other scripts: makes .venv, and installs manyhands in it when pyproject.toml has changed.
# Usage: need_venv GROUP   (GROUP: none, test or dev; a larger one holds the smaller)
# PYTHON names the interpreter to make it with (default: python3).

need_venv() {
    if ! is_installed "$1"; then alone install_venv "$1"; fi
}

is_installed() {
    local stamp=.venv/.installed-$1
    .venv/bin/python -c 'import pip' 2>/dev/null && [ "$(cat "$stamp" 2>/dev/null)" = "$PWD" ] && [ ! pyproject.toml -nt "$stamp" ]
}

# Run a command while no other process does so in this checkout: two would make one .venv, each under the other's feet.
alone() {
    local lock=.venv.lock
    if command -v flock >/dev/null; then
        # kept by what is started meanwhile, too: a pip whose script was killed still writes
        exec 9>"$lock"
        flock -n 9 || { say_waiting && flock 9; }
        "$@"
        exec 9>&-
        return
    fi
    lock=$lock.d
    until mkdir "$lock" 2>/dev/null; do
        kill -0 "$(cat "$lock/pid" 2>/dev/null || echo $$)" 2>/dev/null || rm -rf "$lock" # whoever made it was killed
        say_waiting
        sleep 1
    done
    echo $$ >"$lock/pid"
    trap 'rm -rf .venv.lock.d' EXIT
    "$@"
    rm -rf "$lock"
    trap - EXIT
}

say_waiting() {
    [ -n "${said_waiting:-}" ] || echo "waiting for another process that makes $PWD/.venv" >&2
    said_waiting=yes
}

install_venv() {
    local group=$1 venv=.venv stamp smaller
    if is_installed "$group"; then return; fi # somebody else has done it meanwhile
    # pip is the last thing that comes into a new environment: without it, this one is half made, or of a Python that is gone
    "$venv/bin/python" -c 'import pip' 2>/dev/null || make_venv "$venv"
    stamp=$venv/.installed-$group
    # the programs in it begin with the path that it was made in, so a checkout that was moved is installed again
    if [ "$(cat "$stamp" 2>/dev/null)" != "$PWD" ] || [ pyproject.toml -nt "$stamp" ]; then
        [ ! -e "$venv/bin/invoke" ] || head -n 3 "$venv/bin/invoke" | grep -qF "$PWD/" || make_venv "$venv"
        echo "installing manyhands in $PWD/$venv, which takes up to a minute" >&2
        set -- --quiet --disable-pip-version-check --editable .
        if [ "$group" != none ]; then
            # pip learned to read dependency groups (PEP 735) in 25.1
            "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pip>=25.1' || cannot_install
            set -- "$@" --group "$group"
        fi
        "$venv/bin/python" -m pip install "$@" || cannot_install
        for smaller in none test dev; do
            echo "$PWD" >"$venv/.installed-$smaller"
            [ "$smaller" != "$group" ] || break
        done
    fi
}

make_venv() {
    local python=${PYTHON:-python3} venv=$1 package=python3-venv
    command -v "$python" >/dev/null || give_up "there is no $python; on Debian: apt install python3 python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        give_up "manyhands needs Python 3.11 or later, and $python is older; name another with PYTHON=..."
    [ "$python" = python3 ] || package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    # Debian leaves both out of its python3; `python3 -m venv` would find out when half of .venv is there
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        give_up "$python cannot make a virtual environment; on Debian: apt install $package"
    "$python" -m venv --clear "$venv" || {
        rm -rf "$venv"
        give_up "$python could not make $PWD/$venv"
    }
}

cannot_install() {
    give_up "pip could not install what manyhands needs (see above); without a network, name a folder of wheels by PIP_FIND_LINKS"
}

give_up() {
    echo "$1" >&2
    exit 1
}
