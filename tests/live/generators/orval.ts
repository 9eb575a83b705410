// The tour with orval and its client for fetch.
import { batchTasks, completeTask, createTask, listTasks, patchTask, replaceTask, signUp } from "./orval/api.js";
import type { ErrorCode, Task, TaskListData } from "./orval/api.js";
import { report, there, url } from "./report.js";

const plain = globalThis.fetch;
let token = "";
globalThis.fetch = (input, init) => {
  const headers = new Headers(init?.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  return plain(`${url}${String(input)}`, { ...init, headers });
};

const login = await signUp({ name: "Ada", email: "ada@orval.example.com", password: "correct horse" });
if (login.status !== 201) throw new Error("There is no login.");
token = login.data.data.token;

const created = await createTask({ title: "Buy milk" });
if (created.status !== 201) throw new Error("There is no task.");
const task: Task = created.data.data;
const other = await createTask({ title: "Buy oats", description: null, completed: true });
if (other.status !== 201) throw new Error("There is no other task.");

const first = await listTasks({ limit: 1, count: true });
if (first.status !== 200) throw new Error("There is no list.");
const second = await listTasks({ cursor: there(first.data.page?.next) });
if (second.status !== 200) throw new Error("There is no second page.");
const whole = second.data as TaskListData;
const some = await listTasks({ fields: ["id", "title"] });
if (some.status !== 200) throw new Error("There is no list of fields.");

const patched = await patchTask(task.id, { description: "Two litres" });
const completed = await completeTask(task.id);
const batch = await batchTasks(
  {
    operations: [
      { op: "create", data: { title: "Call the plumber" } },
      { op: "complete", id: task.id, data: { completed: false } },
      { op: "delete", id: other.data.data.id },
    ],
  },
  { return: "minimal" },
);
const stale = await replaceTask(task.id, { title: "Buy bread" }, { headers: { "If-Match": '"v0"' } });
const invalid = await createTask({ title: " " });
if (patched.status !== 200 || completed.status !== 200 || batch.status !== 200) throw new Error("It was refused.");
if (stale.status !== 412 || invalid.status !== 422) throw new Error("It was not refused.");
const stalesCode: ErrorCode = stale.data.error.code;

report({
  user: login.data.data.user.name,
  created: [created.status, task.title, task.description, task.completed],
  pages: [
    first.data.data.map((each) => each.title),
    first.data.page?.total,
    whole.data.map((each) => each.title),
    whole.page?.next,
  ],
  fields: some.data.data.map((each) => Object.keys(each)),
  patched: patched.data.data.description,
  completed: completed.data.data.completed,
  batch: batch.data.data.map((each) => [each.op, each.status, Object.keys(each.data ?? {})]),
  stale: [stale.status, stalesCode, stale.data.error.current?.title],
  invalid: [invalid.status, invalid.data.error.code, invalid.data.error.fields?.map((each) => each.field)],
});
