// Fastify and node-postgres by somebody who minds speed: prepared statements, stamps that PostgreSQL writes out,
// answers serialised by schema, verified tokens remembered, no logger.

import jwt from "@fastify/jwt";
import pg from "pg";
import { addTasks, listen, newApp, POOL, SECRET, unauthorized } from "./shared.mjs";

const MAX_REMEMBERED = 10_000;
const LEEWAY_SECONDS = 30;
const STAMPS = ["created_at", "updated_at"].map(
  (name) => `to_char(${name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ${name}`,
);
const COLUMNS = ["id", "user_id", "title", "description", "completed", ...STAMPS].join(", ");

const TASK = {
  type: "object",
  properties: {
    id: { type: "integer" },
    user_id: { type: "string" },
    title: { type: "string" },
    description: { type: ["string", "null"] },
    completed: { type: "boolean" },
    created_at: { type: "string" },
    updated_at: { type: "string" },
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
const FLIP = `UPDATE tasks SET completed = NOT completed WHERE user_id = $1 AND id = $2 RETURNING ${COLUMNS}`;

const tasks = {
  list: (user) => rows("list", LIST, [user]),
  get: async (user, id) => (await rows("get", GET, [user, id]))[0],
  create: async (user, title, description) => (await rows("create", CREATE, [user, title, description]))[0],
  replace: async (user, id, title, description) => (await rows("replace", REPLACE, [user, id, title, description]))[0],
  flip: async (user, id) => (await rows("flip", FLIP, [user, id]))[0],
};

app.after(() => addTasks(app, tasks, authenticate, SCHEMAS));
await listen(app);
