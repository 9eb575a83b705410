// What a Next.js frontend with Better Auth is on its server's side: accounts by email and password, the JWT
// plugin, and a route of its own that mints tokens with the shared secret. test_better_auth.py starts it.

import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { fromNodeHeaders, toNodeHandler } from "better-auth/node";
import { jwt } from "better-auth/plugins";
import { SignJWT } from "jose";
import pg from "pg";

const { BETTER_AUTH_SECRET, DATABASE_URL, PORT } = process.env;

const options = {
  baseURL: `http://127.0.0.1:${PORT}`,
  secret: BETTER_AUTH_SECRET,
  database: new pg.Pool({ connectionString: DATABASE_URL }),
  emailAndPassword: { enabled: true },
  user: { deleteUser: { enabled: true } },
  plugins: [jwt()],
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
};
await (await getMigrations(options)).runMigrations();
const auth = betterAuth(options);

const routes = {
  // For those who want to verify with the secret alone.
  async "/api/token"({ user }) {
    return new SignJWT({ user_id: user.id, email: user.email, name: user.name })
      .setProtectedHeader({ alg: "HS256" })
      .setExpirationTime("1h")
      .sign(new TextEncoder().encode(BETTER_AUTH_SECRET));
  },

  // Signed with the right key, but meant for another service.
  async "/api/token-for-elsewhere"({ user }) {
    const overrideOptions = { jwt: { audience: "http://elsewhere.example" } };
    return (await auth.api.signJWT({ body: { payload: { sub: user.id }, overrideOptions } })).token;
  },
};

async function answer(request, response) {
  const route = routes[request.url];
  if (!route) return authenticate(request, response);
  const session = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) });
  response.writeHead(session ? 200 : 401, { "Content-Type": "application/json" });
  response.end(JSON.stringify(session && { token: await route(session) }));
}

const authenticate = toNodeHandler(auth);
createServer(answer).listen(Number(PORT), "127.0.0.1");
process.once("SIGTERM", () => process.exit(0));
