// Fastify and node-postgres by somebody who minds speed: prepared statements, stamps that PostgreSQL writes out,
// answers serialised by schema, verified tokens remembered, no logger.

import jwt from "@fastify/jwt";
import pg from "pg";
import { addTasks, listen, newApp, POOL, SECRET, unauthorized } from "./shared.mjs";

const MAX_REMEMBERED = 10_000;
const LEEWAY_SECONDS = 30;
const stamp = (name) => `to_char(${name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ${name}`;
const day = (name) => `to_char(${name}, 'YYYY-MM-DD') AS ${name}`;
const COLUMNS = `id, uid, user_id, title, description, completed, ${stamp("completed_at")}, list_id, parent_id, position,
  ${day("start_date")}, ${day("due_date")}, to_char(due_time::interval, 'HH24:MI') AS due_time, time_zone, ${stamp("due_at")},
  priority, labels, estimate_minutes, extra, ${stamp("created_at")}, ${stamp("updated_at")}`;
const TEXT = { type: "string" };
const TEXT_OR_NULL = { type: ["string", "null"] };
const NUMBER_OR_NULL = { type: ["integer", "null"] };

const TASK = {
  type: "object",
  properties: {
    id: { type: "integer" },
    uid: TEXT,
    user_id: TEXT,
    title: TEXT,
    description: TEXT_OR_NULL,
    completed: { type: "boolean" },
    completed_at: TEXT_OR_NULL,
    list_id: NUMBER_OR_NULL,
    parent_id: NUMBER_OR_NULL,
    position: TEXT,
    start_date: TEXT_OR_NULL,
    due_date: TEXT_OR_NULL,
    due_time: TEXT_OR_NULL,
    time_zone: TEXT_OR_NULL,
    due_at: TEXT_OR_NULL,
    priority: { type: "integer" },
    labels: { type: "array", items: TEXT },
    estimate_minutes: NUMBER_OR_NULL,
    extra: { type: "object", additionalProperties: true },
    created_at: TEXT,
    updated_at: TEXT,
  },
};
const success = (data) => ({ "2xx": { type: "object", properties: { data } } });
const SCHEMAS = { one: success(TASK), list: success({ type: "array", items: TASK }) };

const app = newApp({ logger: false });
const pool = new pg.Pool({ ...POOL, options: "-c plan_cache_mode=force_generic_plan" });

app.register(jwt, {
  secret: SECRET,
  verify: { algorithms: ["HS256"], requiredClaims: ["exp"], clockTolerance: LEEWAY_SECONDS * 1000 },
});

const remembered = new Map();

function authenticate(request, reply, done) {
  const authorization = request.headers.authorization;
  const known = authorization === undefined ? undefined : remembered.get(authorization);
  if (known !== undefined && known.until > Date.now()) {
    request.userId = known.user;
    return done();
  }
  const [scheme, token] = (authorization ?? "").split(" ");
  try {
    const claims = app.jwt.verify(token);
    const user = claims.user_id ?? claims.sub;
    if (scheme.toLowerCase() !== "bearer" || typeof user !== "string" || user === "") return done(unauthorized());
    if (remembered.size >= MAX_REMEMBERED) remembered.delete(remembered.keys().next().value);
    remembered.set(authorization, { user, until: (claims.exp + LEEWAY_SECONDS) * 1000 });
    request.userId = user;
    done();
  } catch {
    done(unauthorized());
  }
}

// The name makes node-postgres prepare a statement once on each connection.
const rows = async (name, text, values) => (await pool.query({ name, text, values })).rows;

const LIST = `SELECT ${COLUMNS} FROM tasks WHERE user_id = $1 ORDER BY tasks.created_at DESC, tasks.id DESC`;
const GET = `SELECT ${COLUMNS} FROM tasks WHERE user_id = $1 AND id = $2`;
const CREATE = `INSERT INTO tasks (user_id, title, description) VALUES ($1, $2, $3) RETURNING ${COLUMNS}`;
const REPLACE = `UPDATE tasks SET title = $3, description = $4 WHERE user_id = $1 AND id = $2 RETURNING ${COLUMNS}`;
const TOGGLED = "completed = NOT completed, completed_at = CASE WHEN NOT completed THEN now() END";
const FLIP = `UPDATE tasks SET ${TOGGLED} WHERE user_id = $1 AND id = $2 RETURNING ${COLUMNS}`;

const tasks = {
  list: (user) => rows("list", LIST, [user]),
  get: async (user, id) => (await rows("get", GET, [user, id]))[0],
  create: async (user, title, description) => (await rows("create", CREATE, [user, title, description]))[0],
  replace: async (user, id, title, description) => (await rows("replace", REPLACE, [user, id, title, description]))[0],
  flip: async (user, id) => (await rows("flip", FLIP, [user, id]))[0],
};

app.after(() => addTasks(app, tasks, authenticate, SCHEMAS));
await listen(app);
