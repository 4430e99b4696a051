# Sourced by scripts/run and scripts/test: makes .venv, and installs manyhands in it when pyproject.toml has changed.
# Usage: need_venv GROUP   (GROUP: none, test or dev; a larger one holds the smaller)
# PYTHON names the interpreter to make it with (default: python3).

need_venv() {
    local group=$1 venv=.venv stamp
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            echo "manyhands needs Python 3.11 or later; name one with PYTHON=..." >&2
            exit 1
        }
        "${PYTHON:-python3}" -m venv --clear "$venv" || {
            echo "cannot make $venv: on Debian, install python3-venv" >&2
            exit 1
        }
    fi
    stamp=$venv/.installed-$group
    if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
        set -- --quiet --disable-pip-version-check --editable .
        if [ "$group" != none ]; then
            # pip learned to read dependency groups (PEP 735) in 25.1
            "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pip>=25.1' || exit 1
            set -- "$@" --group "$group"
        fi
        "$venv/bin/python" -m pip install "$@" || exit 1
        touch "$stamp"
    fi
}
