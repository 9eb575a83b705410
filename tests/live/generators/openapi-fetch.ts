// The tour with openapi-typescript and openapi-fetch.
import createClient from "openapi-fetch";
import type { components, paths } from "./openapi-typescript/schema.js";
import { report, there, url } from "./report.js";

type Task = components["schemas"]["Task"];
type ErrorCode = components["schemas"]["ErrorCode"];

const client = createClient<paths>({ baseUrl: url });

const { data: login } = await client.POST("/api/auth/signup", {
  body: { name: "Ada", email: "ada@fetch.example.com", password: "correct horse" },
});
client.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${there(login).data.token}`);
  },
});

const created = await client.POST("/api/tasks", { body: { title: "Buy milk" } });
const task: Task = there(created.data).data;
const oats = { title: "Buy oats", description: null, completed: true };
const other = there((await client.POST("/api/tasks", { body: oats })).data).data;

const first = there((await client.GET("/api/tasks", { params: { query: { limit: 1, count: true } } })).data);
const cursor = there(first.page?.next);
const second = there((await client.GET("/api/tasks", { params: { query: { cursor } } })).data);
const some = there((await client.GET("/api/tasks", { params: { query: { fields: ["id", "title"] } } })).data);

const path = { task_id: task.id };
const patched = await client.PATCH("/api/tasks/{task_id}", { params: { path }, body: { description: "Two litres" } });
const completed = await client.PATCH("/api/tasks/{task_id}/complete", { params: { path } });
const batch = await client.POST("/api/tasks/batch", {
  params: { query: { return: "minimal" } },
  body: {
    operations: [
      { op: "create", data: { title: "Call the plumber" } },
      { op: "complete", id: task.id, data: { completed: false } },
      { op: "delete", id: other.id },
    ],
  },
});
const stale = await client.PUT("/api/tasks/{task_id}", {
  params: { path, header: { "If-Match": '"v0"' } },
  body: { title: "Buy bread" },
});
const invalid = await client.POST("/api/tasks", { body: { title: " " } });
const stalesCode: ErrorCode = there(stale.error).error.code;

report({
  user: there(login).data.user.name,
  created: [created.response.status, task.title, task.description, task.completed],
  pages: [first.data.map((each) => each.title), first.page?.total, second.data.map((each) => each.title), second.page?.next],
  fields: some.data.map((each) => Object.keys(each)),
  patched: there(patched.data).data.description,
  completed: there(completed.data).data.completed,
  batch: there(batch.data).data.map((each) => [each.op, each.status, Object.keys(each.data ?? {})]),
  stale: [stale.response.status, stalesCode, there(stale.error).error.current?.title],
  invalid: [invalid.response.status, invalid.error?.error.code, invalid.error?.error.fields?.map((each) => each.field)],
});
