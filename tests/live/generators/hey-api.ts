// The tour with @hey-api/openapi-ts.
import { batchTasks, completeTask, createTask, listTasks, patchTask, replaceTask, signUp } from "./hey-api/index.js";
import { client } from "./hey-api/client.gen.js";
import type { ErrorCode, Task, TaskListData } from "./hey-api/index.js";
import { report, there, url } from "./report.js";

client.setConfig({ baseUrl: url });

const { data: login } = await signUp({
  body: { name: "Ada", email: "ada@hey.example.com", password: "correct horse" },
});
client.setConfig({ auth: there(login).data.token });

const created = await createTask({ body: { title: "Buy milk" } });
const task: Task = there(created.data).data;
const other = there((await createTask({ body: { title: "Buy oats", description: null, completed: true } })).data).data;

const first = there((await listTasks({ query: { limit: 1, count: true } })).data);
const cursor = there(first.page?.next);
const second = there((await listTasks({ query: { cursor } })).data) as TaskListData;
const some = there((await listTasks({ query: { fields: ["id", "title"] } })).data);

const path = { task_id: task.id };
const patched = await patchTask({ path, body: { description: "Two litres" } });
const completed = await completeTask({ path });
const batch = await batchTasks({
  query: { return: "minimal" },
  body: {
    operations: [
      { op: "create", data: { title: "Call the plumber" } },
      { op: "complete", id: task.id, data: { completed: false } },
      { op: "delete", id: other.id },
    ],
  },
});
const stale = await replaceTask({ path, headers: { "If-Match": '"v0"' }, body: { title: "Buy bread" } });
const invalid = await createTask({ body: { title: " " } });
const stalesCode: ErrorCode = there(stale.error).error.code;

report({
  user: there(login).data.user.name,
  created: [created.response?.status, task.title, task.description, task.completed],
  pages: [first.data.map((each) => each.title), first.page?.total, second.data.map((each) => each.title), second.page?.next],
  fields: some.data.map((each) => Object.keys(each)),
  patched: there(patched.data).data.description,
  completed: there(completed.data).data.completed,
  batch: there(batch.data).data.map((each) => [each.op, each.status, Object.keys(each.data ?? {})]),
  stale: [stale.response?.status, stalesCode, there(stale.error).error.current?.title],
  invalid: [invalid.response?.status, invalid.error?.error.code, invalid.error?.error.fields?.map((each) => each.field)],
});
