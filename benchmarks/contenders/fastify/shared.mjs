// What the two services in Fastify have in common: headers, failures, what comes in.

import { randomUUID } from "node:crypto";
import Fastify from "fastify";
import pg from "pg";

const ORIGIN = process.env.FRONTEND_URL;
const CODES = { 401: "UNAUTHORIZED", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "PAYLOAD_TOO_LARGE", 422: "VALIDATION_ERROR" };
const MAX_ID = 2n ** 63n - 1n;

pg.types.setTypeParser(pg.types.builtins.INT8, Number);

export const POOL = { connectionString: process.env.DATABASE_URL, max: 10 };
export const SECRET = process.env.JWT_SECRET;

const CONTENT = {
  type: "object",
  required: ["title"],
  properties: { title: { type: "string" }, description: { type: ["string", "null"] } },
};

export class Failure extends Error {
  constructor(statusCode, message) {
    super(message);
    this.statusCode = statusCode;
  }
}

export const unauthorized = () => new Failure(401, "This needs a valid bearer token.");

export function newApp(options) {
  const app = Fastify({
    requestIdHeader: "x-request-id",
    genReqId: () => randomUUID(),
    routerOptions: { ignoreTrailingSlash: true },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
    ...options,
  });
  app.decorateRequest("userId", null);
  app.addHook("onRequest", (request, reply, done) => {
    reply.header("x-request-id", request.id);
    reply.header("cache-control", "no-store");
    reply.header("x-content-type-options", "nosniff");
    reply.header("vary", "Origin");
    if (request.headers.origin !== undefined && request.headers.origin === ORIGIN) {
      reply.header("access-control-allow-origin", ORIGIN);
      reply.header("access-control-allow-credentials", "true");
    }
    done();
  });
  app.setErrorHandler((error, request, reply) => {
    const status = error.validation ? 422 : (error.statusCode ?? 500);
    if (status === 401) reply.header("www-authenticate", 'Bearer error="invalid_token"');
    if (status === 500) console.error(error);
    const message = status === 500 ? "Something went wrong." : error.message;
    reply.code(status).send({ error: { code: CODES[status] ?? (status === 500 ? "INTERNAL_ERROR" : "BAD_REQUEST"), message } });
  });
  app.setNotFoundHandler((request, reply) => {
    reply.code(404).send({ error: { code: "NOT_FOUND", message: "There is nothing here." } });
  });
  return app;
}

// `tasks` asks the database: list, get, create, replace, flip. `authenticate` is a hook that sets request.userId.
// `schemas` are those of the answers, where there are any.
export function addTasks(app, tasks, authenticate, schemas) {
  const routes = { onRequest: authenticate };
  const one = (task) => {
    if (task === undefined) throw new Failure(404, "There is no such task.");
    return { data: task };
  };
  app.get("/api/tasks", { ...routes, schema: { response: schemas.list } }, async (request) => ({
    data: await tasks.list(request.userId),
  }));
  app.post("/api/tasks", { ...routes, schema: { body: CONTENT, response: schemas.one } }, async (request, reply) => {
    const [title, description] = content(request.body);
    const task = await tasks.create(request.userId, title, description);
    reply.code(201).header("location", `/api/tasks/${task.id}`);
    return { data: task };
  });
  app.get("/api/tasks/:id", { ...routes, schema: { response: schemas.one } }, async (request) =>
    one(await tasks.get(request.userId, taskId(request))),
  );
  app.put("/api/tasks/:id", { ...routes, schema: { body: CONTENT, response: schemas.one } }, async (request) =>
    one(await tasks.replace(request.userId, taskId(request), ...content(request.body))),
  );
  app.patch("/api/tasks/:id/complete", { ...routes, schema: { response: schemas.one } }, async (request) =>
    one(await tasks.flip(request.userId, taskId(request))),
  );
}

export async function listen(app) {
  await app.listen({ host: process.env.HOST, port: Number(process.env.PORT) });
  process.once("SIGTERM", async () => {
    await app.close();
    process.exit(0);
  });
}

function content(body) {
  const title = body.title.trim();
  const description = body.description ?? null;
  if (title === "" || [...title].length > 500 || title.includes("\0") || description?.includes("\0")) {
    throw new Failure(422, "A title has 1 to 500 characters, none of them U+0000.");
  }
  return [title, description];
}

function taskId(request) {
  const text = request.params.id;
  if (!/^(0|-?[1-9][0-9]*)$/.test(text)) throw new Failure(422, "The id must be an integer in its plain spelling.");
  if (text.length > 15 && BigInt(text) > MAX_ID) throw new Failure(404, "There is no such task.");
  return text;
}
