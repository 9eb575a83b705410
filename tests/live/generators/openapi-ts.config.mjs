// Its client checks what is sent and what comes back with zod, by the schemas of the document.
export default {
  input: "openapi.json",
  output: "hey-api",
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "zod", { name: "@hey-api/sdk", validator: { response: true } }],
};
