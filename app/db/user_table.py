"""The table of users in SQL: who made it, which of its rows are ours, and how the address of an account is stored.

Another service, such as Better Auth, may have made the table, or use it too. It finds people in it by their address,
when it resets a password or links a social login. So an account of ours is stored under a name that is no address:
else a stranger who signs up here with an address, which nobody verifies, would share the account of its owner there.
"""

MADE_BY = "Made by the Tasks API."  # the comment on a table that our first migration made

# A domain that cannot exist (RFC 6761, section 6.4), so nobody can prove to own an address in it, nor sign up here with
# one. It takes the place of an address that is missing, and follows one that is there: `ada@example.com.user.invalid`.
NO_ADDRESS = "@user.invalid"
NOT_AN_ADDRESS = ".user.invalid"

# A comment belongs to the table itself: it is dumped, restored and renamed with it, and gone when somebody else makes
# the table anew.
IS_OURS = f"""coalesce(obj_description(to_regclass('"user"'), 'pg_class') = '{MADE_BY}', false)"""

# What logs people in refers to them from tables with passwords, tokens or providers.
LOGS_OTHERS_IN = """EXISTS (
    SELECT FROM "pg_catalog"."pg_constraint" AS "k"
    JOIN "pg_catalog"."pg_attribute" AS "a" ON "a"."attrelid" = "k"."conrelid"
    WHERE "k"."contype" = 'f' AND "k"."confrelid" = to_regclass('"user"')
    AND "a"."attname" ~* 'password|provider|token' AND "k"."conrelid" NOT IN (
        to_regclass('credentials'), to_regclass('login_sessions'), to_regclass('personal_access_tokens')
    )
)"""
IS_OURS_ALONE = f"({IS_OURS} AND NOT {LOGS_OTHERS_IN})"

# Of a row `u`: nobody else's password, social login or reset leads to it.
IS_OUR_ROW = f"""(u."email" LIKE '%user.invalid' OR {IS_OURS_ALONE})"""


def address_of(stored: str) -> str | None:
    """Return the address of a row, if it has one."""
    return None if stored.endswith(NO_ADDRESS) else stored.removesuffix(NOT_AN_ADDRESS)


def told(chosen: bool | None, *, ours: bool) -> str:
    """Return the one line of the log that says whether there are accounts, and why."""
    how = "Accounts are off" if chosen is False or not (chosen or ours) else "Accounts are on"
    maker = "this service made" if ours else "nothing shows that this service made"
    if chosen is None:
        return f"{how}: {maker} the table of users{'.' if ours else '. ACCOUNTS=on turns them on.'}"
    return f"{how}, as ACCOUNTS says; {maker} the table of users."
