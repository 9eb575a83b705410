// Fastify, @fastify/jwt and node-postgres, as their documentation shows them.

import jwt from "@fastify/jwt";
import pg from "pg";
import { addTasks, listen, newApp, POOL, SECRET, unauthorized } from "./shared.mjs";

const COLUMNS = `id, uid, user_id, title, description, completed, completed_at, list_id, parent_id, position,
  start_date::text, due_date::text, due_time::text, time_zone, due_at, priority, labels, estimate_minutes, extra,
  created_at, updated_at`;
const TOGGLED = "completed = NOT completed, completed_at = CASE WHEN NOT completed THEN now() END";

const app = newApp({ logger: { level: "warn" } });
const pool = new pg.Pool(POOL);

app.register(jwt, { secret: SECRET, verify: { algorithms: ["HS256"], requiredClaims: ["exp"], clockTolerance: 30_000 } });

async function authenticate(request) {
  try {
    const claims = await request.jwtVerify();
    request.userId = claims.user_id ?? claims.sub;
  } catch {
    throw unauthorized();
  }
  if (typeof request.userId !== "string" || request.userId === "") throw unauthorized();
}

const rows = async (text, values) => (await pool.query(text, values)).rows;

const tasks = {
  list: (user) =>
    rows(`SELECT ${COLUMNS} FROM tasks WHERE user_id = $1 ORDER BY created_at DESC, id DESC`, [user]),
  get: async (user, id) =>
    (await rows(`SELECT ${COLUMNS} FROM tasks WHERE user_id = $1 AND id = $2`, [user, id]))[0],
  create: async (user, title, description) =>
    (
      await rows(`INSERT INTO tasks (user_id, title, description) VALUES ($1, $2, $3) RETURNING ${COLUMNS}`, [
        user,
        title,
        description,
      ])
    )[0],
  replace: async (user, id, title, description) =>
    (
      await rows(
        `UPDATE tasks SET title = $3, description = $4 WHERE user_id = $1 AND id = $2 RETURNING ${COLUMNS}`,
        [user, id, title, description],
      )
    )[0],
  flip: async (user, id) =>
    (
      await rows(
        `UPDATE tasks SET ${TOGGLED} WHERE user_id = $1 AND id = $2 RETURNING ${COLUMNS}`,
        [user, id],
      )
    )[0],
};

app.after(() => addTasks(app, tasks, authenticate, {}));
await listen(app);
