#!/bin/sh
# Builds the wheel by way of the sdist, installs it into an environment of its own, and runs tests/e2e against it.
set -eu
cd "$(dirname "$0")/.."
scripts/ensure-chromium.sh

rm -rf .cache/dist
scripts/uv.sh build --quiet --out-dir .cache/dist
export UV_PROJECT_ENVIRONMENT=.cache/e2e
scripts/uv.sh sync --quiet --locked --all-extras --no-default-groups --group test --no-install-project
scripts/uv.sh pip install --quiet --python .cache/e2e/bin/python --no-deps --reinstall .cache/dist/headrace-*.whl

# The installed package is what is tested: neither the checkout nor an editable install may stand before it.
unset PYTHONPATH
.cache/e2e/bin/python -P -c '
import headrace, pathlib, sys
at = pathlib.Path(headrace.__file__)
sys.exit(0 if "site-packages" in at.parts else f"headrace was imported from {at}, not from the wheel")'

PATH="$PWD/.cache/e2e/bin:$PATH" .cache/e2e/bin/pytest ${REPORT:+--junitxml="$REPORT"} tests/e2e "$@"
