"""The tables are made, and unmade, whatever was there before; somebody else's table stays as it is."""

import ast
import asyncio
import os
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.auth import provisioning
from app.config.settings import ROOT, Settings
from app.db import connect, migrations
from app.db.statements import Statement
from app.tasks import creation, queries
from app.tasks.listing import queries as listing_queries
from tests.conftest import SECRET
from tests.faults.server import postgres_of_our_own
from tests.statements import heap_only

# A Better Auth that came first has made its table, exactly so, and two people are in it.
BETTER_AUTH = """
CREATE TABLE "user" (
    "id" text NOT NULL PRIMARY KEY,
    "name" text NOT NULL,
    "email" text NOT NULL UNIQUE,
    "emailVerified" boolean NOT NULL,
    "image" text,
    "createdAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "updatedAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL
);
INSERT INTO "user" VALUES
    ('u1', 'Ada', 'ada@example.com', true, 'https://example.com/ada.png', '2026-01-01', '2026-01-02'),
    ('u2', 'Bob', 'bob@example.com', false, NULL, '2026-01-03', '2026-01-03');
"""

GRANTED = (
    "tasks",
    "revisions",
    "task_versions",
    "idempotency_keys",
    "task_indexes",
    "task_words",
    "task_titles",
    "rate_limits",
    "credentials",
    "login_sessions",
    "personal_access_tokens",
    "old_versions",
    "leaving_users",
    "task_lists",
    "task_labels",
    "task_list_versions",
    "task_label_versions",
)
TABLES = (*GRANTED, "task_settings")  # which is only read and set
OF_THE_OWNER = (
    "ALL public ((user_id = current_setting('tasks.owner'::text, true))"
    " OR (current_setting('tasks.staff'::text, true) = 'on'::text))"
)

OURS = [name for app, name in migrations.known() if app == "tasks"]

Catalog = dict[str, list[str]]
NOTHING: Catalog = {
    "columns": [],
    "constraints": [],
    "indexes": [],
    "triggers": [],
    "functions": [],
    "collations": [],
    "options": [],
    "sequences": [],
    "comments": [],
    "policies": [],
    "grants": [],
}
TASKS: Catalog = {
    "columns": [
        "credentials.password_hash text NOT NULL",
        "credentials.password_version integer NOT NULL DEFAULT 0",
        "credentials.updated_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "credentials.user_id text NOT NULL",
        "idempotency_keys.answer text NOT NULL",
        "idempotency_keys.created_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "idempotency_keys.fingerprint bytea NOT NULL",
        "idempotency_keys.key text NOT NULL",
        "idempotency_keys.user_id text NOT NULL",
        "leaving_users.since timestamp(3) with time zone NOT NULL DEFAULT now()",
        "leaving_users.user_id text NOT NULL",
        "login_sessions.created_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "login_sessions.expires_at timestamp with time zone NOT NULL",
        "login_sessions.family_hash bytea NOT NULL",
        "login_sessions.id text NOT NULL",
        "login_sessions.ip_address text",
        "login_sessions.last_used_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "login_sessions.previous_hash bytea",
        "login_sessions.rotated_at timestamp with time zone",
        "login_sessions.token_hash bytea NOT NULL",
        "login_sessions.user_agent text",
        "login_sessions.user_id text NOT NULL",
        "old_versions.below bigint NOT NULL",
        "old_versions.task_id bigint NOT NULL",
        "personal_access_tokens.created_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "personal_access_tokens.expires_at timestamp with time zone",
        "personal_access_tokens.id text NOT NULL",
        "personal_access_tokens.last_used_at timestamp with time zone",
        "personal_access_tokens.name text NOT NULL",
        "personal_access_tokens.scope text NOT NULL",
        "personal_access_tokens.token_hash bytea NOT NULL",
        "personal_access_tokens.user_id text NOT NULL",
        "rate_limits.created_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "rate_limits.email text NOT NULL",
        "rate_limits.failed_attempts integer NOT NULL DEFAULT 0",
        "rate_limits.last_attempt timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "rate_limits.locked_until timestamp with time zone",
        "rate_limits.recent_attempts timestamp with time zone[] NOT NULL DEFAULT '{}'::timestamp with time zone[]",
        "revisions.epoch bigint NOT NULL DEFAULT ((random() * ('9007199254740991'::bigint)::double precision))::bigint",
        "revisions.revision bigint NOT NULL DEFAULT 0",
        "revisions.searched bigint NOT NULL DEFAULT '-1'::integer",
        "revisions.stamped timestamp with time zone",
        "revisions.stored bigint NOT NULL DEFAULT 0",
        "revisions.user_id text NOT NULL",
        "task_indexes.at timestamp(3) with time zone NOT NULL DEFAULT 'infinity'::timestamp with time zone",
        "task_indexes.at_id bigint NOT NULL DEFAULT '9223372036854775807'::bigint",
        "task_indexes.indexed bigint NOT NULL DEFAULT '-1'::integer",
        "task_indexes.kind text NOT NULL",
        "task_indexes.leased_until timestamp with time zone NOT NULL",
        "task_indexes.target bigint NOT NULL",
        "task_indexes.user_id text NOT NULL",
        "task_indexes.worker bigint NOT NULL",
        "task_label_versions.changed_at timestamp(3) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "task_label_versions.changed_by text",
        "task_label_versions.color text",
        "task_label_versions.label_id bigint NOT NULL",
        "task_label_versions.merged text",
        "task_label_versions.name text NOT NULL",
        "task_label_versions.ordinal integer NOT NULL DEFAULT 1",
        "task_label_versions.user_id text NOT NULL",
        "task_label_versions.version bigint NOT NULL",
        "task_labels.changed_by text",
        "task_labels.color text",
        "task_labels.created_at timestamp(3) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "task_labels.id bigint NOT NULL DEFAULT nextval('task_labels_id_seq'::regclass)",
        "task_labels.key text NOT NULL",
        "task_labels.merged text",
        "task_labels.name text NOT NULL",
        "task_labels.updated_at timestamp(3) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "task_labels.user_id text NOT NULL",
        "task_labels.version bigint NOT NULL DEFAULT 0",
        "task_list_versions.archived_at timestamp(3) with time zone",
        "task_list_versions.changed_at timestamp(3) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "task_list_versions.changed_by text",
        "task_list_versions.color text",
        "task_list_versions.deleted_at timestamp(3) with time zone",
        "task_list_versions.list_id bigint NOT NULL",
        "task_list_versions.name text NOT NULL",
        "task_list_versions.ordinal integer NOT NULL DEFAULT 1",
        "task_list_versions.position text",
        "task_list_versions.user_id text NOT NULL",
        "task_list_versions.version bigint NOT NULL",
        "task_lists.archived_at timestamp(3) with time zone",
        "task_lists.changed_by text",
        "task_lists.color text",
        "task_lists.created_at timestamp(3) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "task_lists.deleted_at timestamp(3) with time zone",
        "task_lists.id bigint NOT NULL DEFAULT nextval('task_lists_id_seq'::regclass)",
        "task_lists.name character varying(200) NOT NULL DEFAULT ''::character varying",
        "task_lists.position text",
        "task_lists.uid uuid",
        "task_lists.updated_at timestamp(3) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "task_lists.user_id text NOT NULL",
        "task_lists.version bigint NOT NULL DEFAULT 0",
        "task_settings.history_versions integer NOT NULL DEFAULT 1000",
        "task_settings.is_only boolean NOT NULL DEFAULT true",
        "task_settings.max_labels integer NOT NULL DEFAULT 500",
        "task_titles.key text NOT NULL",
        "task_titles.task_id bigint NOT NULL",
        "task_titles.text_hash bigint NOT NULL",
        "task_titles.user_id text NOT NULL",
        "task_titles.version bigint NOT NULL",
        "task_versions.changed_at timestamp(3) with time zone NOT NULL",
        "task_versions.changed_by text",
        "task_versions.completed boolean NOT NULL DEFAULT false",
        "task_versions.completed_at timestamp with time zone",
        "task_versions.deleted_at timestamp(3) with time zone",
        "task_versions.description text",
        "task_versions.due_date date",
        "task_versions.due_time time without time zone",
        "task_versions.estimate_minutes smallint",
        "task_versions.extra json",
        "task_versions.keeps_description boolean NOT NULL DEFAULT true",
        "task_versions.labels jsonb",
        "task_versions.list_id bigint",
        "task_versions.ordinal integer NOT NULL DEFAULT 0",
        "task_versions.priority smallint NOT NULL DEFAULT 0",
        "task_versions.start_date date",
        "task_versions.task_id bigint NOT NULL",
        "task_versions.time_zone text",
        "task_versions.title text",
        "task_versions.user_id text NOT NULL",
        "task_versions.version bigint NOT NULL",
        "task_words.task_id bigint NOT NULL",
        "task_words.text_hash bigint NOT NULL",
        "task_words.user_id text NOT NULL",
        "task_words.version bigint NOT NULL",
        "task_words.words tsvector NOT NULL",
        "tasks.changed_by text",
        "tasks.changes integer NOT NULL DEFAULT 0",
        "tasks.completed boolean NOT NULL DEFAULT false",
        "tasks.completed_at timestamp with time zone",
        "tasks.created_at timestamp(3) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "tasks.deleted_at timestamp(3) with time zone",
        "tasks.description text",
        "tasks.due_date date",
        "tasks.due_time time without time zone",
        "tasks.estimate_minutes smallint",
        "tasks.extra json NOT NULL DEFAULT '{}'::json",
        "tasks.id bigint NOT NULL DEFAULT nextval('tasks_id_seq'::regclass)",
        "tasks.labels jsonb NOT NULL DEFAULT '[]'::jsonb",
        "tasks.list_id bigint",
        "tasks.priority smallint NOT NULL DEFAULT 0",
        "tasks.start_date date",
        "tasks.time_zone text",
        "tasks.title character varying(500) NOT NULL DEFAULT ''::character varying",
        "tasks.uid uuid",
        "tasks.updated_at timestamp(3) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "tasks.user_id text NOT NULL",
        "tasks.version bigint NOT NULL DEFAULT 0",
    ],
    "constraints": [
        "credentials_pkey PRIMARY KEY (user_id)",
        'credentials_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON UPDATE CASCADE ON DELETE CASCADE',
        "idempotency_keys_pkey PRIMARY KEY (user_id, key)",
        'idempotency_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON UPDATE CASCADE ON DELETE CASCADE',
        "leaving_users_pkey PRIMARY KEY (user_id)",
        'leaving_users_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON UPDATE CASCADE ON DELETE CASCADE',
        "login_sessions_family_hash_key UNIQUE (family_hash)",
        "login_sessions_pkey PRIMARY KEY (id)",
        'login_sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON UPDATE CASCADE ON DELETE CASCADE',
        "name_has_text CHECK ((btrim((name)::text) <> ''::text))",
        "old_versions_pkey PRIMARY KEY (task_id)",
        "personal_access_tokens_pkey PRIMARY KEY (id)",
        "personal_access_tokens_token_hash_key UNIQUE (token_hash)",
        'personal_access_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON UPDATE CASCADE ON'
        " DELETE CASCADE",
        "rate_limits_pkey PRIMARY KEY (email)",
        "revisions_pkey PRIMARY KEY (user_id)",
        'revisions_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON UPDATE CASCADE ON DELETE CASCADE',
        "scope_is_known CHECK ((scope = ANY (ARRAY['read'::text, 'write'::text])))",
        "task_indexes_pkey PRIMARY KEY (user_id, kind)",
        "task_indexes_user_id_fkey FOREIGN KEY (user_id) REFERENCES revisions(user_id) ON UPDATE CASCADE ON DELETE"
        " CASCADE",
        "task_label_versions_of_theirs FOREIGN KEY (user_id, label_id) REFERENCES task_labels(user_id, id) ON UPDATE"
        " CASCADE ON DELETE CASCADE",
        "task_label_versions_pkey PRIMARY KEY (label_id, version)",
        "task_labels_of_their_owner UNIQUE (user_id, id)",
        "task_labels_pkey PRIMARY KEY (id)",
        'task_labels_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON UPDATE CASCADE ON DELETE CASCADE',
        "task_list_versions_of_theirs FOREIGN KEY (user_id, list_id) REFERENCES task_lists(user_id, id) ON UPDATE"
        " CASCADE ON DELETE CASCADE",
        "task_list_versions_pkey PRIMARY KEY (list_id, version)",
        "task_lists_of_their_owner UNIQUE (user_id, id)",
        "task_lists_pkey PRIMARY KEY (id)",
        'task_lists_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON UPDATE CASCADE ON DELETE CASCADE',
        "task_settings_is_only_check CHECK (is_only)",
        "task_settings_pkey PRIMARY KEY (is_only)",
        "task_titles_pkey PRIMARY KEY (task_id, user_id)",
        "task_versions_pkey PRIMARY KEY (task_id, version)",
        "task_words_pkey PRIMARY KEY (task_id, user_id)",
        "tasks_in_list FOREIGN KEY (user_id, list_id) REFERENCES task_lists(user_id, id)",
        "tasks_pkey PRIMARY KEY (id)",
        'tasks_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON UPDATE CASCADE ON DELETE CASCADE',
        "title_has_text CHECK ((btrim((title)::text) <> ''::text))",
    ],
    "indexes": [
        "CREATE INDEX idempotency_keys_created_at ON public.idempotency_keys USING btree (created_at)",
        "CREATE INDEX login_sessions_expires_at ON public.login_sessions USING btree (expires_at)",
        "CREATE INDEX login_sessions_user_id ON public.login_sessions USING btree (user_id)",
        "CREATE INDEX personal_access_tokens_user_id ON public.personal_access_tokens USING btree (user_id)",
        "CREATE INDEX rate_limits_last_attempt ON public.rate_limits USING btree (last_attempt)",
        "CREATE INDEX task_lists_by_deletion ON public.task_lists USING btree (deleted_at) "
        "WHERE (deleted_at IS NOT NULL)",
        "CREATE INDEX task_titles_in_order ON public.task_titles USING btree (user_id, key, task_id)",
        "CREATE INDEX task_words_by_word ON public.task_words USING gin (words) WITH (fastupdate=off)",
        "CREATE INDEX tasks_by_deletion ON public.tasks USING btree (deleted_at) WHERE (deleted_at IS NOT NULL)",
        "CREATE INDEX tasks_by_list ON public.tasks USING btree (user_id, list_id, created_at DESC, id DESC) WHERE"
        " (list_id IS NOT NULL)",
        "CREATE INDEX tasks_in_order ON public.tasks USING btree (user_id, created_at DESC, id DESC) WHERE"
        " (deleted_at IS NULL)",
        "CREATE INDEX tasks_in_trash ON public.tasks USING btree (user_id, deleted_at DESC) WHERE (deleted_at IS"
        " NOT NULL)",
        "CREATE UNIQUE INDEX credentials_pkey ON public.credentials USING btree (user_id)",
        "CREATE UNIQUE INDEX idempotency_keys_pkey ON public.idempotency_keys USING btree (user_id, key)",
        "CREATE UNIQUE INDEX leaving_users_pkey ON public.leaving_users USING btree (user_id)",
        "CREATE UNIQUE INDEX login_sessions_family_hash_key ON public.login_sessions USING btree (family_hash)",
        "CREATE UNIQUE INDEX login_sessions_pkey ON public.login_sessions USING btree (id)",
        "CREATE UNIQUE INDEX old_versions_pkey ON public.old_versions USING btree (task_id)",
        "CREATE UNIQUE INDEX personal_access_tokens_pkey ON public.personal_access_tokens USING btree (id)",
        "CREATE UNIQUE INDEX personal_access_tokens_token_hash_key ON public.personal_access_tokens USING btree"
        " (token_hash)",
        "CREATE UNIQUE INDEX rate_limits_pkey ON public.rate_limits USING btree (email)",
        "CREATE UNIQUE INDEX revisions_pkey ON public.revisions USING btree (user_id)",
        "CREATE UNIQUE INDEX task_indexes_pkey ON public.task_indexes USING btree (user_id, kind)",
        "CREATE UNIQUE INDEX task_label_versions_pkey ON public.task_label_versions USING btree (label_id, version)",
        "CREATE UNIQUE INDEX task_labels_by_key ON public.task_labels USING btree (user_id, key)",
        "CREATE UNIQUE INDEX task_labels_of_their_owner ON public.task_labels USING btree (user_id, id)",
        "CREATE UNIQUE INDEX task_labels_pkey ON public.task_labels USING btree (id)",
        "CREATE UNIQUE INDEX task_list_versions_pkey ON public.task_list_versions USING btree (list_id, version)",
        "CREATE UNIQUE INDEX task_lists_by_uid ON public.task_lists USING btree (user_id, uid) WHERE (uid IS NOT NULL)",
        "CREATE UNIQUE INDEX task_lists_of_their_owner ON public.task_lists USING btree (user_id, id)",
        "CREATE UNIQUE INDEX task_lists_pkey ON public.task_lists USING btree (id)",
        "CREATE UNIQUE INDEX task_settings_pkey ON public.task_settings USING btree (is_only)",
        "CREATE UNIQUE INDEX task_titles_pkey ON public.task_titles USING btree (task_id, user_id)",
        "CREATE UNIQUE INDEX task_versions_pkey ON public.task_versions USING btree (task_id, version)",
        "CREATE UNIQUE INDEX task_words_pkey ON public.task_words USING btree (task_id, user_id)",
        "CREATE UNIQUE INDEX tasks_by_uid ON public.tasks USING btree (user_id, uid) WHERE (uid IS NOT NULL)",
        "CREATE UNIQUE INDEX tasks_pkey ON public.tasks USING btree (id)",
    ],
    "triggers": [
        "CREATE TRIGGER refuse_leaving BEFORE INSERT ON public.credentials FOR EACH ROW EXECUTE FUNCTION"
        " tasks_refuse_leaving()",
        "CREATE TRIGGER refuse_leaving BEFORE INSERT ON public.login_sessions FOR EACH ROW EXECUTE FUNCTION"
        " tasks_refuse_leaving()",
        "CREATE TRIGGER refuse_leaving BEFORE INSERT ON public.personal_access_tokens FOR EACH ROW EXECUTE"
        " FUNCTION tasks_refuse_leaving()",
        "CREATE TRIGGER refuse_leaving BEFORE INSERT ON public.revisions FOR EACH ROW EXECUTE FUNCTION"
        " tasks_refuse_leaving()",
        "CREATE TRIGGER tasks_begin BEFORE INSERT ON public.tasks FOR EACH ROW WHEN (((new.version IS NULL) OR"
        " (new.version = 0))) EXECUTE FUNCTION tasks_begin()",
        "CREATE TRIGGER tasks_change_list BEFORE UPDATE ON public.tasks FOR EACH ROW WHEN (((new.list_id IS NOT NULL)"
        " AND ((new.list_id IS DISTINCT FROM old.list_id) OR (new.user_id <> old.user_id) OR ((old.deleted_at IS NOT"
        " NULL) AND (new.deleted_at IS NULL))))) EXECUTE FUNCTION tasks_enter_list()",
        "CREATE TRIGGER tasks_enter_list BEFORE INSERT ON public.tasks FOR EACH ROW WHEN ((new.list_id IS NOT NULL))"
        " EXECUTE FUNCTION tasks_enter_list()",
        "CREATE TRIGGER tasks_forget AFTER DELETE ON public.tasks REFERENCING OLD TABLE AS gone FOR EACH"
        " STATEMENT EXECUTE FUNCTION tasks_forget()",
        "CREATE TRIGGER tasks_forget_all AFTER TRUNCATE ON public.tasks FOR EACH STATEMENT EXECUTE FUNCTION"
        " tasks_forget_all()",
        "CREATE TRIGGER tasks_forget_all_words AFTER TRUNCATE ON public.tasks FOR EACH STATEMENT EXECUTE FUNCTION"
        " tasks_forget_words()",
        "CREATE TRIGGER tasks_forget_words AFTER DELETE ON public.tasks REFERENCING OLD TABLE AS gone FOR EACH"
        " STATEMENT EXECUTE FUNCTION tasks_forget_words()",
        "CREATE TRIGGER tasks_keep_label BEFORE UPDATE ON public.task_labels FOR EACH ROW WHEN (((new.version <>"
        " old.version) OR (((new.name IS DISTINCT FROM old.name) OR (new.color IS DISTINCT FROM old.color)) OR"
        " (new.merged IS DISTINCT FROM old.merged)))) EXECUTE FUNCTION tasks_keep_label()",
        "CREATE TRIGGER tasks_keep_list BEFORE UPDATE ON public.task_lists FOR EACH ROW WHEN (((new.version <>"
        " old.version) OR ((((((new.name)::text IS DISTINCT FROM (old.name)::text) OR (new.color IS DISTINCT FROM"
        ' old.color)) OR (new."position" IS DISTINCT FROM old."position")) OR (new.archived_at IS DISTINCT FROM'
        " old.archived_at)) OR (new.deleted_at IS DISTINCT FROM old.deleted_at)))) EXECUTE FUNCTION tasks_keep_list()",
        "CREATE TRIGGER tasks_label BEFORE UPDATE ON public.tasks FOR EACH ROW WHEN (((new.labels <> old.labels) OR"
        " ((new.user_id <> old.user_id) AND (new.labels <> '[]'::jsonb)))) EXECUTE FUNCTION tasks_label()",
        "CREATE TRIGGER tasks_label_new BEFORE INSERT ON public.tasks FOR EACH ROW WHEN ((new.labels <>"
        " '[]'::jsonb)) EXECUTE FUNCTION tasks_label()",
        "CREATE TRIGGER tasks_stamp BEFORE UPDATE ON public.tasks FOR EACH ROW EXECUTE FUNCTION tasks_stamp()",
    ],
    "functions": [
        "tasks_begin() RETURNS trigger search_path=public, pg_temp",
        "tasks_enter_list() RETURNS trigger search_path=public, pg_temp",
        "tasks_forget() RETURNS trigger search_path=public, pg_temp",
        "tasks_forget_all() RETURNS trigger search_path=public, pg_temp",
        "tasks_forget_words() RETURNS trigger as its owner search_path=public, pg_temp",
        "tasks_found(text,text,text,boolean) RETURNS TABLE(task_id bigint, rank real) as its owner"
        " search_path=public, pg_temp",
        "tasks_keep_label() RETURNS trigger search_path=public, pg_temp",
        "tasks_keep_list() RETURNS trigger search_path=public, pg_temp",
        "tasks_label() RETURNS trigger search_path=public, pg_temp",
        "tasks_next_revision(text,bigint,bigint,bigint) RETURNS record search_path=public, pg_temp",
        "tasks_refuse_leaving() RETURNS trigger search_path=public, pg_temp",
        "tasks_stamp() RETURNS trigger search_path=public, pg_temp",
    ],
    "collations": [],
    "options": [
        "revisions fillfactor=50",
        "task_indexes fillfactor=50",
        "task_words_by_word fastupdate=off",
        "tasks fillfactor=90",
    ],
    "sequences": [
        "task_labels_id_seq bigint from 1 by 1 to 9007199254740991, owned by task_labels.id",
        "task_lists_id_seq bigint from 1 by 1 to 9007199254740991, owned by task_lists.id",
        "tasks_id_seq bigint from 1 by 1 to 9007199254740991, owned by tasks.id",
    ],
    "comments": [],
    "policies": [
        "idempotency_keys t t",  # enabled, and forced
        f"idempotency_keys_of_owner {OF_THE_OWNER}",
        "revisions t t",
        f"revisions_of_owner {OF_THE_OWNER}",
        "task_indexes t t",
        f"task_indexes_of_owner {OF_THE_OWNER}",
        "task_label_versions t t",
        f"task_label_versions_of_owner {OF_THE_OWNER}",
        "task_labels t t",
        f"task_labels_of_owner {OF_THE_OWNER}",
        "task_list_versions t t",
        f"task_list_versions_of_owner {OF_THE_OWNER}",
        "task_lists t t",
        f"task_lists_of_owner {OF_THE_OWNER}",
        "task_titles t t",
        f"task_titles_of_owner {OF_THE_OWNER}",
        "task_versions t t",
        f"task_versions_of_owner {OF_THE_OWNER}",
        "task_words t f",  # not forced: the function that finds them asks as the table's owner
        f"task_words_of_owner {OF_THE_OWNER}",
        "tasks t t",
        "tasks_definer ALL tasks_definer true",  # for whoever owns the function
        f"tasks_of_owner {OF_THE_OWNER}",
    ],
    "grants": sorted(
        [f"{table} {what}" for table in GRANTED for what in ("DELETE", "INSERT", "SELECT", "UPDATE")]
        + ["task_settings SELECT", "task_settings UPDATE"]
    ),
}
USERS: Catalog = {
    **NOTHING,
    "columns": [
        "user.createdAt timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "user.email text NOT NULL",
        "user.emailVerified boolean NOT NULL DEFAULT false",
        "user.id text NOT NULL",
        "user.image text",
        "user.name text NOT NULL DEFAULT ''::text",
        "user.updatedAt timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
    ],
    "constraints": ["user_email_key UNIQUE (email)", "user_pkey PRIMARY KEY (id)"],
    "indexes": [
        'CREATE UNIQUE INDEX user_email_folded ON public."user" USING btree (lower(email))',
        'CREATE UNIQUE INDEX user_email_key ON public."user" USING btree (email)',
        'CREATE UNIQUE INDEX user_pkey ON public."user" USING btree (id)',
    ],
    "comments": ["Made by the Tasks API."],
    "grants": ["user DELETE", "user INSERT", "user SELECT", "user UPDATE"],
}

CATALOG = {
    "columns": """
        SELECT concat_ws(' ', c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
        WHERE c.oid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1""",
    # From PostgreSQL 18 on, each NOT NULL is one as well.
    "constraints": """
        SELECT conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE conrelid = ANY($1) AND contype <> 'n' ORDER BY 1""",
    "indexes": "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = ANY($1) ORDER BY 1",
    "triggers": """
        SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = ANY($1) AND NOT tgisinternal
        ORDER BY 1""",
    "functions": """
        SELECT concat_ws(' ', oid::regprocedure, 'RETURNS', pg_get_function_result(oid),
            CASE WHEN prosecdef THEN 'as its owner' END, array_to_string(proconfig, ' '))
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            AND (cardinality($1) = 0 OR to_regclass('tasks') = ANY($1)) ORDER BY 1""",
    "collations": """
        SELECT collname FROM pg_collation WHERE collnamespace = 'public'::regnamespace
            AND (cardinality($1) = 0 OR to_regclass('tasks') = ANY($1)) ORDER BY 1""",
    "options": """
        SELECT relname || ' ' || array_to_string(reloptions, ' ') FROM pg_class
        WHERE (oid = ANY($1) OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = ANY($1)))
            AND reloptions IS NOT NULL ORDER BY 1""",
    "sequences": """
        SELECT format('%s %s from %s by %s to %s, owned by %s.%s', c.relname, format_type(s.seqtypid, NULL),
            s.seqstart, s.seqincrement, s.seqmax, d.refobjid::regclass, a.attname)
        FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
            JOIN pg_depend d ON d.objid = s.seqrelid AND d.deptype = 'a'
            JOIN pg_attribute a ON (a.attrelid, a.attnum) = (d.refobjid, d.refobjsubid)
        WHERE d.refobjid = ANY($1) ORDER BY 1""",
    "comments": """
        SELECT comment FROM unnest($1) AS it, obj_description(it, 'pg_class') AS comment
        WHERE comment IS NOT NULL""",
    "policies": """
        SELECT concat_ws(' ', relname, relrowsecurity, relforcerowsecurity)
        FROM pg_class WHERE oid = ANY($1) AND (relrowsecurity OR relforcerowsecurity)
        UNION ALL SELECT concat_ws(
            ' ', policyname, cmd, regexp_replace(array_to_string(roles, ','), '_[0-9]+_[0-9]+$', ''), qual, with_check
        )
        FROM pg_policies WHERE (schemaname, tablename) IN (SELECT 'public', relname FROM pg_class WHERE oid = ANY($1))
        ORDER BY 1""",
    "grants": """
        SELECT relname || ' ' || privilege_type FROM pg_class, aclexplode(relacl)
        WHERE oid = ANY($1) AND grantee::regrole::text ~ '^tasks_app_' ORDER BY 1""",
}


async def catalog(connection: asyncpg.Connection, *tables: str) -> Catalog:
    """Everything that the database knows of these tables, as far as they are there, in its own words."""
    found = await connection.fetchval(
        "SELECT coalesce(array_agg(oid), '{}') FROM pg_class"
        " WHERE relname = ANY($1) AND relnamespace = 'public'::regnamespace",
        tables,
    )
    return {
        kind: [row[0] for row in await connection.fetch(query.replace("$1", "$1::oid[]"), found)]
        for kind, query in CATALOG.items()
    }


def configured(url: str, **changes: Any) -> Settings:
    return Settings(database_url=url, jwt_secrets=(SECRET,), **changes)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def applied(connection: asyncpg.Connection) -> set[tuple[str, str]]:
    return {tuple(row) for row in await connection.fetch("SELECT app_name, name FROM migration")}


async def piccolo(*arguments: str, home: Path = ROOT, **environment: str) -> str:
    """Run a command of Piccolo's as a person would; return what it prints."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "piccolo.main", "migrations", *arguments),
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = (await running.communicate())[0].decode()
    assert running.returncode == 0, output
    return output


class Story:
    """What was found in a database before, between and after the migrations, forwards, backwards and again."""

    def __init__(self, url: str, before: str) -> None:
        self.url = url
        self.before = before
        self.tasks: dict[str, Catalog] = {}
        self.users: dict[str, Catalog] = {}
        self.rows: dict[str, list[str]] = {}
        self.functions: dict[str, list[str]] = {}
        self.outputs: list[str] = []
        self.created: list[tuple[Any, ...]] = []

    async def happen(self, *, again: bool) -> "Story":
        async with connected(self.url) as connection:
            await connection.execute(self.before)
            await self.look("before", connection)

            both = (migrations.migrate(configured(self.url)) for _ in range(2))
            self.outputs = await asyncio.gather(*both)
            await self.look("forwards", connection)

            for owner in ("u1", "u9"):
                values = {"owner": owner, "email": "ada@example.com", "name": "Ada"}
                for statement in (provisioning.ADD_OWNER, creation.CREATE):
                    values |= {"title": "Buy milk", "description": None, "completed": False, "by": "jwt"}
                    values |= {"max_tasks": 0}
                    rows = await connection.fetch(statement.sql, *statement.bind(values))
                self.created.append((rows[0]["id"], *tuple(rows[0])[2:6]))
            await connection.execute("""DELETE FROM "user" WHERE id = 'u9'""")

            everything = {**os.environ, "DATABASE_URL": self.url}
            await piccolo("backwards", "tasks", "all", "--auto_agree", **everything)
            await self.look("backwards", connection)

            if again:
                await migrations.migrate(configured(self.url))
                await self.look("again", connection)
        return self

    async def look(self, moment: str, connection: asyncpg.Connection) -> None:
        self.tasks[moment] = await catalog(connection, *TABLES)
        self.users[moment] = await catalog(connection, "user")
        nowhere = await catalog(connection)
        self.functions[moment] = nowhere["functions"] + nowhere["collations"]
        # Where each row lies and who wrote it last, besides what it says; and the file that it is in.
        self.rows[moment] = (
            [
                *(str(row) for row in await connection.fetch('SELECT ctid, xmin, * FROM "user" ORDER BY id')),
                str(await connection.fetchrow("SELECT oid, relfilenode FROM pg_class WHERE relname = 'user'")),
            ]
            if self.users[moment] != NOTHING
            else []
        )


@pytest.fixture(scope="module")
async def stories(new_database: Callable[[], str], database_url: str) -> dict[str, Story]:
    """Two databases, an empty one and one where Better Auth came first, at the same time to save some.

    A third keeps its role, which is the whole server's.
    """
    ours, theirs = Story(new_database(), "SELECT 1"), Story(new_database(), BETTER_AUTH)
    await asyncio.gather(ours.happen(again=False), theirs.happen(again=True))
    return {"ours": ours, "theirs": theirs}


@pytest.fixture
def ours(stories: dict[str, Story]) -> Story:
    return stories["ours"]


@pytest.fixture
def theirs(stories: dict[str, Story]) -> Story:
    return stories["theirs"]


@pytest.mark.slow
class TestAnEmptyDatabase:
    async def test_forwards_makes_exactly_these_tables(self, ours: Story) -> None:
        assert ours.users["before"] == ours.tasks["before"] == NOTHING
        assert ours.tasks["forwards"] == TASKS
        assert ours.users["forwards"] == USERS

    async def test_tasks_work_there(self, ours: Story) -> None:
        assert ours.created == [
            (1, "u1", "Buy milk", None, False),
            (2, "u9", "Buy milk", None, False),
        ]

    async def test_backwards_takes_all_of_it_away(self, ours: Story) -> None:
        assert ours.users["backwards"] == ours.tasks["backwards"] == NOTHING
        assert ours.functions["backwards"] == []

    async def test_of_two_processes_that_migrate_concurrently_one_does_it(self, ours: Story) -> None:
        nothing, done = sorted(ours.outputs)
        assert nothing == ""
        assert f"{len(OURS)} migrations" in done
        for _, name in migrations.known():
            assert done.count(f"{name}") == 1


@pytest.mark.slow
class TestBetterAuthsTable:
    async def test_it_is_left_byte_for_byte_as_it_is_and_our_role_is_let_in(self, theirs: Story) -> None:
        assert theirs.rows["forwards"] == theirs.rows["before"]
        assert theirs.users["forwards"] == theirs.users["before"] | {"grants": USERS["grants"]}
        assert theirs.users["before"] == {
            **USERS,
            "columns": [
                "user.createdAt timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
                "user.email text NOT NULL",
                "user.emailVerified boolean NOT NULL",
                "user.id text NOT NULL",
                "user.image text",
                "user.name text NOT NULL",
                "user.updatedAt timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
            ],
            "indexes": USERS["indexes"][1:],  # none of ours on another's table
            "grants": [],
            "comments": [],
        }

    async def test_ours_are_made_beside_it_and_tasks_work_for_its_users_and_new_ones(self, theirs: Story) -> None:
        assert theirs.tasks["forwards"] == TASKS
        assert theirs.created == [
            (1, "u1", "Buy milk", None, False),
            (2, "u9", "Buy milk", None, False),
        ]

    async def test_backwards_takes_ours_away_and_leaves_theirs(self, theirs: Story) -> None:
        assert theirs.tasks["backwards"] == NOTHING
        assert theirs.functions["backwards"] == []
        assert theirs.rows["backwards"] == theirs.rows["before"]
        assert theirs.users["backwards"] == theirs.users["before"]

    async def test_forwards_once_more_is_as_it_was_the_first_time(self, theirs: Story) -> None:
        assert theirs.tasks["again"] == TASKS
        assert theirs.rows["again"] == theirs.rows["before"]
        assert theirs.users["again"] == theirs.users["forwards"]


SOURCES = "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
STAYS = "id, user_id, title, description, completed, created_at, updated_at"


class Grown:
    """A database of version 5 with tasks, whose owner is no superuser: what it had then, has later, and back again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.catalogs: list[Catalog] = []
        self.sources: list[list[asyncpg.Record]] = []
        self.tasks: list[list[asyncpg.Record]] = []
        self.files: list[int] = []

    async def look(self, connection: asyncpg.Connection) -> None:
        self.catalogs.append(await catalog(connection, *TABLES, "user"))
        self.sources.append(await connection.fetch(SOURCES))
        self.tasks.append(await connection.fetch(f"SELECT {STAYS} FROM tasks ORDER BY id"))
        self.files.append(await connection.fetchval("SELECT pg_relation_filenode('tasks')"))

    async def piccolo(self, *arguments: str) -> None:
        await piccolo(*arguments, home=ROOT, **{**os.environ, "DATABASE_URL": self.url})


async def ask(connection: asyncpg.Connection, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(statement.sql, *statement.bind(values))]


@pytest.fixture(scope="module")
async def grown(new_database: Callable[[], str], database_url: str) -> AsyncIterator[Grown]:
    url = new_database()
    role = f"tasks_test_{secrets.token_hex(4)}"
    async with connected(url) as superuser:
        await superuser.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
        await superuser.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} OWNER TO {role}")
        place = urlsplit(url)
        theirs = Grown(place._replace(netloc=f"{role}:{role}@{place.netloc.rpartition('@')[2]}").geturl())
        await theirs.piccolo("forwards", "tasks", "2026-11-25T20:00:00:000005")
        async with connected(theirs.url) as connection:
            await connection.execute(
                """
                SET tasks.staff = 'on';
                INSERT INTO "user" (id, name, email) SELECT 'u' || n, '', n || '@x' FROM generate_series(1, 100) AS n;
                INSERT INTO tasks (user_id, title, description, completed, created_at)
                SELECT 'u' || n % 100 + 1, 'Task ' || n, nullif(n % 3, 0), n % 2 = 0, now() - make_interval(mins => n)
                FROM generate_series(1, 10000) AS n;
                INSERT INTO credentials (user_id, password_hash) VALUES ('u1', '$argon2id$');
                INSERT INTO login_sessions (id, user_id, family_hash, token_hash, created_at, expires_at)
                SELECT 'after ' || n, 'u1', sha256(n::text::bytea), '', now() - make_interval(days => n),
                    now() + interval '29 days'
                FROM generate_series(10, 110, 50) AS n;
                """
            )
            await theirs.look(connection)
            await migrations.migrate(configured(theirs.url))
            await theirs.look(connection)
        yield theirs
        await superuser.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
async def owner(grown: Grown) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the tables' owner, in a transaction that will never have been."""
    async with connected(grown.url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield connection
        await transaction.rollback()


async def count(connection: asyncpg.Connection, table: str) -> int:
    """Count its rows, as the staff."""
    query = f"SELECT (SELECT count(*) FROM {table}) FROM set_config('tasks.staff', 'on', false)"
    found = await connection.fetch(query)
    await connection.execute("RESET tasks.staff")
    return found[0][0]


@pytest.mark.slow
class TestADatabaseInUse:
    CHANGE: ClassVar[dict[str, Any]] = {
        "title": "Changed",
        "sets_description": False,
        "description": None,
        "completed": None,
    }

    async def test_forwards_keeps_every_task_as_it_was(self, grown: Grown) -> None:
        before, after = grown.tasks
        assert len(before) == 10_000
        assert after == before

    async def test_forwards_writes_no_task_anew_while_everybody_waits(self, grown: Grown) -> None:
        before, after = grown.files
        assert after == before

    async def test_logins_end_90_days_after_they_began_and_passwords_stay(self, owner: asyncpg.Connection) -> None:
        logins = await owner.fetch(
            "SELECT id, extract(epoch FROM expires_at - created_at)::integer / 86400, expires_at > now() AS lives"
            " FROM login_sessions ORDER BY id"
        )
        assert [tuple(row) for row in logins] == [
            ("after 10", 39, True),
            ("after 110", 90, False),
            ("after 60", 89, True),
        ]
        kept = await owner.fetchrow("SELECT user_id, password_hash, password_version FROM credentials")
        assert tuple(kept) == ("u1", "$argon2id$", 0)

    async def test_each_task_and_each_list_has_an_entity_tag_that_works(self, owner: asyncpg.Connection) -> None:
        ada = {"owner": "u2", "task_id": 1}
        versions: dict[str, Any] = {"by": "jwt", "wanted": True, "versions": "{0}"}
        about, *tasks = await ask(owner, listing_queries.ALL, owner="u2", known="{}", limit=1000, inline=1000)
        known = f"{{{about[0]}-{about[-1]}}}"

        assert (about[-1], len(tasks), {task[-1] for task in tasks}) == (0, 100, {0})
        assert len(await ask(owner, listing_queries.ALL, owner="u2", known=known, limit=1000, inline=1000)) == 1
        assert [row[-1] for row in await ask(owner, queries.GET, **ada)] == [0]
        assert [row[-1] for row in await ask(owner, queries.PATCH, **ada, **versions, **self.CHANGE)] == [1]
        assert await ask(owner, queries.PATCH, **ada, **versions, **self.CHANGE) == []
        assert len(await ask(owner, listing_queries.ALL, owner="u2", known=known, limit=1000, inline=1000)) == 101

    @pytest.mark.parametrize(
        ("how", "users", "revision"),
        [
            ("TRUNCATE tasks", 100, 2),
            ("TRUNCATE tasks CASCADE", 100, 2),
            ("TRUNCATE tasks, task_words", 100, 2),
            ("TRUNCATE tasks, task_words, task_versions", 100, 2),
            ('TRUNCATE "user" CASCADE', 0, None),
            ('DELETE FROM "user"', 0, None),
        ],
    )
    async def test_whoever_empties_it_leaves_nothing_behind_and_no_list_as_it_was(
        self, owner: asyncpg.Connection, how: str, users: int, revision: int | None
    ) -> None:
        changed = {"owner": "u2", "task_id": 1, "by": "jwt", "wanted": True, "versions": None, **self.CHANGE}
        await ask(owner, queries.PATCH, **changed)
        await owner.execute("INSERT INTO task_words SELECT id, user_id, 0, 0, '' FROM tasks")
        await owner.execute("INSERT INTO task_titles SELECT id, user_id, 0, 0, '' FROM tasks")
        assert (await count(owner, "task_versions"), await count(owner, "task_words")) == (1, 100)

        await owner.execute(how)

        left = [
            await count(owner, table) for table in ("tasks", "task_versions", "task_words", "task_titles", "revisions")
        ]
        assert left == [0, 0, 0, 0, users]
        await owner.execute("SET tasks.staff = 'on'")
        assert await owner.fetchval("SELECT revision FROM revisions WHERE user_id = 'u2'") == revision

    async def test_who_empties_it_is_shown_no_more_than_before(self, owner: asyncpg.Connection) -> None:
        await owner.execute("TRUNCATE tasks")
        assert await owner.fetch("SELECT FROM revisions") == []

    async def test_backwards_it_is_what_it_was_and_keeps_what_is_not_in_the_trash(self, grown: Grown) -> None:
        async with connected(grown.url) as connection:
            await connection.execute("SET tasks.staff = 'on'")
            await ask(
                connection, queries.PATCH, owner="u2", task_id=1, by="jwt", wanted=True, versions=None, **self.CHANGE
            )
            await ask(connection, queries.DELETE, owner="u3", task_id=2, by="jwt", wanted=True, versions=None)
            await grown.look(connection)

            await grown.piccolo("backwards", "tasks", "2026-11-25T23:00:00:000006", "--auto_agree")
            await grown.look(connection)

        assert grown.catalogs[-1] == grown.catalogs[0] != grown.catalogs[1]
        assert grown.sources[-1] == grown.sources[0] != grown.sources[1]
        assert grown.tasks[-1] == [task for task in grown.tasks[-2] if task["id"] != 2]
        assert [task["title"] for task in grown.tasks[-1]][:2] == ["Changed", "Task 3"]


@pytest.mark.slow
class TestDatesAndPriority:
    """Migration 0024, in a database of the version before it that has tasks and histories."""

    BEFORE, IT = "2026-11-30T12:00:00:000023", "2026-11-30T12:00:00:000024"
    SEEN = "SELECT ctid, {0}.tableoid, {1} FROM {0} ORDER BY 3, 4"
    OF_TASKS = "id, version, user_id, title, description, completed, created_at, updated_at, changes, changed_by"
    OF_VERSIONS = "task_id, version, title, description, completed, keeps_description, changed_at, ordinal"

    async def see(self, connection: asyncpg.Connection) -> tuple[Any, ...]:
        return (
            await connection.fetch(self.SEEN.format("tasks", self.OF_TASKS)),
            await connection.fetch(self.SEEN.format("task_versions", self.OF_VERSIONS)),
            await connection.fetch("SELECT pg_relation_filenode('tasks'), pg_relation_filenode('task_versions')"),
        )

    async def test_it_writes_no_row_anew_and_goes_back(self, new_database: Callable[[], str]) -> None:
        url = new_database()
        environment = {**os.environ, "DATABASE_URL": url}
        await piccolo("forwards", "tasks", self.BEFORE, **environment)
        async with connected(url) as connection:
            await connection.execute(
                """
                SET tasks.staff = 'on';
                INSERT INTO "user" (id, name, email) SELECT 'u' || n, '', n || '@x' FROM generate_series(1, 10) AS n;
                INSERT INTO tasks (user_id, title, description, completed)
                SELECT 'u' || n % 10 + 1, 'Task ' || n, nullif(n % 3, 0), n % 2 = 0 FROM generate_series(1, 2000) AS n;
                UPDATE tasks SET title = title || '!' WHERE id % 5 = 0;
                """
            )
            before = await self.see(connection)
            sources = await connection.fetch(SOURCES)

            await piccolo("forwards", "tasks", self.IT, **environment)

            assert await self.see(connection) == before
            plain = "completed_at, start_date, due_date, due_time, time_zone, priority, estimate_minutes, extra::text"
            of_tasks = await connection.fetch(f"SELECT DISTINCT {plain} FROM tasks")
            of_versions = await connection.fetch(f"SELECT DISTINCT {plain} FROM task_versions")
            assert [tuple(row) for row in of_tasks] == [(None, None, None, None, None, 0, None, "{}")]
            assert [tuple(row) for row in of_versions] == [(None, None, None, None, None, 0, None, None)]
            await connection.execute("UPDATE tasks SET completed = NOT completed, due_date = '2026-12-04' WHERE id < 9")
            done = await connection.fetch("SELECT id FROM tasks WHERE completed_at = updated_at ORDER BY id")
            assert [row[0] for row in done] == [1, 3, 5, 7]

            await piccolo("backwards", "tasks", self.IT, "--auto_agree", **environment)

            assert await connection.fetch(SOURCES) == sources
            assert (await self.see(connection))[2] == before[2]
            await connection.execute("UPDATE tasks SET completed = NOT completed")
            await piccolo("forwards", "tasks", self.IT, **environment)
            assert await connection.fetchval("SELECT count(*) FROM tasks WHERE completed_at IS NOT NULL") == 0

    async def test_a_toggle_writes_no_index(self, running: object, clean: None, sql: asyncpg.Connection) -> None:
        await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('ada', '', 'ada@x')""")
        await sql.execute("INSERT INTO tasks (user_id, title) SELECT 'ada', 'x' FROM generate_series(1, 50)")
        assert await heap_only(sql, "UPDATE tasks SET completed = NOT completed WHERE id % 10 = 0") == (5, 5)


@pytest.mark.slow
class TestLists:
    """Migrations 0028 and 0029, in a database of the version before them that has tasks and histories."""

    BEFORE, FIRST = "2026-11-30T12:00:00:000027", "2026-11-30T12:00:00:000028"
    SEEN = (
        "SELECT ctid, id, version, user_id, title, completed, updated_at, extra::text FROM tasks ORDER BY id",
        "SELECT ctid, task_id, version, title, completed, changed_at FROM task_versions ORDER BY task_id, version",
    )

    async def test_they_keep_all_that_is_there_and_go_back(self, new_database: Callable[[], str]) -> None:
        url = new_database()
        environment = {**os.environ, "DATABASE_URL": url}
        await piccolo("forwards", "tasks", self.BEFORE, **environment)
        async with connected(url) as connection:
            await connection.execute("SET tasks.staff = 'on'")
            await connection.execute(
                """
                INSERT INTO "user" (id, name, email) SELECT 'u' || n, '', n || '@x' FROM generate_series(1, 10) AS n;
                INSERT INTO tasks (user_id, title)
                SELECT 'u' || n % 10 + 1, 'Task ' || n FROM generate_series(1, 500) AS n;
                UPDATE tasks SET completed = true WHERE id % 2 = 0
                """
            )
            before = [await connection.fetch(query) for query in self.SEEN]
            sources = await connection.fetch(SOURCES)
            assert [len(each) for each in before] == [500, 250]

            await piccolo("forwards", "tasks", "all", **environment)
            assert [await connection.fetch(query) for query in self.SEEN] == before
            assert await connection.fetchval("SELECT count(*) FROM tasks WHERE list_id IS NOT NULL") == 0
            await connection.execute("INSERT INTO task_lists (user_id, name) VALUES ('u2', 'x')")
            await connection.execute("UPDATE tasks SET list_id = 1 WHERE id = 1")

            await piccolo("backwards", "tasks", self.FIRST, "--auto_agree", **environment)
            [tasks, _] = [await connection.fetch(query) for query in self.SEEN]
            assert [row["title"] for row in tasks] == [row["title"] for row in before[0]]
            assert await connection.fetch(SOURCES) == sources
            assert await connection.fetchval("SELECT to_regclass('task_lists')") is None


class TestKnownAndMissing:
    async def test_known_are_the_ones_that_piccolo_applies(self, sql: asyncpg.Connection) -> None:
        assert await applied(sql) == migrations.known()

    async def test_known_are_ours_and_those_of_the_admins_login(self) -> None:
        assert {app for app, _ in migrations.known()} == {"tasks", "user", "session_auth"}
        assert sorted(name for app, name in migrations.known() if app == "tasks") == [
            "2026-11-21T02:50:00:000001",
            "2026-11-21T02:50:00:000002",
            "2026-11-21T02:50:00:000003",
            "2026-11-21T06:00:00:000004",
            "2026-11-25T20:00:00:000005",
            "2026-11-25T23:00:00:000006",
            "2026-11-25T23:00:00:000007",
            "2026-11-25T23:30:00:000008",
            "2026-11-30T12:00:00:000009",
            "2026-11-30T12:00:00:000010",
            "2026-11-30T12:00:00:000011",
            "2026-11-30T12:00:00:000012",
            "2026-11-30T12:00:00:000013",
            "2026-11-30T12:00:00:000019",
            "2026-11-30T12:00:00:000020",
            "2026-11-30T12:00:00:000021",
            "2026-11-30T12:00:00:000022",
            "2026-11-30T12:00:00:000023",
            "2026-11-30T12:00:00:000024",
            "2026-11-30T12:00:00:000026",
            "2026-11-30T12:00:00:000027",
            "2026-11-30T12:00:00:000028",
            "2026-11-30T12:00:00:000029",
            "2026-11-30T12:00:00:000034",
            "2026-11-30T12:00:00:000035",
            "2026-11-30T12:00:00:000042",
            "2026-11-30T12:00:00:000043",
        ]

    async def test_missing_are_all_in_an_empty_database_and_then_none(self, new_database: Callable[[], str]) -> None:
        async with connected(new_database()) as connection:
            assert await migrations.missing(connection) == migrations.known()

            await connection.execute("CREATE TABLE migration (app_name text, name text)")
            await connection.executemany(
                "INSERT INTO migration VALUES ($1, $2)",
                [*migrations.known(), ("tasks", "one of the version that comes after this one")],
            )
            assert await migrations.missing(connection) == set()

            await connection.execute("DELETE FROM migration WHERE app_name = 'session_auth'")
            lacking = {each for each in migrations.known() if each[0] == "session_auth"}
            assert await migrations.missing(connection) == lacking

    async def test_where_nothing_is_missing_nothing_is_run(self, database_url: str) -> None:
        assert await migrations.migrate(configured(database_url)) == ""


class TestFailing:
    @pytest.mark.slow
    async def test_it_says_what_piccolo_says_leaves_nothing_half_done_and_lets_others_try(
        self, new_database: Callable[[], str]
    ) -> None:
        url = new_database()
        async with connected(url) as connection:
            await connection.execute("CREATE TABLE tasks_in_order (theirs int)")

            with pytest.raises(migrations.MigrationError) as refused:
                await migrations.migrate(configured(url))

            assert str(refused.value) == (
                "Nothing was migrated: a migration (2026-11-21T02:50:00:000003) failed. DuplicateTableError: relation"
                ' "tasks_in_order" already exists. These migrations have not made that: give it another name, or see'
                " docs/existing-database.md."
            )
            assert await migrations.missing(connection) == migrations.known()
            tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            assert await connection.fetch(tables) == [("tasks_in_order",)]
            lock = f"SELECT pg_try_advisory_xact_lock({migrations.ADVISORY_LOCK})"
            assert await connection.fetchval(lock) is True

    async def test_where_there_is_no_server_the_caller_learns_it(self) -> None:
        with pytest.raises(OSError, match="Connect call failed"):
            await migrations.migrate(configured("postgresql://ada@127.0.0.1:1/tasks"))


FILES = sorted((ROOT / "piccolo_migrations").glob("*.py"))


class TestFiles:
    @pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
    def test_each_stands_alone(self, file: Path) -> None:
        imported = {
            name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else ["." * node.level + (node.module or "")]
            )
        }
        assert {name.partition(".")[0] for name in imported} <= {"piccolo", "typing"}

    def test_their_names_are_in_the_order_of_their_ids(self) -> None:
        ids = [file.read_text().partition('\nID = "')[2].partition('"')[0] for file in FILES]
        assert ids == sorted(ids)
        assert {("tasks", each) for each in ids} == {each for each in migrations.known() if each[0] == "tasks"}


class TestPiccolosCommand:
    @pytest.fixture
    def copy(self) -> Iterator[Path]:
        """The project as somebody has just cloned it, in a folder with a space."""
        with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
            home = Path(folder, "my tasks")
            for name in ("app", "piccolo_migrations"):
                shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "piccolo_conf.py", home)
            yield home

    @pytest.mark.slow
    async def test_with_no_database_url_it_starts_the_embedded_server_and_stops_it(self, copy: Path) -> None:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "JWT_SECRET") and not name.startswith("COVERAGE_")
        }

        async def command(*arguments: str) -> str:
            output = await piccolo(*arguments, home=copy, **environment)
            assert not (copy / ".data" / "postgres" / "postmaster.pid").exists()
            return output

        assert f"{len(OURS)} migrations" in await command("forwards", "all")
        listed = [line.split("|") for line in (await command("check")).splitlines() if "|" in line]
        assert {tuple(cell.strip() for cell in cells)[::3] for cells in listed[1:]} == {
            ("tasks", "True"),
            ("user", "True"),
            ("session_auth", "True"),
        }
        newest = max(identity for app, identity in migrations.known() if app == "tasks")
        assert newest in await command("backwards", "tasks", "1", "--auto_agree")
        assert stat.S_IMODE((copy / ".data" / "jwt_secret").stat().st_mode) == 0o600

    @pytest.mark.slow
    async def test_it_goes_back_while_another_database_makes_the_role(self) -> None:
        with postgres_of_our_own() as server:
            async with connected(server.url) as rival, connected(server.url) as superuser:
                async with rival.transaction():
                    await rival.execute("CREATE ROLE tasks_app NOLOGIN")
                    going_back = asyncio.create_task(
                        piccolo(
                            "backwards", "tasks", "2026-11-30T12:00:00:000019", "--auto_agree", **server.environment()
                        )
                    )
                    while not await superuser.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
                        assert not going_back.done(), await going_back
                        await asyncio.sleep(0.01)
                await going_back
                assert await superuser.fetchval("SELECT has_table_privilege('tasks_app', 'tasks', 'SELECT')")

    async def test_it_migrates_the_database_that_it_is_told_to(
        self, theirs: Story, database_url: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        # The environment names another, which lacks nothing.
        assert os.environ["DATABASE_URL"] == database_url != theirs.url
        connection = await connect.connect(configured(theirs.url))
        await connection.execute("DELETE FROM migration WHERE app_name = 'session_auth'")
        await connection.execute("DROP TABLE sessions")

        printed = await migrations.migrate(configured(theirs.url))

        assert "session_auth" in printed.lower().replace(" ", "_")
        assert await applied(connection) == migrations.known()
        await connection.close()
        assert "".join(capfd.readouterr()) == ""
