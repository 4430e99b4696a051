#!/usr/bin/env bash
# What the action does: install manyhands from its own checkout, once a job, and run the batch.
set -euo pipefail

source=$(cd "$(dirname "$0")/../../.." && pwd)
venv=${RUNNER_TEMP:?}/manyhands
[[ -x $venv/bin/manyhands ]] || {
    "${BATCH_PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$source"
}

options=()
while IFS= read -r word; do
    [[ -z $word ]] || options+=("$word")
done <<<"${BATCH_OPTIONS:-}"
run() {
    "$venv/bin/manyhands" batch "${BATCH_COMMAND:?}" --ci github "${options[@]}" "$@"
}
if [[ -n ${BATCH_INPUTS:-} ]]; then
    grep . <<<"$BATCH_INPUTS" | run --from -
else
    run </dev/null
fi
