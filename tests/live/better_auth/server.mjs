// What a Next.js frontend with Better Auth is on its server's side: accounts by email and password, the JWT
// plugin, and a route of its own that mints tokens with the shared secret. test_better_auth.py starts it.

import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { fromNodeHeaders, toNodeHandler } from "better-auth/node";
import { genericOAuth, jwt } from "better-auth/plugins";
import { SignJWT } from "jose";
import pg from "pg";

const { BETTER_AUTH_SECRET, DATABASE_URL, IDENTITY_PROVIDER, PORT } = process.env;

// What was sent to whom: the token of the last mail that lets somebody have a new password.
const mails = {};

// Somebody to log in with. It is trusted with whatever address it names, as the largest of them are.
const social = {
  providerId: "social",
  discoveryUrl: `${IDENTITY_PROVIDER}/.well-known/openid-configuration`,
  clientId: "better-auth",
  clientSecret: "secret",
  scopes: ["openid", "email", "profile"],
};

const options = {
  baseURL: `http://127.0.0.1:${PORT}`,
  secret: BETTER_AUTH_SECRET,
  database: new pg.Pool({ connectionString: DATABASE_URL }),
  emailAndPassword: {
    enabled: true,
    async sendResetPassword({ user, token }) {
      mails[user.email] = token;
    },
  },
  account: { accountLinking: { enabled: true, trustedProviders: ["social"], requireLocalEmailVerified: false } },
  user: { deleteUser: { enabled: true } },
  plugins: IDENTITY_PROVIDER ? [jwt(), genericOAuth({ config: [social] })] : [jwt()],
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
  if (request.url === "/mails") {
    response.writeHead(200, { "Content-Type": "application/json" });
    return response.end(JSON.stringify(mails));
  }
  const route = routes[request.url];
  if (!route) return authenticate(request, response);
  const session = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) });
  response.writeHead(session ? 200 : 401, { "Content-Type": "application/json" });
  response.end(JSON.stringify(session && { token: await route(session) }));
}

const authenticate = toNodeHandler(auth);
createServer(answer).listen(Number(PORT), "127.0.0.1");
process.once("SIGTERM", () => process.exit(0));
