#!/bin/sh
# Installs with apt what the tests need: real servers and their tools, and only what is missing.
# The tests start servers of their own on free ports; whatever the packages start is left alone.
set -eu

# tool, where Debian hides it when it is not on the PATH, package
needs='
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
'

missing=$(
  echo "$needs" | while read -r tool folder package; do
    [ -n "$tool" ] || continue
    if ! command -v "$tool" >/dev/null 2>&1 && ! [ -x "$folder/$tool" ]; then
      echo "$package"
    fi
  done | sort -u
)
[ -n "$missing" ] || exit 0

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
