// The API, as RxDB's replication wants it: a pull of what has changed, and a push that hands conflicts back.

// A task that is new has the time at which its request began, and may be there a little later than others with a
// later time; so each pull looks back a bit.
const OVERLAP = 5_000; // ms

export class Remote {
  #api;
  #token;
  #made;
  #fields;
  #ids = new Map(); // of tasks that were made here: theirs -> ours
  #seen = new Map(); // id -> version, of what was pulled
  #asked = {}; // the last pull, and its entity tag
  #turn = Promise.resolve();

  constructor(api, token, made, fields) {
    this.#api = api;
    this.#token = token;
    this.#made = made;
    this.#fields = fields;
  }

  pull(checkpoint, size) {
    return this.#inTurn(() => this.#pull(checkpoint, size));
  }

  push(rows) {
    return this.#inTurn(async () => {
      const conflicts = [];
      for (const row of rows) conflicts.push(await this.#write(row));
      return conflicts.filter(Boolean);
    });
  }

  // One after the other: what a push has just made must not come back as somebody else's.
  #inTurn(work) {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #pull(checkpoint, size) {
    await this.#settle();
    const query = new URLSearchParams({ sort: "updated_at", limit: size });
    if (checkpoint) query.set("updated_after", new Date(Date.parse(checkpoint.since) - OVERLAP).toISOString());
    const path = `/api/tasks?${query}`;
    const first = await this.#ask("GET", path, path === this.#asked.path ? { "If-None-Match": this.#asked.tag } : {});
    if (first.status === 304) return { documents: [], checkpoint };

    const changed = [...first.body.data];
    for (let next = first.body.page.next; next; ) {
      const page = await this.#ask("GET", `${path}&cursor=${encodeURIComponent(next)}`);
      changed.push(...page.body.data);
      next = page.body.page.next;
    }
    changed.push(...(await this.#ask("GET", "/api/trash")).body.data);

    const newest = new Map();
    for (const task of changed) {
      if (task.version > (newest.get(task.id)?.version ?? this.#seen.get(task.id) ?? 0)) newest.set(task.id, task);
    }
    for (const task of newest.values()) this.#seen.set(task.id, task.version);
    const tag = first.headers.get("ETag");
    this.#asked = tag ? { path, tag } : {};
    const times = [checkpoint?.since, ...changed.map((task) => task.updated_at)].filter(Boolean).sort();
    return {
      documents: [...newest.values()].map((task) => this.#document(task)),
      checkpoint: times.length ? { since: times.at(-1) } : checkpoint,
    };
  }

  async #write({ assumedMasterState: base, newDocumentState: ours }) {
    if (!base) return this.#create(ours);
    if (base._deleted) return ours._deleted ? null : this.#restore(base, ours);
    return ours._deleted ? this.#remove(base) : this.#patch(base, ours);
  }

  async #create(ours) {
    let origin = await this.#made.findOne(ours.id).exec();
    if (!origin && ours._deleted) return null;
    const body = JSON.stringify({ title: ours.title, description: ours.description });
    origin ??= await this.#made.insert({ id: ours.id, body, task: 0 });
    const base = this.#document(await this.#send(origin));
    return ours._deleted ? this.#remove(base) : this.#patch(base, ours);
  }

  async #patch(base, ours) {
    const changed = this.#fields.filter((name) => ours[name] !== base[name]);
    if (!changed.length) return null;
    const patch = Object.fromEntries(changed.map((name) => [name, ours[name]]));
    const answer = await this.#ask("PATCH", this.#path(base), this.#match(base), JSON.stringify(patch));
    if (answer.status === 412) return this.#document(answer.body.error.current);
    return answer.status === 404 ? this.#trashed(base) : null;
  }

  async #remove(base) {
    const answer = await this.#ask("DELETE", this.#path(base), this.#match(base));
    return answer.status === 412 ? this.#document(answer.body.error.current) : null;
  }

  async #restore(base, ours) {
    const answer = await this.#ask("POST", `${this.#path(base)}/restore`, this.#match(base));
    if (answer.status === 412) return this.#document(answer.body.error.current);
    if (answer.status === 404) return this.#document((await this.#ask("GET", this.#path(base))).body.data);
    return this.#patch(this.#document(answer.body.data), ours);
  }

  async #trashed(base) {
    const trash = (await this.#ask("GET", "/api/trash")).body.data.map((task) => this.#document(task));
    return trash.find(({ id }) => id === base.id) ?? { ...base, _deleted: true };
  }

  // What was sent and not answered is sent again, under its key, before anything is read.
  async #settle() {
    for (const origin of await this.#made.find().exec()) {
      if (origin.task) this.#ids.set(origin.task, origin.id);
      else await this.#send(origin);
    }
  }

  async #send(origin) {
    const { body } = await this.#ask("POST", "/api/tasks", { "Idempotency-Key": origin.id }, origin.body);
    await origin.incrementalPatch({ task: body.data.id });
    this.#ids.set(body.data.id, origin.id);
    return body.data;
  }

  async #ask(method, path, headers = {}, body = undefined) {
    const type = body && { "Content-Type": "application/json" };
    const all = { Authorization: `Bearer ${this.#token}`, ...type, ...headers };
    const answer = await fetch(this.#api + path, { method, headers: all, body });
    if (!answer.ok && ![304, 404, 412].includes(answer.status)) throw new Error(`${answer.status} to ${method} ${path}`);
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: text && JSON.parse(text) };
  }

  #document({ id, title, description, completed, version, deleted_at }) {
    const ours = this.#ids.get(id) ?? `${id}`;
    return { id: ours, title, description, completed, version, _deleted: deleted_at !== undefined };
  }

  #path({ id }) {
    for (const [theirs, ours] of this.#ids) if (ours === id) return `/api/tasks/${theirs}`;
    return `/api/tasks/${id}`;
  }

  #match({ version }) {
    return { "If-Match": `"v${version}"` };
  }
}
