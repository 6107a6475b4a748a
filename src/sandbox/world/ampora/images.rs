//! What runs in the pods of Ampora: it wants its database, opens a sealed field with its key, and says every
//! two seconds how its parts are.

use crate::sandbox::world::World;
use std::io;

const START: &str = r#"#!/bin/bash
sql() {
  PGPASSWORD=$DATABASE_PASSWORD PGSSLMODE=verify-full PGSSLROOTCERT=/etc/ssl/certs/ca-certificates.crt PGCONNECT_TIMEOUT=5 \
    psql -XqAtw -v ON_ERROR_STOP=1 -h "$DATABASE_HOST" -p 5432 -U ampora -d ampora -v key="$MASTER_KEY" "$@"
}
rm -f /tmp/ready
trap 'exit 0' TERM
if [ -z "$MASTER_KEY" ]; then echo "FATAL there is no master key"; exit 1; fi
if ! sql >/dev/null <<<'SELECT 1'; then echo "FATAL the database cannot be used"; exit 1; fi
if [ "$AUDIT_RETENTION_ENABLED" = true ]; then
  # Events older than they may be are removed at every start.
  sql <<<"DELETE FROM audit_events WHERE created_at < now() - interval '1 hour'" || true
fi
while true; do
  database=healthy keys=healthy federation=healthy
  if ! opened=$(sql 2>&1 <<<"SELECT pgp_sym_decrypt(sealed, :'key') FROM credentials LIMIT 1"); then
    keys="failed to decrypt: ${opened##*ERROR: }"
    keys=${keys%%$'\n'*}
    if ! sql >/dev/null 2>&1 <<<'SELECT 1'; then database="down"; keys=unknown; fi
  fi
  if [ -z "$FEDERATION_CERTIFICATE" ]; then
    federation="federation call refused (403): the peer does not know the thumbprint"
  fi
  jq -cn --arg database "$database" --arg keys "$keys" --arg federation "$federation" \
    '{database: $database, keys: $keys, federation: $federation}'
  touch /tmp/ready
  if [ "$keys" = healthy ]; then
    sql >/dev/null 2>&1 <<<"SELECT audit('heartbeat', :'key')" || true
  fi
  sleep 2 & wait $!
done
"#;

pub(super) fn make(world: &World) -> io::Result<()> {
    world.image("web", "start", START)
}
