const input = "openapi.json";

export default {
  client: { input, output: { target: "orval/api.ts", client: "fetch" } },
  zod: { input, output: { target: "orval/zod.ts", client: "zod" } },
};
