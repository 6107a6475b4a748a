//! What runs in the pods of Arbitex.

use super::REVISION;
use crate::sandbox::world::World;
use std::{fs, io};

const REDIS: &str = "#!/bin/sh
exec redis-server --dir /data --appendonly yes --appendfsync always --save '' --protected-mode no --port 6379
";

/// The platform itself cannot be had; this does what its recovery depends on: it wants its database and
/// the schema that its code knows, and it writes audit events.
const START: &str = r#"#!/bin/bash
say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*"; }
sql() { PGCONNECT_TIMEOUT=5 psql "$DATABASE_URL" -XqAtw -v ON_ERROR_STOP=1 "$@"; }
rm -f /tmp/ready
trap 'say "asked to end"; exit 0' TERM
say "starting $(cat /image/version)"
if ! revision=$(sql -c 'SELECT version_num FROM alembic_version'); then
  say "FATAL the database cannot be used"
  exit 1
fi
if [ "$revision" != "$(cat /image/head)" ]; then
  say "FATAL Can't locate revision identified by '$revision'"
  exit 1
fi
touch /tmp/ready
say "ready"
while true; do
  sleep 3 & wait $!
  if sql -v key="$AUDIT_KEY" >/dev/null <<<"SELECT audit('request', :'key')"; then
    [ ! -d /var/lib/arbitex ] || date -u +%s >>/var/lib/arbitex/buffer.log
  else
    say "ERROR an audit event could not be written"
  fi
done
"#;

/// What the recovery asks of the platform's own tools.
const PYTHON: &str = r#"#!/bin/bash
sql() { PGCONNECT_TIMEOUT=5 psql "$DATABASE_URL" -XqAtw -v ON_ERROR_STOP=1 "$@"; }
head=$(cat /image/head)
case "$*" in
  "-m alembic heads") echo "$head (head)" ;;
  "-m alembic current"*)
    now=$(sql -c 'SELECT version_num FROM alembic_version') || exit 1
    if [ "$now" = "$head" ]; then echo "$now (head)"; exit 0; fi
    echo "  FAILED: Can't locate revision identified by '$now'" >&2
    exit 255 ;;
  "-m pytest tests/smoke/"*)
    tenants=$(sql -c 'SELECT count(*) FROM tenants') || { echo "1 error in 0.31s"; exit 1; }
    rules=$(sql -c 'SELECT count(*) FROM policy_rules') || { echo "1 error in 0.31s"; exit 1; }
    if [ "$tenants" -gt 0 ] && [ "$rules" -gt 0 ]; then echo "14 passed, 31 deselected in 0.84s"; exit 0; fi
    echo "FAILED tests/smoke/test_tenants.py::test_a_tenant_has_rules - assert $rules > 0"
    echo "1 failed, 3 passed, 31 deselected in 0.52s"
    exit 1 ;;
  *) echo "python here knows alembic and pytest: $*" >&2; exit 2 ;;
esac
"#;

/// Small images seldom have it, and helper pods ask for it.
const NC: &str = r#"#!/bin/bash
while [ "${1#-}" != "$1" ]; do case $1 in -w) shift 2 ;; *) shift ;; esac; done
timeout 5 bash -c "exec 3<>/dev/tcp/$1/$2"
"#;

pub(super) fn make(world: &World) -> io::Result<()> {
    for (name, content) in [
        ("start", START),
        ("bin/python", PYTHON),
        ("head", REVISION),
        ("version", "arbitex 2.14.0"),
    ] {
        world.image("platform", name, content)?;
    }
    world.image("redis", "start", REDIS)?;
    world.image("busybox", "bin/nc", NC)?;
    fs::create_dir_all(world.images().join("postgres"))
}
