"""The two roles of the service in PostgreSQL, what each of them may do, and how our functions are kept from others.

Roles belong to a server, and not to a database. So these have the numbers (oid) of the database and of the schema in
their names: `tasks_app_16384_2200` is who the service asks as, `tasks_definer_16384_2200` owns the functions that run
as their owner (SECURITY DEFINER). A database that was restored, or copied from a template, has other numbers, and gets
roles of its own when it is migrated next, also where no migration is missing.
"""

import asyncpg

READ_AND_WRITE: tuple[str, ...] = ("SELECT", "INSERT", "UPDATE", "DELETE")

# What the service does itself. A new table, or a function that it calls (itself or from a trigger of those that run as
# who changes a row), has its line here; a migration grants nothing.
WRITABLE_TABLES = (
    *("user", "tasks", "revisions", "task_versions", "old_versions", "task_indexes", "task_words", "task_titles"),
    *("idempotency_keys", "leaving_users", "rate_limits", "credentials", "login_sessions", "personal_access_tokens"),
    *("task_lists", "task_labels", "task_list_versions", "task_label_versions"),
)
SERVICE = dict.fromkeys(WRITABLE_TABLES, READ_AND_WRITE) | {
    "tasks_id_seq": ("USAGE",),
    "task_lists_id_seq": ("USAGE",),
    "task_labels_id_seq": ("USAGE",),
    "task_settings": ("SELECT", "UPDATE"),
    "tasks_found": ("EXECUTE",),
    "tasks_next_revision": ("EXECUTE",),
}
# What functions do that run as their owner.
DEFINER = dict.fromkeys(("task_words", "task_titles"), ("SELECT", "DELETE", "TRUNCATE"))
# Where they see to the owner of a row themselves. A policy would be asked row by row, in place of an index.
UNHIDDEN_FROM_DEFINER = "task_words"

_IS_16 = "current_setting('server_version_num')::int >= 160000"
_MAY_TAKE_ON = f"pg_has_role(r.oid, CASE WHEN {_IS_16} THEN 'SET' ELSE 'MEMBER' END)"

# The service's role, where it is there, and for us. Not where the table of users was made anew by others since it was
# let in.
NAME = f"""
    SELECT r.rolname FROM pg_roles AS r
    WHERE r.rolname = (
        SELECT format('tasks_app_%s_%s', d.oid, tasks.relnamespace) FROM pg_database AS d, pg_class AS tasks
        WHERE d.datname = current_database() AND tasks.oid = to_regclass('tasks')
    )
    AND {_MAY_TAKE_ON} AND has_table_privilege(r.oid, to_regclass('"user"'), 'INSERT')
    AND (
        SELECT bool_and(has_schema_privilege(r.oid, c.relnamespace, 'USAGE'))
        FROM pg_class AS c WHERE c.oid IN (to_regclass('tasks'), to_regclass('"user"'))
    )
"""

# One row: who we are here. No row where there are no tables, or where they are not ours to grant.
_FACTS = f"""
    SELECT format('tasks_app_%s_%s', d.oid, n.oid) AS service, format('tasks_definer_%s_%s', d.oid, n.oid) AS definer,
        n.oid AS schema, quote_ident(n.nspname) AS schema_name, quote_ident(owner.rolname) AS owner,
        me.rolsuper OR pg_has_role(n.nspowner, 'USAGE') AS owns_schema, me.rolsuper AS is_superuser,
        -- Where our functions look for tables: not where their caller does.
        concat_ws(', ', quote_ident(n.nspname), (
            SELECT quote_ident(u.nspname) FROM pg_class AS c JOIN pg_namespace AS u ON u.oid = c.relnamespace
            WHERE c.oid = to_regclass('"user"') AND u.oid <> n.oid
        ), 'pg_temp') AS path,
        CASE WHEN {_IS_16} THEN 'WITH INHERIT TRUE, SET TRUE' ELSE '' END AS how
    FROM pg_database AS d, pg_roles AS me, pg_class AS tasks
        JOIN pg_namespace AS n ON n.oid = tasks.relnamespace JOIN pg_roles AS owner ON owner.oid = tasks.relowner
    WHERE d.datname = current_database() AND me.rolname = current_user AND tasks.oid = to_regclass('tasks')
        AND pg_has_role(tasks.relowner, 'USAGE')
"""
# Whether we may do what a role may, or can come to that.
_STANDING = f"""
    SELECT r.oid IS NOT NULL AS is_there,
        coalesce({_MAY_TAKE_ON} AND pg_has_role(r.oid, 'USAGE'), false) AS is_ours,
        (me.rolinherit OR me.rolsuper OR {_IS_16}) AND CASE
            WHEN r.oid IS NULL OR NOT {_IS_16} THEN me.rolcreaterole OR me.rolsuper
            ELSE pg_has_role(r.oid, 'USAGE WITH ADMIN OPTION')
        END AS may_join
    FROM pg_roles AS me LEFT JOIN pg_roles AS r ON r.rolname = $1 WHERE me.rolname = current_user
"""
# Each right that somebody beside its owner has on what is ours. Another's function is not, whatever its name.
_RIGHTS = """
    WITH objects AS (
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.oid::regclass::text AS object,
            c.relname::text AS name, c.relowner AS owner, false AS is_definer, NULL::text AS path, c.relacl AS acl
        FROM pg_class AS c
        WHERE c.relkind IN ('r', 'p', 'S') AND (c.relnamespace = $1 OR c.oid = to_regclass('"user"'))
            AND pg_has_role(c.relowner, 'USAGE')
        UNION ALL
        SELECT 'FUNCTION', p.oid::regprocedure::text, p.proname::text, p.proowner, p.prosecdef,
            CASE WHEN p.prosqlbody IS NULL THEN coalesce(
                (SELECT substr(each, 13) FROM unnest(p.proconfig) AS each WHERE each LIKE 'search_path=%'), ''
            ) END, coalesce(p.proacl, acldefault('f', p.proowner))
        FROM pg_proc AS p JOIN pg_class AS tasks ON tasks.oid = to_regclass('tasks')
            JOIN pg_roles AS o ON o.oid = p.proowner
        WHERE p.pronamespace = $1 AND starts_with(p.proname, 'tasks_') AND pg_has_role(o.oid, 'USAGE')
            AND (o.oid = tasks.relowner OR o.rolname = current_user OR o.rolname ~ '^tasks_definer_[0-9]+_[0-9]+$')
        UNION ALL
        SELECT 'SCHEMA', quote_ident(n.nspname), n.nspname::text, n.nspowner, false, NULL, n.nspacl
        FROM pg_namespace AS n WHERE n.oid = $1
    )
    SELECT o.kind, o.object, o.name, quote_ident(owner.rolname) AS owner, o.is_definer, o.path,
        a.privilege_type AS right,
        CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END AS grantee,
        -- Not one of another installation, in another schema of this database: the table of users may be both's.
        coalesce(r.rolname ~ '^tasks_(app|definer)(_[0-9]+_[0-9]+)?$', false) AND NOT EXISTS (
            SELECT FROM pg_namespace AS n, pg_database AS d WHERE d.datname = current_database() AND n.oid <> $1
                AND r.rolname ~ format('^tasks_(app|definer)_%s_%s$', d.oid, n.oid)
        ) AS is_ours
    FROM objects AS o JOIN pg_roles AS owner ON owner.oid = o.owner
    LEFT JOIN aclexplode(o.acl) AS a ON a.grantee <> o.owner LEFT JOIN pg_roles AS r ON r.oid = a.grantee
    ORDER BY o.kind, o.object
"""
_LACKS_POLICY = """
    SELECT to_regclass($1) IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_policy WHERE polrelid = to_regclass($1) AND polroles = ARRAY[to_regrole($2)::oid]
    )
"""
# The schema of a table of users that is not beside ours, where the role is not let into it, and we may do that.
_CLOSED = """
    SELECT quote_ident(n.nspname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass('"user"') AND n.oid <> $1 AND pg_has_role(n.nspowner, 'USAGE') AND NOT EXISTS (
        SELECT FROM aclexplode(n.nspacl) WHERE grantee IN (0, to_regrole($2)::oid) AND privilege_type = 'USAGE'
    )
"""
# Where no other database of the server needs it; and not if that takes a wait.
_DROP_FORMER = """
    DO $$ BEGIN
        SET LOCAL lock_timeout = '100ms';
        DROP ROLE tasks_app;
    EXCEPTION WHEN OTHERS THEN NULL;
    END $$
"""


async def needed(connection: asyncpg.Connection) -> list[str]:
    """Return the statements after which the roles have their rights and our functions are kept from everybody else.

    None where all of it is so already, where there are no tables, and where the login does not own them.
    """
    facts = await connection.fetchrow(_FACTS)
    if facts is None:
        return []
    statements: list[str] = []
    wanted: set[tuple[str, str, str]] = set()  # object, right, grantee
    usable: set[str] = set()
    rows = await connection.fetch(_RIGHTS, facts["schema"])
    for role, rights in ((facts["service"], SERVICE), (facts["definer"], DEFINER)):
        [standing] = await connection.fetch(_STANDING, role)
        if not (standing["is_ours"] or standing["may_join"]):
            continue
        usable.add(role)
        if not standing["is_there"]:
            statements.append(f"CREATE ROLE {role} NOLOGIN")
        if not standing["is_ours"]:
            statements.append(f"GRANT {role} TO CURRENT_USER {facts['how']}")
        wanted |= {(row["object"], right, role) for row in rows for right in rights.get(row["name"], ())}
        wanted.add((facts["schema_name"], "USAGE", role))
    statements += _rights(rows, wanted, facts)
    if facts["service"] in usable and (closed := await connection.fetchval(_CLOSED, facts["schema"], facts["service"])):
        statements.append(f"GRANT USAGE ON SCHEMA {closed} TO {facts['service']}")
    if facts["definer"] in usable and await connection.fetchval(_LACKS_POLICY, UNHIDDEN_FROM_DEFINER, facts["definer"]):
        statements.append(f"DROP POLICY IF EXISTS tasks_definer ON {UNHIDDEN_FROM_DEFINER}")  # of another database's
        statements.append(f"CREATE POLICY tasks_definer ON {UNHIDDEN_FROM_DEFINER} TO {facts['definer']} USING (true)")
    return statements + _functions(rows, facts, may_give_away=facts["definer"] in usable)


def _rights(rows: list[asyncpg.Record], wanted: set[tuple[str, str, str]], facts: asyncpg.Record) -> list[str]:
    """Take away what is not wanted, and give what lacks."""
    kinds = {row["object"]: row["kind"] for row in rows}
    found = {(row["object"], row["right"], row["grantee"]) for row in rows if row["right"] is not None}
    ours = {row["grantee"] for row in rows if row["is_ours"]}
    statements: list[str] = []
    for thing, right, grantee in sorted(found - wanted):
        kind = kinds[thing]
        is_too_much = kind == "FUNCTION" or grantee in ours or (kind, right, grantee) == ("SCHEMA", "CREATE", "PUBLIC")
        if is_too_much and (kind != "SCHEMA" or facts["owns_schema"]):
            statements.append(f"REVOKE {right} ON {kind} {thing} FROM {grantee}")
    statements += [
        f"GRANT {right} ON {kinds[thing]} {thing} TO {grantee}"
        for thing, right, grantee in sorted(wanted - found)
        if kinds[thing] != "SCHEMA" or facts["owns_schema"]
    ]
    return statements + [_DROP_FORMER] * ("tasks_app" in ours)


def _functions(rows: list[asyncpg.Record], facts: asyncpg.Record, *, may_give_away: bool) -> list[str]:
    """Tie each to where it looks for tables; those that run as their owner get one without rights of its own."""
    functions = {row["object"]: row for row in rows if row["kind"] == "FUNCTION"}
    paths = [
        f"ALTER FUNCTION {each} SET search_path = {facts['path']}"
        for each, row in functions.items()
        if row["path"] not in (None, facts["path"])
    ]
    owner = facts["definer"] if may_give_away and facts["owns_schema"] else facts["owner"]
    owners = [
        f"ALTER FUNCTION {each} OWNER TO {owner}"
        for each, row in functions.items()
        if row["is_definer"] and row["owner"] != owner
    ]
    if owners and owner == facts["definer"]:  # who owns a function has to be let into its schema, at that moment
        schema = f"CREATE ON SCHEMA {facts['schema_name']}"
        owners = [f"GRANT {schema} TO {owner}", *owners, f"REVOKE {schema} FROM {owner}"]
    return paths + owners


async def grant(connection: asyncpg.Connection) -> None:
    """Make it so. Raises what asyncpg does."""
    for statement in await needed(connection):
        await connection.execute(statement)
