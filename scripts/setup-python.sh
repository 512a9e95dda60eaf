#!/usr/bin/env bash
# Makes target/venv with the clients that tests drive: the newest aws cli of pip, boto3, pytest.
# Does nothing while tests/clients/requirements.txt and the interpreter stay the same.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

venv=target/venv
# Not the python of the environment that is about to go.
PATH=${PATH//"$PWD/$venv/bin:"/}
command -v python3 >/dev/null || install_packages python3
stamp=$(python3 -c 'import sys; print(sys.version)'; cat tests/clients/requirements.txt)
if [ -f $venv/stamp ] && [ "$(cat $venv/stamp)" = "$stamp" ]; then exit 0; fi
python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
say "making $venv"
rm -rf $venv
mkdir -p target
python3 -m venv $venv
$venv/bin/pip install -q --disable-pip-version-check -r tests/clients/requirements.txt
printf '%s\n' "$stamp" > $venv/stamp
