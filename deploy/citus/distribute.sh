#!/bin/sh
# Makes the databases and the extension on every worker, registers the workers, and distributes the tables once.
# Needs C360_CITUS_WORKERS (host names), and in /secrets what services.migrate has. Run it again as often as you like.
set -eu
COORDINATOR=postgres
PGUSER=postgres
PGPASSWORD="$(cat /secrets/postgres-password)"
export PGUSER PGPASSWORD

ask() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --host="$1" --dbname="$2" --command="$3"; }

there="SELECT count(*) FROM pg_dist_partition WHERE logicalrelid = 'profile.partition_heads'::regclass"
for database in c360 c360_vault; do
    for worker in $C360_CITUS_WORKERS; do
        made="$(ask "$worker" postgres "SELECT count(*) FROM pg_database WHERE datname = '$database'")"
        if [ "$made" = 0 ]; then
            ask "$worker" postgres "CREATE DATABASE $database TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'"
        fi
        ask "$worker" "$database" "CREATE EXTENSION IF NOT EXISTS citus" > /dev/null
    done
    ask "$COORDINATOR" "$database" "CREATE EXTENSION IF NOT EXISTS citus" > /dev/null
    ask "$COORDINATOR" "$database" "SELECT citus_set_coordinator_host('$COORDINATOR')" > /dev/null
    # How nodes log in to each other, as each of the roles.
    for role in postgres ingest identity profile consent; do
        name=c360_$role
        [ $role = postgres ] && name=postgres
        printf "DELETE FROM pg_dist_authinfo WHERE nodeid = 0 AND rolename = '%s';\nINSERT INTO pg_dist_authinfo VALUES (0, '%s', 'password=%s');\n" \
            "$name" "$name" "$(cat "/secrets/$role-password")"
    done | psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host="$COORDINATOR" --dbname="$database"
    for worker in $C360_CITUS_WORKERS; do
        ask "$COORDINATOR" "$database" "SELECT citus_add_node('$worker', 5432)" > /dev/null
    done
done
if [ "$(ask "$COORDINATOR" c360 "$there")" = 0 ]; then
    psql --no-psqlrc --quiet --host="$COORDINATOR" --dbname=c360 --file=/citus/distribute.sql > /dev/null
fi
