from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000009"
VERSION = "1.38.0"
DESCRIPTION = "accounts of our own, under names by which nobody else who uses the table of users finds them"

# Who made the table, the comment of migration 0001 says. Here it is about what else uses it: Better Auth, for one, finds
# a user by the address, and gives whoever owns it a new password. A row that has been claimed so, as its tables tell,
# keeps its address, and takes no password of ours any more.
FORWARDS = r"""
DO $$
DECLARE
    other record;
    rows text[];
    claimed text[] := '{{}}';
    before text := current_setting('row_security');
BEGIN
    -- Where a policy would hide rows from us, the query fails instead.
    PERFORM set_config('row_security', 'off', true);
    FOR other IN
        SELECT DISTINCT k.conrelid::regclass AS found, a.attname AS name
        FROM pg_constraint AS k JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
        WHERE k.contype = 'f' AND k.confrelid = '"user"'::regclass
        AND k.conrelid NOT IN (
            'credentials'::regclass, 'login_sessions'::regclass, 'personal_access_tokens'::regclass
        )
        AND EXISTS (
            SELECT FROM pg_attribute AS s WHERE s.attrelid = k.conrelid AND s.attname ~* 'password|provider|token'
        )
    LOOP
        BEGIN
            EXECUTE format(
                'SELECT array_agg(%1$I::text) FROM %2$s WHERE %1$I::text IN (SELECT user_id FROM credentials)',
                other.name, other.found
            ) INTO rows;
        EXCEPTION WHEN insufficient_privilege THEN
            SELECT array_agg(user_id) FROM credentials INTO rows;  -- nobody knows, so all of them may be
        END;
        claimed := claimed || rows;
    END LOOP;
    PERFORM set_config('row_security', before, true);
    UPDATE "user" AS u SET email = lower(u.email) || '.user.invalid'
    FROM credentials AS c WHERE c.user_id = u.id AND u.id NOT IN (SELECT unnest(claimed)) AND u.email NOT LIKE '%user.invalid'
    AND NOT EXISTS (SELECT FROM "user" AS o WHERE o.email = lower(u.email) || '.user.invalid');
END $$
"""
BACKWARDS = r"""
UPDATE "user" AS u SET email = left(u.email, -length('.user.invalid'))
FROM credentials AS c WHERE c.user_id = u.id AND u.email LIKE '%.user.invalid'
AND NOT EXISTS (SELECT FROM "user" AS o WHERE lower(o.email) = left(u.email, -length('.user.invalid')))
"""


class Raw(Table):
    """Runs SQL on the connection of the migration."""


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="tasks", description=DESCRIPTION)

    async def run():
        await Raw.raw(FORWARDS)

    async def run_backwards():
        await Raw.raw(BACKWARDS)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
