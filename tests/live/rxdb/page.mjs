// A list of tasks that works without a network: RxDB in the browser, replicated over the API as it is.
// test_rxdb.py calls what is put on `window` at the end, as buttons would.

import { createRxDatabase } from "rxdb/plugins/core";
import { replicateRxCollection } from "rxdb/plugins/replication";
import { getRxStorageDexie } from "rxdb/plugins/storage-dexie";
import { Remote } from "./remote.mjs";

const FIELDS = ["title", "description", "completed"];

const id = { type: "string", maxLength: 100 };
const tasks = {
  version: 0,
  primaryKey: "id",
  type: "object",
  properties: {
    id,
    title: { type: "string" },
    description: { type: ["string", "null"] },
    completed: { type: "boolean" },
    version: { type: "integer" },
  },
};
// What was made here: under which id, with which body, and as which task it is known there. 0: no answer yet.
const made = {
  version: 0,
  primaryKey: "id",
  type: "object",
  properties: { id, body: { type: "string" }, task: { type: "integer" } },
};

const conflictHandler = {
  isEqual: (one, other) => ["version", "_deleted", ...FIELDS].every((name) => one[name] === other[name]),

  // Field by field: ours where we have changed it, theirs elsewhere. Who edits wins over who deletes.
  async resolve({ assumedMasterState: base, realMasterState: theirs, newDocumentState: ours }) {
    const changed = (state) => FIELDS.filter((name) => !base || state[name] !== base[name]);
    if (ours._deleted && changed(theirs).length) return theirs;
    if (theirs._deleted && !changed(ours).length) return theirs;
    const merged = { ...theirs, _deleted: ours._deleted };
    for (const name of changed(ours)) merged[name] = ours[name];
    return merged;
  },
};

let collection, replication;

window.start = async (api, token) => {
  const storage = getRxStorageDexie();
  const database = await createRxDatabase({ name: "tasks", storage, multiInstance: false });
  const added = await database.addCollections({
    tasks: { schema: tasks, conflictHandler },
    made: { schema: made },
  });
  collection = added.tasks;
  const remote = new Remote(api, token, added.made, FIELDS);
  replication = replicateRxCollection({
    collection,
    replicationIdentifier: api,
    retryTime: 200,
    pull: { batchSize: 5, handler: (checkpoint, size) => remote.pull(checkpoint, size) },
    push: { batchSize: 5, handler: (rows) => remote.push(rows) },
  });
  window.addEventListener("online", () => replication.reSync());
  await replication.awaitInitialReplication();
};

window.sync = async () => {
  for (let round = 0; round < 2; round++) {
    replication.reSync();
    await replication.awaitInSync();
  }
};

window.add = async (title, more = {}) => {
  const document = { id: crypto.randomUUID(), title, description: null, completed: false, version: 0, ...more };
  await collection.insert(document);
};

const called = (title) => collection.findOne({ selector: { title } }).exec(true);

window.edit = async (title, change) => void (await (await called(title)).incrementalPatch(change));
window.remove = async (title) => void (await (await called(title)).remove());

window.shown = async () => {
  const found = await collection.find().exec();
  return found.map((each) => each.toJSON());
};
